import { type ByteRange, bytesIn } from '../byte-range.js'
import { SHA256_BYTES } from '../checksum.js'
import type { DiskSource } from '../feed/disk-source.js'
import { inOrder } from '../in-order.js'
import { type CompareJob, EXPECTS_HASH, EXPECTS_NOTHING, EXPECTS_ZEROS } from '../pack/compare.js'
import type { Crew } from '../pack/crew.js'
import type { PackDirectory } from '../pack/pack-format.js'
import type { BaseDisk, BasePart } from './base-disk.js'

export interface Comparison {
  readonly base: BaseDisk
  readonly source: Pick<DiskSource, 'read' | 'descriptor'>
  readonly sizeBytes: number
  /** Ranges of the source that are zeros without being read: sorted, apart. */
  readonly holes: Iterable<ByteRange>
  readonly crew: Crew
  /** Read and hashed at once; at least a chunk. */
  readonly batchBytes: number
  /** Zeros are compared by so many bytes. */
  readonly chunkSize: number
  /** Told of each range that is in a hole now and was not zeros, in order, but before what differs in front of it is known. */
  readonly onCleared: (range: ByteRange) => void
  readonly onRead: (doneBytes: number) => void
}

const BATCHES_IN_ONE = 4
/** Batches under way beyond those that the threads work on. */
const BATCHES_AHEAD = 2
/** Ranges are merged up to this, so that what is found to differ is still in the page cache when it is read again. */
const RANGE_BYTES_MAX = 32 * 1024 * 1024

/**
 * What of a disk is not as the previous point has it: a feed of our own, where there is none. Everything is read and hashed, but in the
 * chunks that the previous point has: so nothing has to be cut that did not change. Holes are compared by metadata alone, however large they are.
 * @yields ranges to read, sorted and apart; they begin and end where chunks of the previous point or holes do
 * @throws as the source does
 */
export async function* differences(comparison: Comparison): AsyncGenerator<ByteRange, void, undefined> {
  const { crew, onRead, sizeBytes } = comparison
  const idle: SharedArrayBuffer[] = []
  const compared = inOrder(batchesOf(comparison), crew.size + BATCHES_AHEAD, async (batch) => ({
    batch,
    ranges: await compareBatch(batch, comparison, idle),
  }))
  let merged: ByteRange | undefined
  for await (const { batch, ranges } of compared) {
    const last = batch.at(-1)
    if (last !== undefined) onRead(last.offset + last.length)
    for (const range of ranges) {
      const end = merged === undefined ? -1 : merged.offset + merged.length
      if (merged !== undefined && end === range.offset && merged.length < RANGE_BYTES_MAX)
        merged = { offset: merged.offset, length: merged.length + range.length }
      else {
        if (merged !== undefined) yield merged
        merged = range
      }
    }
  }
  if (merged !== undefined) yield merged
  onRead(sizeBytes)
}

/** Parts in order, with holes in between: small ones share a trip to the threads. What cannot be compared is a batch by itself. */
type CompareBatch = readonly BasePart[]

async function* batchesOf(comparison: Comparison): AsyncGenerator<CompareBatch, void, undefined> {
  const { base, source, sizeBytes, batchBytes, chunkSize } = comparison
  // No batch takes memory where threads read: with fewer of them, less is said to threads.
  const bytesMax = source.descriptor === undefined ? batchBytes : batchBytes * BATCHES_IN_ONE
  const holes = new Holes(comparison)
  let directories = new Map<number, PackDirectory>()
  let parts: BasePart[] = []
  let bytes = 0
  for (let at = 0; at < sizeBytes; ) {
    const { offset, end } = await holes.leave(at)
    at = offset
    const limit = Math.min(at + bytesMax, end)
    await base.prepare(at, limit, directories)
    for (const found of base.partsIn(at, sizeBytes, chunkSize, directories)) {
      if (found.offset >= limit) break
      // A chunk is compared whole, also where it reaches into a hole.
      const isWhole = found.kind === 'chunk' || found.kind === 'mixed'
      const part = isWhole ? found : { ...found, length: Math.min(found.length, end - at) }
      if (parts.length > 0 && (part.kind === 'none' || bytes + part.length > bytesMax)) {
        yield parts
        parts = []
        bytes = 0
        directories = new Map()
      }
      at += part.length
      if (part.kind === 'none') yield [part]
      else {
        parts.push(part)
        bytes += part.length
      }
    }
  }
  if (parts.length > 0) yield parts
}

/** Holes of the source, gone through in order. */
class Holes {
  readonly #comparison: Comparison
  readonly #following: Iterator<ByteRange>
  #next: ByteRange | undefined

