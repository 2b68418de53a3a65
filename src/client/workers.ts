import type { CutJob, CutResult, HashJob, HashResult } from '../chunker/batch-jobs.js'

export type { CutJob, CutResult, HashJob, HashResult }

/** The heavy work of uploads, on batches of chunks. Buffers in a job are handed over, and handed back in its result. */
export interface Workers {
  /** How many jobs are worked on at once. */
  readonly size: number
  /** Memory for `plain` and for `room` that is cheaper to hand over; it is used again and again. */
  allocate?(bytes: number): SharedArrayBuffer
  /** Finds where the content says to cut. Pieces lie one after the other; no chunk reaches from one into the next. */
  cut(job: CutJob): Promise<CutResult>
  /** Finds zeros, and names the rest. */
  hash(job: HashJob): Promise<HashResult>
  /** Compresses chunks, frame by frame. */
  encode(job: EncodeJob): Promise<EncodeResult>
}

export interface EncodeJob {
  readonly plain: ArrayBufferLike
  /** Per chosen chunk: where it lies in `plain`, ascending, and its length. */
  readonly offsets: Uint32Array
  readonly lengths: Uint32Array
  /** Chunks per frame; they add up to the number of chosen chunks. */
  readonly frameChunks: Uint32Array
  /** zstd level; 0 leaves everything as it is. */
  readonly level: number
  readonly verify: boolean
  /** Where the stored bytes may go; without it, or if it is too small, memory of their own. */
  readonly room?: SharedArrayBuffer | undefined
}

export interface EncodeResult {
  readonly plain: ArrayBufferLike
  /** Stored bytes of all frames, one after the other. */
  readonly stored: Uint8Array
  /** Per frame. */
  readonly storedLength: Uint32Array
  /** Per frame: 0 as it is, 1 zstd. */
  readonly codec: Uint8Array
  /** Per frame: CRC-32 of its stored bytes. */
  readonly crc: Uint32Array
}
