import sha256 from 'fast-sha256'
import { type CutJob, type CutResult, type HashJob, type HashResult, runCut } from '../chunker/batch-jobs.js'
import { isZero } from '../chunker/zero.js'
import { portableCrc32 } from '../crc.js'
import { HASH_BYTES } from './chunk-names.js'
import type { EncodeJob, EncodeResult, Workers } from './workers.js'

/** How chunks are named: 32 bytes of SHA-256. */
export type Hasher = (bytes: Uint8Array) => Uint8Array | Promise<Uint8Array>

/** In pieces, so that it needs no copy of the whole in its own form. */
const PIECE_BYTES = 64 * 1024

/** Without anything of Node.js, and where `crypto.subtle` is missing too (pages without TLS). */
export function fastSha256(bytes: Uint8Array): Uint8Array {
  const hash = new sha256.Hash()
  for (let at = 0; at < bytes.length; at += PIECE_BYTES) hash.update(bytes.subarray(at, at + PIECE_BYTES))
  return hash.digest()
}

/** Does the work of uploads where it is called, with nothing but what browsers have: what is sent is not compressed. */
export class InlineWorkers implements Workers {
  readonly size = 1
  readonly #hasher: Hasher

  constructor(hasher: Hasher = fastSha256) {
    this.#hasher = hasher
  }

  async cut(job: CutJob): Promise<CutResult> {
    return runCut(job)
  }

  async hash({ plain, start: first = 0, lengths }: HashJob): Promise<HashResult> {
    const hashes = new Uint8Array(lengths.length * HASH_BYTES)
    const zeros = new Uint8Array(Math.ceil(lengths.length / 8))
    let start = first
    for (const [i, length] of lengths.entries()) {
      const chunk = new Uint8Array(plain, start, length)
      if (isZero(chunk)) zeros[i >> 3] = (zeros[i >> 3] ?? 0) | (1 << (i & 7))
      else hashes.set(await this.#hasher(chunk), i * HASH_BYTES)
      start += length
    }
    return { plain, lengths, hashes, zeros }
  }

  async encode({ plain, offsets, lengths, frameChunks }: EncodeJob): Promise<EncodeResult> {
    const stored = new Uint8Array(lengths.reduce((sum, length) => sum + length, 0))
    const storedLength = new Uint32Array(frameChunks.length)
    const crc = new Uint32Array(frameChunks.length)
    let at = 0
    let chunk = 0
    for (const [frame, count] of frameChunks.entries()) {
      const from = at
      for (const end = chunk + count; chunk < end; chunk++) {
        const length = lengths[chunk] ?? 0
        stored.set(new Uint8Array(plain, offsets[chunk] ?? 0, length), at)
        at += length
      }
      storedLength[frame] = at - from
      crc[frame] = portableCrc32(stored.subarray(from, at))
    }
    return { plain, stored, storedLength, codec: new Uint8Array(frameChunks.length), crc }
  }
}
