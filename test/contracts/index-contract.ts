/**
 * What every ChunkIndex does, whatever holds it. An implementation adopts it with
 * `indexContract('MemoryIndex', async () => ({ index: new MemoryIndex() }))`.
 */

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { sha256, sha256Hex } from '../../src/checksum.js'
import type { ChunkIndex } from '../../src/index/chunk-index.js'
import { IndexModel } from './index-model.js'

export interface IndexUnderTest {
  readonly index: ChunkIndex
  /** Closes it and opens it again, when it is one that outlives its process. */
  readonly reopen?: () => Promise<ChunkIndex>
  readonly dispose?: () => Promise<void>
}

/** The hash of chunk `i` of a made-up world. */
export function hashOf(i: number): Uint8Array {
  return sha256(Buffer.from(`chunk ${i}`))
}

/** Hashes of these chunks, concatenated. */
export function hashesOf(...chunks: readonly number[]): Uint8Array {
  return Buffer.concat(chunks.map(hashOf))
}

export function packOf(i: number): string {
  return sha256Hex(Buffer.from(`pack ${i}`))
}

/** A bitmap of `count` bits with these set. */
export function bits(count: number, ...set: readonly number[]): Uint8Array {
  const bitmap = new Uint8Array(Math.ceil(count / 8))
  for (const i of set) bitmap[i >>> 3] = (bitmap[i >>> 3] ?? 0) | (1 << (i & 7))
  return bitmap
}

/** One answer per hash: `[pack id, position]`, or undefined for a miss. */
export async function answers(
  index: ChunkIndex,
  hashes: Uint8Array,
): Promise<([string, number] | undefined)[]> {
  const { packs, packOf: of, position } = await index.lookup(hashes)
  expect(of.length).toBe(hashes.length / 32)
  expect(position.length).toBe(hashes.length / 32)
  return [...of].map((place, i) => (place === -1 ? undefined : [packs[place]!, position[i]!]))
}

async function allPacks(index: ChunkIndex): Promise<string[]> {
  const ids: string[] = []
  for await (const id of index.packIds()) ids.push(id)
  return ids.sort()
}

const [A, B] = [packOf(0), packOf(1)]

