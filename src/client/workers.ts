/** The heavy work of uploads, on batches of chunks. Buffers in a job are handed over, and handed back in its result. */
export interface Workers {
  /** How many jobs are worked on at once. */
  readonly size: number
  /** Finds where the content says to cut. Pieces lie one after the other; no chunk reaches from one into the next. */
  cut(job: CutJob): Promise<CutResult>
  /** Finds zeros, and names the rest. */
  hash(job: HashJob): Promise<HashResult>
  /** Compresses chunks, frame by frame. */
  encode(job: EncodeJob): Promise<EncodeResult>
}

export interface CutJob {
  readonly plain: ArrayBuffer
  readonly pieces: Uint32Array
  readonly chunkSize: number
  /** Nothing follows the last piece: its tail is cut as well, decided or not. */
  readonly final: boolean
}

export interface CutResult {
  readonly plain: ArrayBuffer
  readonly lengths: Uint32Array
}

export interface HashJob {
  readonly plain: ArrayBuffer
  /** Bytes of each chunk; they lie one after the other from byte 0 on. */
  readonly lengths: Uint32Array
}

export interface HashResult {
  readonly plain: ArrayBuffer
  readonly lengths: Uint32Array
  /** n × 32 bytes. */
  readonly hashes: Uint8Array
  /** Bitmap, least significant bit first: the chunk is all zeros. */
  readonly zeros: Uint8Array
}

export interface EncodeJob {
  readonly plain: ArrayBuffer
  /** Per chosen chunk: where it lies in `plain`, ascending, and its length. */
  readonly offsets: Uint32Array
  readonly lengths: Uint32Array
  /** Chunks per frame; they add up to the number of chosen chunks. */
  readonly frameChunks: Uint32Array
  /** zstd level; 0 leaves everything as it is. */
  readonly level: number
  readonly verify: boolean
}

export interface EncodeResult {
  readonly plain: ArrayBuffer
  /** Stored bytes of all frames, one after the other. */
  readonly stored: ArrayBuffer
  /** Per frame. */
  readonly storedLength: Uint32Array
  /** Per frame: 0 as it is, 1 zstd. */
  readonly codec: Uint8Array
}
