import type { ByteRange } from '../byte-range.js'
import type { ByteSource, PlainBatch } from '../chunker/fill-batches.js'
import { cutFixed } from '../chunker/fixed.js'
import { isZero } from '../chunker/zero.js'
import { isSet, nameAt } from './chunk-names.js'
import { FRAME_CHUNKS_MAX, type NamedChunk, type StreamRecord } from './framed-stream.js'
import type { HashResult, Workers } from './workers.js'

/** Where an upload's bytes come from. */
export interface UploadSource extends ByteSource {
  readonly sizeBytes: number
  /** Ranges that read as zeros and need not be read: sorted, apart; they begin and end on multiples of `grid` bytes, or at the end. */
  holes?(grid: number): Promise<Iterable<ByteRange>>
}

/** A Blob, such as a file that somebody chose in a browser. */
export function blobSource(blob: Blob): UploadSource {
  return {
    sizeBytes: blob.size,
    read: async (into, offset) =>
      into.set(new Uint8Array(await blob.slice(offset, offset + into.length).arrayBuffer())),
  }
}

/** A chunk of a batch: `from` is where it begins in the batch's bytes. */
export interface BatchChunk extends NamedChunk {
  readonly from: number
  readonly zero: boolean
}

/** Chunks of a disk that were cut and named, and their bytes. */
export interface CutBatch {
  readonly chunks: readonly BatchChunk[]
  readonly plain: ArrayBufferLike
}

/** Plain bytes of a batch. */
export const BATCH_BYTES = 4 * 1024 * 1024

/** How the repository compresses: see `everfold init`. */
export interface Encoding {
  /** Plain bytes of a frame, at most, or one chunk. */
  readonly frameSize: number
  /** Of zstd. */
  readonly level: number
}

/** Cuts a batch. @returns lengths of its chunks, and what has to begin the next batch */
export async function cutBatch(
  workers: Workers,
  batch: PlainBatch<{ readonly contentDefined: boolean }>,
  chunkSize: number,
): Promise<{ readonly plain: ArrayBufferLike; readonly lengths: Uint32Array; readonly tail: Uint8Array }> {
  const { plain: given, start = 0, pieces, final, disk } = batch
  if (!disk.contentDefined) return { plain: given, lengths: cellsOf(pieces, chunkSize), tail: NO_BYTES }
  const used = pieces.reduce((sum, { length }) => sum + length, 0)
  const { plain, lengths } = await workers.cut({
    plain: given,
    start,
    offsets: Float64Array.from(pieces, ({ offset }) => offset),
    pieces: Uint32Array.from(pieces, ({ length }) => length),
    chunkSize,
    final,
  })
  const consumed = lengths.reduce((sum, length) => sum + length, 0)
  // The caller's own workers may cut: what they leave out would be missing from the point, without a word.
  if (final ? consumed !== used : consumed > used)
    throw new Error(`workers.cut made chunks of ${consumed} bytes out of ${used}`)
  // A copy: the buffer goes on to be hashed.
  return { plain, lengths, tail: new Uint8Array(plain, start, used).slice(consumed) }
}

const NO_BYTES = new Uint8Array(0)

function cellsOf(pieces: PlainBatch<unknown>['pieces'], chunkSize: number): Uint32Array {
  return Uint32Array.from(pieces.flatMap(({ offset, length }) => [...cutFixed(offset, length, chunkSize)]))
}

/** The cells of the grid in a batch, without names, and which of them are zeros. */
export function cellsWithoutNames(
  { plain, start = 0, pieces }: PlainBatch<unknown>,
  chunkSize: number,
): HashResult {
  const lengths = cellsOf(pieces, chunkSize)
  const zeros = new Uint8Array(Math.ceil(lengths.length / 8))
  let from = start
  for (const [i, length] of lengths.entries()) {
    if (isZero(new Uint8Array(plain, from, length))) zeros[i >> 3] = (zeros[i >> 3] ?? 0) | (1 << (i & 7))
    from += length
  }
  return { plain, lengths, hashes: NO_BYTES, zeros }
}

/** Puts cut and named chunks to their places on the disk. */
export function placeChunks(pieces: PlainBatch<unknown>['pieces'], result: HashResult, start = 0): CutBatch {
  const chunks: BatchChunk[] = []
  let from = start
  let piece = 0
  let within = 0
  for (const [i, size] of result.lengths.entries()) {
    while (within === pieces[piece]?.length) {
      piece++
      within = 0
    }
    const offset = (pieces[piece]?.offset ?? 0) + within
    chunks.push({ offset, size, from, name: nameAt(result.hashes, i), zero: isSet(result.zeros, i) })
    from += size
    within += size
  }
  return { chunks, plain: result.plain }
}

export interface EncodedChunks {
  readonly plain: ArrayBufferLike
  readonly records: readonly StreamRecord[]
  readonly storedBytes: number
}

/**
 * Compresses chunks of a batch, neighbours together.
 * @param wanted  in the order of the batch
 * @param room    for the frames, if there is some
 */
export async function encodeChunks(
  workers: Workers,
  plain: ArrayBufferLike,
  wanted: readonly BatchChunk[],
  { frameSize, level }: Encoding,
  room?: SharedArrayBuffer,
): Promise<EncodedChunks> {
  if (wanted.length === 0) return { plain, records: [], storedBytes: 0 }
  const frames: BatchChunk[][] = []
  let left = 0
  for (const chunk of wanted) {
    const frame = frames.at(-1)
    if (frame !== undefined && chunk.size <= left && frame.length < FRAME_CHUNKS_MAX) frame.push(chunk)
    else {
      frames.push([chunk])
      left = frameSize
    }
    left -= chunk.size
  }
  const result = await workers.encode({
    plain,
    offsets: Uint32Array.from(wanted, ({ from }) => from),
    lengths: Uint32Array.from(wanted, ({ size }) => size),
    frameChunks: Uint32Array.from(frames, ({ length }) => length),
    level,
    // The service compares every chunk with its hash before it keeps the frame.
    verify: false,
    room,
  })
  let at = 0
  const records = frames.map((chunks, i): StreamRecord => {
    const length = result.storedLength[i] ?? 0
    const stored = result.stored.subarray(at, at + length)
    const frame = { codec: result.codec[i] ?? 0, stored, crc: result.crc[i] ?? 0 }
    at += length
    return { kind: 'chunks', chunks, frame }
  })
  return { plain: result.plain, records, storedBytes: at }
}
