import { describe, expect, it } from 'vitest'

import { packBytes, packOf, sampleChunks } from '../../test/format-samples.js'
import { sha256 } from '../checksum.js'
import { MemoryStore } from '../store/memory-store.js'
import { PackCatalog } from './catalog.js'
import { PackBuilder } from './pack-builder.js'
import { isPresent, PACK_CHUNKS_MAX, packIdOf } from './pack-format.js'

const chunks = sampleChunks('builder', [4096, 5000, 1, 700, 4096, 4096, 9])

describe('PackBuilder', () => {
  it('seals a pack in which readers find each chunk, present, with its length and hash', async () => {
    const pack = packOf(chunks, 3)
    const store = new MemoryStore()
    await store.put(pack.key, pack.parts)
    const found = await new PackCatalog(store).directory(pack.directory.id)
    expect(found).toEqual(pack.directory)
    expect([...found.chunkLength]).toEqual(chunks.map((chunk) => chunk.length))
    for (const [i, chunk] of chunks.entries()) {
      expect(isPresent(found, i)).toBe(true)
      expect(Buffer.compare(found.hashes.subarray(i * 32, i * 32 + 32), sha256(chunk))).toBe(0)
    }
    expect(found.sizeBytes).toBe(packBytes(pack).length)
  })

  it('names a pack by its chunks alone, however they are framed and compressed', () => {
    const id = packIdOf(Buffer.concat(chunks.map((chunk) => sha256(chunk))))
    expect(packOf(chunks, 1, 0).directory.id).toBe(id)
    expect(packOf(chunks, 7, 9).directory.id).toBe(id)
    expect(packOf(chunks.toReversed()).directory.id).not.toBe(id)
  })

  it('counts what it holds, and has room up to the limit of chunks', () => {
    const builder = new PackBuilder()
    expect(builder.hasRoomFor(PACK_CHUNKS_MAX)).toBe(true)
    expect(builder.hasRoomFor(PACK_CHUNKS_MAX + 1)).toBe(false)
    const count = PACK_CHUNKS_MAX
    const frame = {
      plain: new ArrayBuffer(0),
      stored: new Uint8Array(count),
      storedLength: Uint32Array.of(count),
      plainLength: Uint32Array.of(count),
      crc: Uint32Array.of(0),
      codec: Uint8Array.of(0),
    }
    builder.append(frame, Uint32Array.of(count), new Uint32Array(count).fill(1), new Uint8Array(count * 32))
    expect([builder.chunkCount, builder.storedBytes]).toEqual([count, count])
    expect(builder.hasRoomFor(1)).toBe(false)
    expect(builder.seal().directory.chunkCount).toBe(PACK_CHUNKS_MAX)
  })

  it('refuses to seal what readers would reject', () => {
    const builder = new PackBuilder()
    expect(() => builder.seal()).toThrow()
    const frame = {
      plain: new ArrayBuffer(0),
      stored: new Uint8Array(5),
      storedLength: Uint32Array.of(5),
      plainLength: Uint32Array.of(5),
      crc: Uint32Array.of(0),
      codec: Uint8Array.of(0),
    }
    builder.append(frame, Uint32Array.of(1), Uint32Array.of(6), new Uint8Array(32))
    expect(() => builder.seal()).toThrow("a frame's length does not add up")
  })
})
