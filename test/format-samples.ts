/** Packs and stores made from a seed, for the tests of what is stored. */

import { SeededBytes } from '../bench/seeded-bytes.js'
import { sha256 } from '../src/checksum.js'
import { runEncode } from '../src/pack/jobs.js'
import { PackBuilder, type SealedPack } from '../src/pack/pack-builder.js'
import { PACK_FOOTER_BYTES } from '../src/pack/pack-format.js'

/** Chunks whose content compresses, or does not, by turns of their number. */
export function sampleChunks(seed: string, lengths: readonly number[]): Uint8Array[] {
  const random = new SeededBytes(seed)
  return lengths.map((length, i) =>
    i % 2 === 0 ? random.next(length) : Buffer.alloc(length, `${seed} ${i} ${random.below(1e9)} `),
  )
}

/** A pack of these chunks, with `perFrame` of them in each frame. */
export function packOf(chunks: readonly Uint8Array[], perFrame = 2, level = 3, generation = 0): SealedPack {
  const builder = new PackBuilder()
  for (let first = 0; first < chunks.length; first += perFrame) {
    const own = chunks.slice(first, first + perFrame)
    const lengths = Uint32Array.from(own, (chunk) => chunk.length)
    let end = 0
    const offsets = lengths.map((length) => (end += length) - length)
    const plain = new Uint8Array(Buffer.concat(own)).buffer
    const frameChunks = Uint32Array.of(own.length)
    const result = runEncode({ plain, offsets, lengths, frameChunks, level, verify: true })
    builder.append(result, frameChunks, lengths, Buffer.concat(own.map((chunk) => sha256(chunk))))
  }
  return builder.seal(generation)
}

/** A pack's object in one piece. */
export function packBytes(pack: SealedPack): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.concat(pack.parts))
}

/** Where directory and footer begin in a pack's object. */
export function tailOffset(pack: SealedPack): { readonly directory: number; readonly footer: number } {
  const { sizeBytes, frameOffset, frameCount } = pack.directory
  return { directory: frameOffset[frameCount] ?? 0, footer: sizeBytes - PACK_FOOTER_BYTES }
}

/** A copy with one bit turned over. */
export function flipped(bytes: Uint8Array, bit: number): Uint8Array<ArrayBuffer> {
  const copy = Uint8Array.from(bytes)
  copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7))
  return copy
}
