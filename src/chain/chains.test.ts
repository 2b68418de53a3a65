import { describe, expect, it } from 'vitest'

import { flipped } from '../../test/format-samples.js'
import { chainState, pointState } from '../../test/format-states.js'
import { sealJson } from '../sealed-json.js'
import { FaultyStore } from '../store/faulty-store.js'
import { chainKey } from '../store/keys.js'
import { MemoryStore } from '../store/memory-store.js'
import { CHAIN_FORMAT_VERSION, decodeChainState, encodeChainState } from './chain-state.js'
import { Chains, readChainHead } from './chains.js'

const [A, B, C] = ['a0000000', 'b0000000', 'c0000000'].map((id) => pointState(id, []))

/** Chain states 0 to n, of which state i has the first i of these points. */
async function storeWith(...points: readonly (typeof A)[]): Promise<MemoryStore> {
  const store = new MemoryStore()
  const chains = new Chains(store)
  for (const point of points)
    await chains.edit('m', (head) => ({ points: [...(head?.state.points ?? []), point!] }))
  return store
}

async function spoil(store: MemoryStore, sequence: number): Promise<void> {
  const key = chainKey('m', sequence)
  const bytes = await store.readAll(key)
  await store.remove(key)
  await store.put(key, [flipped(bytes, 99)])
}

describe('Chains', () => {
  it('commits one state after the other, and reads the highest', async () => {
    const store = await storeWith(A, B, C)
    const chains = new Chains(store)
    const head = await chains.get('m')
    expect(head.damaged).toEqual([])
    expect(head.state).toMatchObject({ sequence: 3, machine: 'm', points: [A, B, C] })
    expect(await chains.machines()).toEqual(['m'])
    expect(await chains.find('other')).toBeUndefined()
    await expect(chains.get('other')).rejects.toMatchObject({ code: 'MACHINE_UNKNOWN' })
  })

  it('does not go back to an older state when a newer Everfold wrote the newest', async () => {
    const store = await storeWith(A, B)
    const newer = {
      ...chainState('m', 3, [A!, B!, C!]),
      format: CHAIN_FORMAT_VERSION + 1,
      more: 'than we know',
    }
    await store.put(chainKey('m', 3), [sealJson(newer)])
    await expect(new Chains(store).get('m')).rejects.toMatchObject({ code: 'FORMAT_TOO_NEW' })
  })

  it('falls back to the highest valid state, tells what is damaged, and commits above that', async () => {
    const store = await storeWith(A, B, C)
    await spoil(store, 3)
    const chains = new Chains(store)
    expect(await chains.get('m')).toMatchObject({ state: { sequence: 2, points: [A, B] }, damaged: [3] })
    const next = await chains.edit('m', (head) => ({ points: [...(head?.state.points ?? []), C!] }))
    expect(next.sequence).toBe(4)
    expect(await new Chains(store).get('m')).toMatchObject({ state: { sequence: 4 }, damaged: [] })
  })

  it('takes a state that is not what its key says as damaged', async () => {
    const store = await storeWith(A)
    await store.put(chainKey('m', 2), [encodeChainState(chainState('m', 7, []))])
    await store.put(chainKey('m', 3), [encodeChainState(chainState('other', 3, []))])
    const head = await readChainHead(store, 'm')
    expect(head?.state.sequence).toBe(1)
    expect([...(head?.damaged ?? [])].sort()).toEqual([2, 3])
  })

  it('says CHAIN_DAMAGED where no state is valid', async () => {
    const store = await storeWith(A, B)
    for (const sequence of [0, 1, 2]) await spoil(store, sequence)
    await expect(new Chains(store).find('m')).rejects.toMatchObject({ code: 'CHAIN_DAMAGED' })
  })

  it('finds the newest state although a listing leaves it out', async () => {
    class ForgetfulStore extends MemoryStore {
      override async *list(prefix: string): ReturnType<MemoryStore['list']> {
        for await (const object of super.list(prefix)) if (!/[123]$/.test(object.key)) yield object
      }
    }
    const full = await storeWith(A, B, C)
    const store = new ForgetfulStore()
    for await (const { key } of full.list('')) await store.put(key, [await full.readAll(key)])
    expect((await new Chains(store).get('m')).state.sequence).toBe(3)
  })

  it('has no point before its machine is registered, whatever fails', async () => {
    for (let failing = 0; ; failing++) {
      const memory = new MemoryStore()
      let puts = 0
      const store = new FaultyStore(memory, (operation) =>
        operation === 'put' && puts++ === failing ? { kind: 'error-before' } : undefined,
      )
      const edited = new Chains(store).edit('m', () => ({ points: [A!] }))
      if (await edited.then(() => true).catch(() => false)) break
      const chains = new Chains(memory)
      expect((await chains.find('m'))?.state.points ?? []).toEqual([])
      await chains.edit('m', () => ({ points: [A!] }))
      expect(await new Chains(memory).machines()).toEqual(['m'])
    }
  })

  it('says CONFLICT when another writer was faster, changes nothing, and reads anew then', async () => {
    const store = await storeWith(A)
    const [mine, theirs] = [new Chains(store), new Chains(store)]
    await mine.get('m')
    await theirs.edit('m', () => ({ points: [A!, B!] }))
    const late = mine.edit('m', () => ({ points: [A!, C!] }))
    await expect(late).rejects.toMatchObject({ code: 'CONFLICT' })
    expect((await mine.get('m')).state.points).toEqual([A, B])
  })

  it('makes one edit after the other, and leaves a chain as it is when one throws', async () => {
    const store = await storeWith(A)
    const chains = new Chains(store)
    const fails = chains.edit('m', () => {
      throw new Error('no')
    })
    const both = [B, C].map((point) =>
      chains.edit('m', (head) => ({ points: [...(head?.state.points ?? []), point!] })),
    )
    await expect(fails).rejects.toThrow('no')
    await Promise.all(both)
    expect((await new Chains(store).get('m')).state).toMatchObject({ sequence: 3, points: [A, B, C] })
  })
})

describe('a chain state', () => {
  it('is rejected with every flipped bit, and with anything that is not its own', () => {
    const encoded = encodeChainState(chainState('m', 3, [A!, B!]))
    expect(decodeChainState(encoded)).toMatchObject({ sequence: 3, points: [A, B] })
    for (let bit = 0; bit < encoded.length * 8; bit++)
      expect(decodeChainState(flipped(encoded, bit))).toBeUndefined()
  })

  it('is not encoded where it would not be decoded', () => {
    expect(() => encodeChainState(chainState('m', -1, []))).toThrow()
    expect(() => encodeChainState(chainState('m', 0, [pointState('no id', [])]))).toThrow()
  })
})
