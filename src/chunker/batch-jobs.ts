import { FastCdc } from './fastcdc.js'

/*
 * What is asked of whoever cuts and names batches of chunks: on threads, where it is called, or in a browser. Every buffer is handed
 * over, also one that is shared memory, and handed back in the result: whoever sent it may not touch it again.
 */

/** Find where the content of a batch says to cut. */
export interface CutJob {
  readonly plain: ArrayBufferLike
  /** Where the first piece begins: 0, unless it says so. */
  readonly start?: number
  /** Where each piece begins on the disk. */
  readonly offsets: Float64Array
  /** Bytes of each piece; they lie one after the other, and no chunk reaches from one into the next. */
  readonly pieces: Uint32Array
  readonly chunkSize: number
  /** Nothing follows the last piece: its tail is cut as well, decided or not. */
  readonly final: boolean
}

export interface CutResult {
  readonly plain: ArrayBufferLike
  /** Plain length of each chunk; they add up to those of the pieces, or less unless `final`. */
  readonly lengths: Uint32Array
}

export function runCut(job: CutJob): CutResult {
  const cdc = new FastCdc(job.chunkSize)
  const lengths: number[] = []
  let start = job.start ?? 0
  for (const [i, length] of job.pieces.entries()) {
    const final = job.final || i < job.pieces.length - 1
    const { lengths: found } = cdc.cut(new Uint8Array(job.plain, start, length), job.offsets[i] ?? 0, final)
    for (const chunk of found) lengths.push(chunk)
    start += length
  }
  return { plain: job.plain, lengths: Uint32Array.from(lengths) }
}

/** Find zeros in a batch of chunks and hash the rest. */
export interface HashJob {
  readonly plain: ArrayBufferLike
  /** Where the first chunk begins: 0, unless it says so. They lie one after the other. */
  readonly start?: number
  readonly lengths: Uint32Array
}

export interface HashResult {
  readonly plain: ArrayBufferLike
  readonly lengths: Uint32Array
  /** n × 32 bytes; 32 zero bytes for an all-zero chunk. */
  readonly hashes: Uint8Array
  /** Bitmap, least significant bit first: the chunk is all zeros. */
  readonly zeros: Uint8Array
}