export function indexContract(name: string, make: () => Promise<IndexUnderTest>): void {
  describe(`${name} as a chunk index`, () => {
    let made: IndexUnderTest
    let index: ChunkIndex

    beforeEach(async () => {
      made = await make()
      index = made.index
    })
    afterEach(async () => {
      await index.close()
      await made.dispose?.()
    })

    it('answers nothing for no hashes', async () => {
      expect(await answers(index, new Uint8Array(0))).toEqual([])
    })

    it('misses everything while it is empty', async () => {
      expect(await answers(index, hashesOf(1, 2))).toEqual([undefined, undefined])
      expect(await allPacks(index)).toEqual([])
      expect(await index.hasPack(A)).toBe(false)
    })

    it('finds the chunks of several packs among unknown ones, in the order asked', async () => {
      await index.addPack(A, hashesOf(1, 2, 3))
      await index.addPack(B, hashesOf(4, 5))
      expect(await answers(index, hashesOf(5, 99, 1, 3, 4, 98, 5))).toEqual([
        [B, 1],
        undefined,
        [A, 0],
        [A, 2],
        [B, 0],
        undefined,
        [B, 1],
      ])
    })

    it('does not keep the buffers it was handed', async () => {
      const hashes = Buffer.from(hashesOf(1, 2))
      await index.addPack(A, hashes)
      hashes.fill(0)
      expect(await answers(index, hashesOf(1, 2))).toEqual([
        [A, 0],
        [A, 1],
      ])
    })

    it('reads hashes from the middle of a larger buffer', async () => {
      const larger = Buffer.concat([Buffer.alloc(7), hashesOf(1, 2), Buffer.alloc(3)]).subarray(7, 7 + 64)
      await index.addPack(A, larger)
      expect(await answers(index, larger)).toEqual([
        [A, 0],
        [A, 1],
      ])
    })

    it('leaves out the chunks that `except` names, and numbers the others as the directory does', async () => {
      await index.addPack(A, hashesOf(...Array(20).keys()), bits(20, 0, 7, 8, 19))
      const found = await answers(index, hashesOf(...Array(20).keys()))
      for (const i of Array(20).keys()) {
        expect(found[i]).toEqual([0, 7, 8, 19].includes(i) ? undefined : [A, i])
      }
    })

    it('takes a bitmap that is too short for bits not set', async () => {
      await index.addPack(A, hashesOf(...Array(20).keys()), bits(1, 0))
      expect(await answers(index, hashesOf(0, 19))).toEqual([undefined, [A, 19]])
      await index.removeChunks(A, hashesOf(...Array(20).keys()), bits(8, 5))
      expect(await answers(index, hashesOf(5, 19))).toEqual([undefined, [A, 19]])
    })

    it('lets the newer pack win where a hash is in two', async () => {
      await index.addPack(A, hashesOf(1, 2))
      await index.addPack(B, hashesOf(2))
      expect(await answers(index, hashesOf(1, 2))).toEqual([
        [A, 0],
        [B, 0],
      ])
    })

    it('stays the same when a pack is added again', async () => {
      await index.addPack(A, hashesOf(1, 2))
      await index.addPack(A, hashesOf(1, 2))
      expect(await answers(index, hashesOf(1, 2))).toEqual([
        [A, 0],
        [A, 1],
      ])
      expect(await allPacks(index)).toEqual([A])
    })

    it('records a pack without any chunk', async () => {
      await index.addPack(A, new Uint8Array(0))
      expect(await index.hasPack(A)).toBe(true)
    })

    it('removes all chunks of a pack, and none that points to another one', async () => {
      await index.addPack(A, hashesOf(1, 2, 3))
      await index.addPack(B, hashesOf(2))
      await index.removeChunks(A, hashesOf(1, 2, 3))
      expect(await answers(index, hashesOf(1, 2, 3))).toEqual([undefined, [B, 0], undefined])
      expect(await index.hasPack(A)).toBe(true)
    })

    it('removes only the chunks that `which` names', async () => {
      await index.addPack(A, hashesOf(...Array(10).keys()))
      await index.removeChunks(A, hashesOf(...Array(10).keys()), bits(10, 0, 9))
      expect(await answers(index, hashesOf(0, 1, 8, 9))).toEqual([undefined, [A, 1], [A, 8], undefined])
    })

    it('removes nothing of a pack that it does not know', async () => {
      await index.addPack(A, hashesOf(1))
      await index.removeChunks(B, hashesOf(1, 2))
      await index.removeChunks(B, new Uint8Array(0))
      expect(await answers(index, hashesOf(1))).toEqual([[A, 0]])
    })

    it('forgets a pack, and gives no chunk of it to the packs that come after', async () => {
      await index.addPack(A, hashesOf(1, 2))
      await index.forgetPack(A)
      await index.addPack(B, hashesOf(3))
      expect(await index.hasPack(A)).toBe(false)
      expect(await allPacks(index)).toEqual([B])
      expect(await answers(index, hashesOf(1, 2, 3))).toEqual([undefined, undefined, [B, 0]])
      await index.addPack(A, hashesOf(9, 1))
      expect(await answers(index, hashesOf(1, 2))).toEqual([[A, 1], undefined])
    })

    it('lists every pack once', async () => {
      const ids = Array.from({ length: 3000 }, (_, i) => packOf(i))
      await Promise.all(ids.map((id, i) => index.addPack(id, hashesOf(i))))
      expect(await allPacks(index)).toEqual([...ids].sort())
    })

    it('keeps notes apart from each other, and lets go of them', async () => {
      expect(await index.getNote('chain/ä')).toBeUndefined()
      await index.putNote('chain/ä', 'head 🌲')
      await index.putNote('chain/', '')
      expect(await index.getNote('chain/ä')).toBe('head 🌲')
      expect(await index.getNote('chain/')).toBe('')
      await index.putNote('chain/ä', 'another')
      expect(await index.getNote('chain/ä')).toBe('another')
      await index.putNote('chain/ä', undefined)
      expect(await index.getNote('chain/ä')).toBeUndefined()
    })

    it('is empty after it was cleared, and works on', async () => {
      await index.addPack(A, hashesOf(1))
      await index.putNote('n', 'v')
      await index.clear()
      expect(await answers(index, hashesOf(1))).toEqual([undefined])
      expect([await index.hasPack(A), await allPacks(index), await index.getNote('n')]).toEqual([
        false,
        [],
        undefined,
      ])
      await index.addPack(B, hashesOf(1))
      expect(await answers(index, hashesOf(1))).toEqual([[B, 0]])
    })

    it('answers look-ups while it is being cleared and written to', async () => {
      await index.addPack(A, hashesOf(1))
      const clearing = index.clear()
      const found = await Promise.all(Array.from({ length: 20 }, () => answers(index, hashesOf(1, 2))))
      const added = index.addPack(B, hashesOf(2))
      await Promise.all([clearing, added])
      for (const [one, two] of found) {
        expect([undefined, A]).toContain(one?.[0])
        expect(two).toBeUndefined()
      }
      expect(await answers(index, hashesOf(1, 2))).toEqual([undefined, [B, 0]])
    })

    it('says how much it takes', async () => {
      await index.addPack(A, hashesOf(1))
      expect((await index.sizes()).diskBytes).toBeGreaterThan(0)
    })

    it('agrees with a plain map over 100,000 random operations', async () => {
      const model = new IndexModel(20261)
      for (let done = 0; done < 100_000; done += 1) {
        if (done % 20_000 === 19_999 && made.reopen) index = await made.reopen()
        await model.step(index)
      }
      await model.compareAll(index)
    }, 120_000)

    it('keeps everything when it is opened again', async (context) => {
      if (!made.reopen) return context.skip()
      await index.addPack(A, hashesOf(1, 2))
      await index.putNote('n', 'v')
      await index.removeChunks(A, hashesOf(2))
      index = await made.reopen()
      expect(await answers(index, hashesOf(1, 2))).toEqual([[A, 0], undefined])
      expect([await index.hasPack(A), await allPacks(index), await index.getNote('n')]).toEqual([
        true,
        [A],
        'v',
      ])
    })
  })
}
