import { hash } from 'node:crypto'

import { SHA256_BYTES } from '../checksum.js'
import { isZero } from './zero.js'

/** What a batch of chunks is made of. Both arrays own their memory, so they can be transferred to another thread. */
export interface ChunkHashes {
  /** 32 bytes per chunk, in order; all 0 for a chunk of zeros. */
  readonly hashes: Uint8Array<ArrayBuffer>
  /** One bit per chunk, lowest first (bit `i & 7` of byte `i >> 3`): the chunk is all zeros. */
  readonly zeros: Uint8Array<ArrayBuffer>
}

/**
 * Names each chunk of a batch. The chunks follow each other in `bytes` and are read in place.
 *
 * @param lengths  Bytes of each chunk.
 * @throws RangeError if the lengths reach beyond `bytes`: only our own bug gets here.
 */
export function hashChunks(bytes: Uint8Array, lengths: Uint32Array): ChunkHashes {
  const hashes = new Uint8Array(lengths.length * SHA256_BYTES)
  const zeros = new Uint8Array(Math.ceil(lengths.length / 8))
  const hashText = Buffer.from(hashes.buffer)
  let start = 0
  for (const [i, length] of lengths.entries()) {
    if (start + length > bytes.length) throw new RangeError('the chunks reach beyond their bytes')
    const chunk = bytes.subarray(start, start + length)
    start += length
    if (isZero(chunk)) zeros[i >> 3] = (zeros[i >> 3] ?? 0) | (1 << (i & 7))
    // A digest comes out of OpenSSL cheaper as a string of 32 characters ('binary' is Latin-1) than as a Buffer of its own (measured on
    // Node 20: 2.7 against 3.2 µs for 4 KiB).
    else hashText.write(hash('sha256', chunk, 'binary'), i * SHA256_BYTES, 'latin1')
  }
  return { hashes, zeros }
}

/** Is chunk `index` all zeros, according to `ChunkHashes.zeros`? */
export function isZeroChunk(zeros: Uint8Array, index: number): boolean {
  return (((zeros[index >> 3] ?? 0) >> (index & 7)) & 1) === 1
}
