import { isZero } from '../chunker/zero.js'
import { hashMatches, scratch } from './jobs.js'
import { type ReadWhole, readWhole } from './read-whole.js'

/** Compare chunks of a disk, each with what is expected there. */
export interface CompareJob {
  /** In memory they lie one after the other. */
  readonly from: OpenFile | { readonly plain: ArrayBufferLike }
  /** Bytes of each chunk. */
  readonly lengths: Uint32Array
  /** Per chunk: one of EXPECTS_…. */
  readonly expected: Uint8Array
  /** n × 32 bytes; those of chunks from which something else is expected do not count. */
  readonly hashes: Uint8Array
}

/** A file that is read from by its descriptor, on any thread: it has to stay open until the answer is there. */
export interface OpenFile {
  readonly descriptor: number
  /** Where each chunk begins: in order. */
  readonly offsets: Float64Array
}

export const EXPECTS_HASH = 0
export const EXPECTS_ZEROS = 1
/** Whatever is there differs. */
export const EXPECTS_NOTHING = 2

export interface CompareResult {
  /** Handed back, where it was handed over. */
  readonly plain: ArrayBufferLike | undefined
  /** Per chunk: 1 if it is as expected. Undefined if the file could not be read that far: whoever opened it finds out why. */
  readonly same: Uint8Array | undefined
}

/** Bytes read at once, and then hashed: they stay in a core's cache meanwhile. */
const WINDOW_BYTES = 512 * 1024

export function runCompare(
  { from, lengths, expected, hashes }: CompareJob,
  read: ReadWhole = readWhole,
): CompareResult {
  const plain = 'plain' in from ? new Uint8Array(from.plain) : undefined
  const file = 'plain' in from ? undefined : from
  const same = new Uint8Array(lengths.length)
  let at = 0
  for (let first = 0; first < lengths.length; ) {
    const { end, bytes } = windowFrom(lengths, first, file?.offsets)
    const window = file === undefined ? plain?.subarray(at, at + bytes) : readWindow(file, first, bytes, read)
    if (window === undefined) return { plain: undefined, same: undefined }
    let start = 0
    for (; first < end; first++) {
      const chunk = window.subarray(start, start + (lengths[first] ?? 0))
      start += chunk.length
      same[first] = isAsExpected(chunk, expected[first] ?? EXPECTS_NOTHING, hashes, first) ? 1 : 0
    }
    at += bytes
  }
  return { plain: plain?.buffer, same }
}

/** As many chunks as fit into a window and follow each other, and one at least. */
function windowFrom(
  lengths: Uint32Array,
  first: number,
  offsets: Float64Array | undefined,
): { end: number; bytes: number } {
  const start = offsets?.[first] ?? 0
  let end = first
  let bytes = 0
  do bytes += lengths[end++] ?? 0
  while (
    end < lengths.length &&
    bytes + (lengths[end] ?? 0) <= WINDOW_BYTES &&
    (offsets === undefined || offsets[end] === start + bytes)
  )
  return { end, bytes }
}

function readWindow(
  { descriptor, offsets }: OpenFile,
  first: number,
  length: number,
  read: ReadWhole,
): Uint8Array | undefined {
  const window = scratch('gather', length).subarray(0, length)
  return read(descriptor, window, offsets[first] ?? 0) ? window : undefined
}

function isAsExpected(chunk: Uint8Array, expected: number, hashes: Uint8Array, index: number): boolean {
  if (expected === EXPECTS_HASH) return hashMatches(chunk, hashes, index)
  return expected === EXPECTS_ZEROS && isZero(chunk)
}
