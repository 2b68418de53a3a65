import { describe, expect, it } from 'vitest'

import { flipped, packBytes, packOf, sampleChunks, tailOffset } from '../../test/format-samples.js'
import { heldBytes } from '../../test/held-memory.js'
import { FaultyStore } from '../store/faulty-store.js'
import { bundleKey } from '../store/keys.js'
import { MemoryStore } from '../store/memory-store.js'
import { encodeBundleTail } from './bundle-format.js'
import { PackCatalog } from './catalog.js'
import type { SealedPack } from './pack-builder.js'
import {
  decodePackDirectory,
  decodePackFooter,
  encodePackTail,
  isPresent,
  memoryBytesOf,
  PACK_FOOTER_BYTES,
  type PackDirectory,
} from './pack-format.js'
import { Quarantine } from './quarantine.js'

/** Counts what is asked of it. */
class CountingStore extends MemoryStore {
  tails = 0
  listings = 0

  override readTail(...args: Parameters<MemoryStore['readTail']>): ReturnType<MemoryStore['readTail']> {
    this.tails++
    return super.readTail(...args)
  }

  override list(prefix: string): ReturnType<MemoryStore['list']> {
    if (prefix.startsWith('packs/')) this.listings++
    return super.list(prefix)
  }
}

/** A later generation of a pack, in which the first frame is left out. */
function withoutFirstFrame(pack: SealedPack, generation: number): { key: string; parts: Uint8Array[] } {
  const { directory } = pack
  const bytes = packBytes(pack)
  const gone = directory.frameFirst[1]!
  const present = directory.present.slice()
  for (let chunk = 0; chunk < gone; chunk++) present[chunk >> 3]! &= ~(1 << (chunk & 7))
  const entries = Array.from({ length: directory.frameCount }, (_, i) => ({
    storedLength: i === 0 ? 0 : directory.frameOffset[i + 1]! - directory.frameOffset[i]!,
    plainLength: i === 0 ? 0 : directory.framePlain[i]!,
    crc: directory.frameCrc[i]!,
    codec: directory.frameCodec[i]!,
    chunks: directory.frameFirst[i + 1]! - directory.frameFirst[i]!,
  }))
  const frames = bytes.subarray(directory.frameOffset[1], tailOffset(pack).directory)
  const tail = encodePackTail(entries, directory.chunkLength, present, directory.hashes, generation)
  return { key: pack.key.replace(/\.0$/, `.${generation}`), parts: [bytes.subarray(0, 8), frames, tail] }
}

/** A directory as it is after decoding, of a pack that nobody wrote. */
function directoryOf(number: number, chunks: number): PackDirectory {
  const frame = { storedLength: 100, plainLength: chunks * 4096, crc: 0, codec: 1, chunks }
  const lengths = new Uint32Array(chunks).fill(4096)
  const present = new Uint8Array(Math.ceil(chunks / 8))
  for (let i = 0; i < chunks; i++) present[i >> 3]! |= 1 << (i & 7)
  const hashes = new Uint8Array(chunks * 32)
  new DataView(hashes.buffer).setUint32(0, number)
  const tail = encodePackTail([frame], lengths, present, hashes, 0)
  const packBytes = 108 + tail.length
  const footer = decodePackFooter(tail, packBytes)
  return decodePackDirectory(tail.subarray(0, tail.length - PACK_FOOTER_BYTES), footer, packBytes)
}

const pack = packOf(sampleChunks('catalog', [4096, 100, 4096, 500]))
const { id } = pack.directory

async function storeWith(
  ...objects: { key: string; parts: readonly Uint8Array[] }[]
): Promise<CountingStore> {
  const store = new CountingStore()
  for (const { key, parts } of objects) await store.put(key, parts)
  return store
}

