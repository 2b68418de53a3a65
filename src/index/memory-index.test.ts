import { describe, expect, it } from 'vitest'

import { sha256 } from '../checksum.js'
import { MemoryIndex } from './memory-index.js'

const [A, B, C] = ['a'.repeat(64), 'b'.repeat(64), 'c'.repeat(64)] as const
const one = sha256(Buffer.from('one'))

async function packsOf(index: MemoryIndex): Promise<string[]> {
  const ids: string[] = []
  for await (const id of index.packIds()) ids.push(id)
  return ids
}

describe('the power cut of MemoryIndex', () => {
  it('keeps as many of the unsynced batches as it is told, the oldest', async () => {
    for (const [kept, packs] of [
      [0, []],
      [2, [A, B]],
      [3, [A, B, C]],
    ] as const) {
      const index = new MemoryIndex()
      for (const id of [A, B, C]) await index.addPack(id, one)
      index.crash((unsynced) => {
        expect(unsynced).toBe(3)
        return kept
      })
      expect(await packsOf(index)).toEqual(packs)
    }
  })

  it('loses nothing that a synced write followed, and no synced write', async () => {
    const index = new MemoryIndex()
    await index.addPack(A, one)
    await index.removeChunks(B, one)
    await index.addPack(B, one)
    index.crash(() => 0)
    expect(await packsOf(index)).toEqual([A])
    await index.removeChunks(A, one)
    index.crash(() => 0)
    expect([...(await index.lookup(one)).packOf]).toEqual([-1])
  })

  it('goes on from what was left', async () => {
    const index = new MemoryIndex()
    await index.addPack(A, one)
    index.crash(() => 0)
    await index.addPack(B, one)
    index.crash((unsynced) => unsynced)
    expect(await packsOf(index)).toEqual([B])
  })
})
