import { copyBytes } from '../copy-bytes.js'
import { bytesToOpen, hashMatches, open, scratch } from './jobs.js'
import { CODEC_RAW } from './pack-format.js'
import { readWhole } from './read-whole.js'

/*
 * Picks: small reads, several in one message, of files that are open in this process. The thread reads the frame, decompresses it up to the last
 * chunk that is wanted, checks the chunks against their hashes, and puts the bytes where they are wanted in memory that all threads share.
 *
 * Numbers of a pick, one after the other:
 *
 *   descriptor | offset and length in the file | codec | plain bytes of all that is read
 *   | from where in them, and how many, are wanted | where they go in `room` | number of chunks
 *   then per chunk: where it begins in the plain bytes | length
 */

/** Numbers of a pick before its chunks, and of each chunk. */
export const PICK_NUMBERS = 9
export const PICK_CHUNK_NUMBERS = 2
/** Picks in a job: their answers are the bits of one number. */
export const PICKS_MAX = 16

export interface PickJob {
  readonly numbers: Float64Array
  /** 32 bytes for each chunk of all picks. */
  readonly hashes: Uint8Array
  readonly room: SharedArrayBuffer
}

/** @returns bit i is set if pick i is there and was checked; of others nothing is said, and nothing is in their place that may be used */
export function runPick({ numbers, hashes, room }: PickJob): number {
  const at = (index: number): number => numbers[index] ?? 0
  let good = 0
  let pick = 0
  for (let i = 0, hash = 0; i < numbers.length; pick++) {
    const count = at(i + 8)
    if (readPick(numbers, i, hashes, hash, room)) good |= 1 << pick
    i += PICK_NUMBERS + count * PICK_CHUNK_NUMBERS
    hash += count
  }
  return good
}

function readPick(
  numbers: Float64Array,
  start: number,
  hashes: Uint8Array,
  firstHash: number,
  room: SharedArrayBuffer,
): boolean {
  const [
    file = 0,
    offset = 0,
    storedLength = 0,
    codec = 0,
    plainLength = 0,
    from = 0,
    length = 0,
    target = 0,
  ] = numbers.subarray(start, start + PICK_NUMBERS)
  const chunks = numbers.subarray(start + PICK_NUMBERS)
  const count = numbers[start + 8] ?? 0
  const last = (count - 1) * PICK_CHUNK_NUMBERS
  const needed = (chunks[last] ?? 0) + (chunks[last + 1] ?? 0)
  const plain = scratch('unpacked', plainLength).subarray(0, bytesToOpen(needed, plainLength))
  if (codec === CODEC_RAW) {
    if (!readWhole(file, plain, offset)) return false
  } else {
    const stored = scratch('packed', storedLength).subarray(0, storedLength)
    if (!readWhole(file, stored, offset) || !open(stored, codec, plain, plainLength)) return false
  }
  for (let i = 0; i < count; i++) {
    const begin = chunks[i * PICK_CHUNK_NUMBERS] ?? 0
    const end = begin + (chunks[i * PICK_CHUNK_NUMBERS + 1] ?? 0)
    if (!hashMatches(plain.subarray(begin, end), hashes, firstHash + i)) return false
  }
  copyBytes(new Uint8Array(room), target, plain.subarray(from, from + length))
  return true
}