describe('PackCatalog', () => {
  it('reads a directory once, with one request and no listing', async () => {
    const store = await storeWith(pack)
    const catalog = new PackCatalog(store)
    expect(catalog.cached(id)).toBeUndefined()
    const first = await catalog.directory(id)
    expect(await catalog.directory(id)).toBe(first)
    expect(catalog.cached(id)).toBe(first)
    expect([store.tails, store.listings]).toEqual([1, 0])
  })

  it('reads a directory once for all who ask at the same time', async () => {
    const store = await storeWith(pack)
    const catalog = new PackCatalog(store)
    const found = await Promise.all(Array.from({ length: 10 }, () => catalog.directory(id)))
    expect(new Set(found).size).toBe(1)
    expect(store.tails).toBe(1)
  })

  it('asks again after a failure', async () => {
    const store = await storeWith()
    const catalog = new PackCatalog(store)
    const failing = [catalog.directory(id), catalog.directory(id)]
    for (const one of failing) await expect(one).rejects.toMatchObject({ code: 'OBJECT_NOT_FOUND' })
    await store.put(pack.key, pack.parts)
    expect((await catalog.directory(id)).id).toBe(id)
  })

  it('reads a directory that is longer than what is read with the footer', async () => {
    const large = packOf(sampleChunks('large', new Array<number>(3000).fill(40)), 100)
    expect(large.directory.sizeBytes - tailOffset(large).directory).toBeGreaterThan(64 * 1024)
    const store = await storeWith(large)
    expect(await new PackCatalog(store).directory(large.directory.id)).toEqual(large.directory)
  })

  it('finds the newest generation where the first is gone, and reads that from then on', async () => {
    const store = await storeWith(withoutFirstFrame(pack, 2), withoutFirstFrame(pack, 10))
    const catalog = new PackCatalog(store)
    const found = await catalog.directory(id)
    expect(found.generation).toBe(10)
    expect([0, 1, 2, 3].map((chunk) => isPresent(found, chunk))).toEqual([false, false, true, true])
    expect(await catalog.directory(id)).toBe(found)
    expect(store.listings).toBe(1)
  })

  it('notices that a generation took the place of the one it knew', async () => {
    const store = await storeWith(withoutFirstFrame(pack, 1))
    const catalog = new PackCatalog(store)
    await catalog.directory(id)
    const newer = withoutFirstFrame(pack, 2)
    await store.put(newer.key, newer.parts)
    await store.remove(withoutFirstFrame(pack, 1).key)
    catalog.forget(id)
    expect((await catalog.directory(id)).generation).toBe(2)
  })

  it('finds the generation that was written anew, when it saw one on its way out in a bundle', async () => {
    const other = packOf(sampleChunks('bundled with it', [10, 20]))
    const [first, last] = [packBytes(other), Buffer.concat(withoutFirstFrame(pack, 1).parts)]
    const { id: bundle, bytes } = encodeBundleTail([
      { packId: other.directory.id, generation: 0, offset: 0, length: first.length },
      { packId: id, generation: 1, offset: first.length, length: last.length },
    ])
    const store = await storeWith(withoutFirstFrame(pack, 2), {
      key: bundleKey(bundle),
      parts: [first, last, bytes],
    })
    const packs = [
      { id: other.directory.id, generation: 0 },
      { id, generation: 1 },
    ]
    await new Quarantine().record(store, { condemned: [{ key: bundleKey(bundle), packs, round: 1 }] })
    const catalog = new PackCatalog(store)
    expect((await catalog.directory(other.directory.id)).generation).toBe(0)
    expect((await catalog.directory(id)).generation).toBe(2)
  })

  it('gives the newer generation where the one that it reads is condemned meanwhile', async () => {
    const store = await storeWith(pack, withoutFirstFrame(pack, 1))
    const catalog = new PackCatalog(store)
    const packs = [{ id, generation: 0 }]
    const readTail = store.readTail.bind(store)
    store.readTail = async (key, length) => {
      const tail = await readTail(key, length)
      if (key === pack.key)
        await catalog.quarantine.record(store, { condemned: [{ key: pack.key, packs, round: 1 }] })
      return tail
    }
    const found = await catalog.directory(id)
    expect(found.generation).toBe(1)
    expect(catalog.cached(id)).toBe(found)
  })

  it('keeps directories up to its limit, those that were asked for last', async () => {
    const packs = Array.from({ length: 6 }, (_, i) => packOf(sampleChunks(`lru ${i}`, [10, 20])))
    const store = await storeWith(...packs)
    const catalog = new PackCatalog(store, 3.5 * memoryBytesOf(packs[0]!.directory))
    const known = (): number[] =>
      [0, 1, 2, 3, 4, 5].filter((i) => catalog.cached(packs[i]!.directory.id) !== undefined)
    for (const { directory } of packs.slice(0, 3)) await catalog.directory(directory.id)
    expect(known()).toEqual([0, 1, 2])
    catalog.cached(packs[0]!.directory.id)
    await catalog.directory(packs[3]!.directory.id)
    expect(known()).toEqual([0, 2, 3])
    for (const { directory } of packs) await catalog.directory(directory.id)
    expect(known().length).toBe(3)
  })

  it.each([1, 16, 64])('takes no more memory than its limit, where packs have %i chunks', (chunks) => {
    const limit = 16 * 2 ** 20
    const counted = memoryBytesOf(directoryOf(0, chunks))
    const before = heldBytes()
    const catalog = new PackCatalog(new MemoryStore(), limit)
    for (let number = 0; number * counted < 2 * limit; number++) catalog.add(directoryOf(number, chunks))
    const held = heldBytes() - before
    expect(held).toBeLessThan(limit)
    // It makes use of it, too.
    expect(held).toBeGreaterThan(limit / 2)
    expect(catalog.cached(directoryOf(0, chunks).id)).toBeUndefined()
  })

  it('keeps one directory, however large', async () => {
    const store = await storeWith(pack)
    const catalog = new PackCatalog(store, 1)
    await catalog.directory(id)
    expect(catalog.cached(id)).toBeDefined()
  })

  it.each([0, 1, 2])(
    'reads another generation where the directory of generation %i is damaged',
    async (rotten) => {
      const parts = (other: SealedPack): readonly Uint8Array[] =>
        other.directory.generation === rotten
          ? [flipped(packBytes(other), tailOffset(other).directory * 8)]
          : other.parts
      const generations = [0, 1, 2].map((generation) =>
        packOf(sampleChunks('catalog', [4096, 100, 4096, 500]), 2, 3, generation),
      )
      // Without the first, which is asked for before any listing, and with it.
      for (const there of [generations, generations.slice(1)]) {
        const store = await storeWith(...there.map((one) => ({ key: one.key, parts: parts(one) })))
        const newest = rotten === 2 ? 1 : 2
        const expected = there.length === 3 && rotten !== 0 ? 0 : newest
        expect((await new PackCatalog(store).directory(id)).generation).toBe(expected)
      }
    },
  )

  it('reads what it found by listing where the store takes no sync, and lets no new point refer to that', async () => {
    const first = packOf(sampleChunks('catalog', [4096, 100, 4096, 500]), 2, 3, 1)
    const inner = await storeWith(first)
    let isReadOnly = true
    const store = new FaultyStore(inner, (operation) =>
      operation === 'settle' && isReadOnly ? { kind: 'error-before' } : undefined,
    )
    const catalog = new PackCatalog(store)
    const directory = await catalog.directory(id)
    expect(directory.generation).toBe(1)
    expect(catalog.mayReference(directory, 0)).toBe(false)
    expect(await catalog.generations(id)).toHaveLength(1)
    isReadOnly = false
    expect(await catalog.generations(id)).toHaveLength(1)
    expect(catalog.mayReference(directory, 0)).toBe(true)
  })

  it('says DATA_DAMAGED for a flipped bit, and for another pack under the name', async () => {
    const bytes = packBytes(pack)
    const at = tailOffset(pack).directory * 8
    const other = packOf(sampleChunks('other', [10]))
    for (const content of [
      flipped(bytes, at),
      flipped(bytes, bytes.length * 8 - 1),
      packBytes(other),
      bytes.subarray(9),
    ]) {
      const store = await storeWith({ key: pack.key, parts: [content] })
      await expect(new PackCatalog(store).directory(id)).rejects.toMatchObject({ code: 'DATA_DAMAGED' })
    }
    const wrongGeneration = await storeWith({ key: pack.key.replace(/\.0$/, '.1'), parts: pack.parts })
    await expect(new PackCatalog(wrongGeneration).directory(id)).rejects.toMatchObject({
      code: 'DATA_DAMAGED',
    })
  })
})
