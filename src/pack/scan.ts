import { type HashResult, runCut } from '../chunker/batch-jobs.js'
import { runHash } from './jobs.js'
import { type ReadWhole, readWhole } from './read-whole.js'

/** Read pieces of a disk into memory, cut them by content and name their chunks: all at once, while they are in a core's cache. */
export interface ScanJob {
  /** Where the pieces go, one after the other from byte 0 on. */
  readonly plain: ArrayBufferLike
  /** Of the open file: it has to stay open until the answer is there. */
  readonly descriptor: number
  /** Of each piece, on the disk. Bytes. */
  readonly offsets: Float64Array
  readonly lengths: Uint32Array
  readonly chunkSize: number
}

export interface ScanResult {
  readonly plain: ArrayBufferLike
  /** Undefined if the file could not be read that far: whoever opened it finds out why. */
  readonly named: HashResult | undefined
}

export function runScan(
  { plain, descriptor, offsets, lengths, chunkSize }: ScanJob,
  read: ReadWhole = readWhole,
): ScanResult {
  let at = 0
  for (const [i, length] of lengths.entries()) {
    if (!read(descriptor, new Uint8Array(plain, at, length), offsets[i] ?? 0))
      return { plain, named: undefined }
    at += length
  }
  return { plain, named: runHash(runCut({ plain, offsets, pieces: lengths, chunkSize, final: true })) }
}
