/**
 * A bit flipped, bytes cut off, or an object lost, anywhere in a store: verify finds it and says exactly which ranges of which
 * points are lost with it; a restore gives the right bytes or says the same. EVERFOLD_TEST_FLIPS sets how many positions
 * of each object are tried (default 25).
 */

import { beforeAll, describe, expect, it } from 'vitest'
import { SeededBytes } from '../bench/seeded-bytes.js'
import { Repository } from '../src/chain/repository.js'
import { isEverfoldError } from '../src/errors.js'
import type { LostRange } from '../src/restore/restore.js'
import { type VerifyResult, verifyRepository } from '../src/restore/verify.js'
import { MemoryStore } from '../src/store/memory-store.js'
import { diskLike, KIB, noise, overwritten } from './disk-bytes.js'
import { backUpBytes, objectsOf, openInMemory, restoreBytes, storeOf } from './memory-repository.js'

const FLIPS = Number(process.env['EVERFOLD_TEST_FLIPS'] ?? 25)

/** Machine and point → the disk's bytes. */
const disks = new Map<string, Buffer>()
let sound: Map<string, Uint8Array>

beforeAll(async () => {
  const store = new MemoryStore()
  await Repository.init(store, { chunkSize: 4096, frameSize: 16 * KIB, packSize: 64 * KIB })
  const repository = await openInMemory(store)
  const take = async (machine: string, bytes: Buffer, options = {}): Promise<void> => {
    disks.set(`${machine} ${await backUpBytes(repository, machine, bytes, options)}`, bytes)
  }
  const web = diskLike('web', 300 * KIB)
  const changed = overwritten(web, 70_000, noise('change', 9000))
  await take('web', web)
  await take('web', changed, { feed: [[70_000, 9000]] })
  await take('web', changed.subarray(0, 200_000))
  await take('db', Buffer.concat([noise('db', 100 * KIB), web.subarray(0, 100 * KIB)]), { chunker: 'fixed' })
  sound = await objectsOf(store)
})

/** Every object, with `change` made to it. */
async function damaged(
  key: string,
  change: (bytes: Buffer) => Buffer | undefined,
): Promise<{ repository: Repository; result: VerifyResult } | undefined> {
  const objects = new Map(sound)
  const bytes = change(Buffer.from(sound.get(key)!))
  if (bytes === undefined) objects.delete(key)
  else objects.set(key, bytes)
  const store = await storeOf(objects)
  try {
    const repository = await openInMemory(store)
    return { repository, result: await verifyRepository(repository, { sample: 1 }) }
  } catch (error) {
    // Without its configuration nothing of the repository can be opened.
    expect(key).toBe('everfold.json')
    expect(isEverfoldError(error, 'REPOSITORY_DAMAGED', 'REPOSITORY_NOT_FOUND'), String(error)).toBe(true)
    return undefined
  }
}

/** Restores all: what comes is right, and what does not is what verify said. */
async function expectHonest(repository: Repository, result: VerifyResult): Promise<void> {
  for (const [name, bytes] of disks) {
    const [machine = '', point = ''] = name.split(' ')
    const lost = result.damaged.filter((range) => range.machine === machine && range.point === point)
    try {
      expect(Buffer.compare(await restoreBytes(repository, machine, point), bytes), name).toBe(0)
      expect(lost).toEqual([])
    } catch (error) {
      if (!isEverfoldError(error)) throw error
      if (error.code === 'POINT_UNKNOWN' || error.code === 'CHAIN_DAMAGED') continue
      expect(error.code).toMatch(/^(?:DATA_DAMAGED|OBJECT_NOT_FOUND)$/)
      expect(lost.length, `${error.message}\n${JSON.stringify(result)}`).toBeGreaterThan(0)
      const named = error.details['lost'] as LostRange[] | undefined
      if (named !== undefined) expect(joined(named)).toEqual(joined(lost))
    }
  }
}

/** [start, end) of ranges, neighbours joined. */
function joined(ranges: readonly LostRange[]): [number, number][] {
  const out: [number, number][] = []
  for (const { offset, length } of [...ranges].sort((a, b) => a.offset - b.offset)) {
    const last = out.at(-1)
    if (last !== undefined && last[1] >= offset) last[1] = Math.max(last[1], offset + length)
    else out.push([offset, offset + length])
  }
  return out
}

async function expectFound(
  key: string,
  what: string,
  change: (bytes: Buffer) => Buffer | undefined,
): Promise<void> {
  const found = await damaged(key, change)
  if (found === undefined) return
  const { repository, result } = found
  expect(result.ok, what).toBe(false)
  const base = key.startsWith('packs/') ? key.replace(/\.\d+$/, '') : key
  expect(result.objects.map((object) => object.key).join(), what).toContain(base)
  await expectHonest(repository, result)
}

describe('a repository with all kinds of objects', () => {
  it('is sound before anything is done to it', async () => {
    const kinds = new Set([...sound.keys()].map((key) => key.split('/')[0]))
    expect([...kinds].sort()).toEqual(['chains', 'everfold.json', 'machines', 'packs', 'runs'])
    const { repository, result } = (await damaged('everfold.json', (bytes) => bytes))!
    expect(result).toMatchObject({ ok: true, damaged: [], objects: [], machines: 2, points: 4 })
    await expectHonest(repository, result)
  })

  it(`finds a flipped bit at any of ${FLIPS} places of each object, and restores no wrong byte`, async () => {
    const random = new SeededBytes('flips')
    for (const [key, { length }] of sound) {
      const places = [0, length - 1, ...Array.from({ length: FLIPS - 2 }, () => random.below(length))]
      for (const place of places) {
        const bit = random.below(8)
        await expectFound(key, `bit ${bit} of byte ${place} of ${key}`, (bytes) => {
          bytes[place]! ^= 1 << bit
          return bytes
        })
      }
    }
  })

  it('finds objects that were cut short, emptied, lengthened, or swapped for another', async () => {
    const random = new SeededBytes('cuts')
    const keys = [...sound.keys()]
    for (const key of keys) {
      const { length } = sound.get(key)!
      for (const cut of [0, length - 1, random.below(length), random.below(length)])
        await expectFound(key, `${key} cut to ${cut}`, (bytes) => bytes.subarray(0, cut))
      await expectFound(key, `${key} lengthened`, (bytes) => Buffer.concat([bytes, Buffer.alloc(1)]))
      const other = keys.find((candidate) => candidate !== key && candidate[0] === key[0])
      if (other !== undefined)
        await expectFound(key, `${other} in place of ${key}`, () => Buffer.from(sound.get(other)!))
    }
  })

  it('finds packs and runs that are missing', async () => {
    for (const key of sound.keys())
      if (/^(?:packs|runs)/.test(key)) await expectFound(key, `${key} is missing`, () => undefined)
  })
})