  constructor(comparison: Comparison) {
    this.#comparison = comparison
    this.#following = comparison.holes[Symbol.iterator]()
    this.#advance()
  }

  /**
   * Says what was cleared of the hole that `at` is in, if it is in one.
   * @returns what is to be compared next: up to a hole, or a chunk that reaches out of one
   */
  async leave(at: number): Promise<{ readonly offset: number; readonly end: number }> {
    const { base, sizeBytes, onCleared } = this.#comparison
    for (let offset = at; ; ) {
      while (this.#next !== undefined && this.#next.offset + this.#next.length <= offset) this.#advance()
      const hole = this.#next
      if (hole === undefined || offset >= sizeBytes) return { offset, end: sizeBytes }
      if (hole.offset > offset) return { offset, end: Math.min(hole.offset, sizeBytes) }
      const holeEnd = Math.min(hole.offset + hole.length, sizeBytes)
      const end = await base.chunkAcross(offset, holeEnd)
      for (const part of base.zerosIn(offset, end)) if (!part.same) onCleared(part)
      if (end < holeEnd) return { offset: end, end: holeEnd }
      offset = holeEnd
    }
  }

  #advance(): void {
    const step = this.#following.next()
    this.#next = step.done === true ? undefined : step.value
  }
}

async function compareBatch(
  parts: CompareBatch,
  comparison: Comparison,
  idle: SharedArrayBuffer[],
): Promise<readonly ByteRange[]> {
  if (parts[0]?.kind === 'none') return parts
  const expectation = await expectationOf(parts, comparison.base)
  const same =
    (await compareOnThreads(parts, expectation, comparison)) ??
    (await compareAsRead(parts, expectation, comparison, idle))
  return parts.filter((_, i) => same[i] !== 1)
}

type Expectation = Omit<CompareJob, 'from'>

/** What each part has to be, if it did not change. */
async function expectationOf(parts: readonly BasePart[], base: BaseDisk): Promise<Expectation> {
  const expected = new Uint8Array(parts.length).fill(EXPECTS_HASH)
  const hashes = new Uint8Array(parts.length * SHA256_BYTES)
  for (const [i, part] of parts.entries()) {
    if (part.kind === 'zeros') expected[i] = EXPECTS_ZEROS
    else if (part.kind === 'chunk') hashes.set(hashIn(part.directory, part.chunk), i * SHA256_BYTES)
    else {
      const hash = await base.hashOf(part.offset, part.length)
      if (hash === undefined) expected[i] = EXPECTS_NOTHING
      else hashes.set(hash, i * SHA256_BYTES)
    }
  }
  return { lengths: Uint32Array.from(parts, (part) => part.length), expected, hashes }
}

/** Threads read what they hash, so that the bytes are in their cache. @returns undefined where they cannot, or could not */
async function compareOnThreads(
  parts: CompareBatch,
  expectation: Expectation,
  { source: { descriptor }, crew }: Comparison,
): Promise<Uint8Array | undefined> {
  if (descriptor === undefined) return undefined
  const offsets = Float64Array.from(parts, (part) => part.offset)
  return (await crew.compare({ ...expectation, from: { descriptor, offsets } })).same
}

/** @throws as the source does */
async function compareAsRead(
  parts: CompareBatch,
  expectation: Expectation,
  { source, crew, batchBytes }: Comparison,
  idle: SharedArrayBuffer[],
): Promise<Uint8Array> {
  const length = bytesIn(parts)
  const large = length > batchBytes
  const buffer = (large ? undefined : idle.pop()) ?? new SharedArrayBuffer(Math.max(length, batchBytes))
  let used = 0
  for (const range of joined(parts)) {
    await source.read(new Uint8Array(buffer, used, range.length), range.offset)
    used += range.length
  }
  const { plain, same } = await crew.compare({ ...expectation, from: { plain: buffer } })
  if (plain instanceof SharedArrayBuffer && !large) idle.push(plain)
  if (same === undefined) throw new Error('bytes in memory can always be compared')
  return same
}

/** What lies one after the other is one range. */
function* joined(parts: CompareBatch): Generator<ByteRange, void, undefined> {
  let open: { offset: number; length: number } | undefined
  for (const { offset, length } of parts) {
    if (open !== undefined && open.offset + open.length === offset) open.length += length
    else {
      if (open !== undefined) yield open
      open = { offset, length }
    }
  }
  if (open !== undefined) yield open
}

function hashIn({ hashes }: PackDirectory, chunk: number): Uint8Array {
  return hashes.subarray(chunk * SHA256_BYTES, (chunk + 1) * SHA256_BYTES)
}
