import { expect, it } from 'vitest'
import { heldBytes } from '../../test/held-memory.js'
import { KnownListings } from './known-listings.js'
import type { StoredObject } from './store.js'

async function* listing(...keys: readonly string[]): AsyncGenerator<StoredObject, void, undefined> {
  for (const key of keys) yield { key, sizeBytes: 1 }
}

async function list(known: KnownListings, prefix: string, ...keys: readonly string[]): Promise<void> {
  for await (const _ of known.keep(prefix, listing(...keys)));
}

it('keeps a listing, and what is added and removed since, also for the next process', async () => {
  const known = new KnownListings()
  await list(known, 'chains/m/', 'chains/m/0', 'chains/m/1')
  known.added('chains/m/2', 7)
  known.removed('chains/m/0')
  const expected = [
    { key: 'chains/m/1', sizeBytes: 1 },
    { key: 'chains/m/2', sizeBytes: 7 },
  ]
  expect(known.get('chains/m/')).toEqual(expected)
  expect(new KnownListings(known.all()).get('chains/m/')).toEqual(expected)
})

it('does not keep what may be wrong: during a change, cut short, after a failure, or empty', async () => {
  const known = new KnownListings()
  for await (const _ of known.keep('chains/m/', listing('chains/m/0'))) known.begin('chains/m/1')
  expect(known.get('chains/m/')).toBeUndefined()
  for await (const _ of known.keep('chains/m/', listing('chains/m/0', 'chains/m/1'))) break
  expect(known.get('chains/m/')).toBeUndefined()
  await list(known, 'chains/m/', 'chains/m/0')
  known.forget('chains/m/1')
  expect(known.get('chains/m/')).toBeUndefined()
  await list(known, 'chains/m/')
  await list(known, 'quarantine/')
  expect(known.get('chains/m/')).toBeUndefined()
  expect(known.get('quarantine/')).toBeUndefined()
})

it('does not keep listings of packs, runs or all chains', async () => {
  const known = new KnownListings()
  for (const prefix of ['packs/', 'packs/ab/', 'runs/m/', 'chains/', 'bundles/', 'jobs/']) {
    await list(known, prefix, `${prefix}x`)
    expect(known.get(prefix)).toBeUndefined()
  }
})

it('remembers nothing of folders whose listings it does not keep, as each upload has one', () => {
  const known = new KnownListings()
  const change = (number: number): void => {
    const key = `sessions/${number}/begin`
    known.begin(key)
    known.added(key, 1)
    known.removed(key)
  }
  change(0)
  const before = heldBytes()
  for (let number = 1; number < 100_000; number++) change(number)
  expect(heldBytes() - before).toBeLessThan(2 ** 20)
  expect(known.all()).toEqual({})
})
