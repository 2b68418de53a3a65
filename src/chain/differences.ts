import type { ByteRange } from '../byte-range.js'
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
  readonly onRead: (doneBytes: number) => void
}

const BATCHES_IN_ONE = 4
/** Batches under way beyond those that the threads work on. */
const BATCHES_AHEAD = 2
/** Ranges are merged up to this, so that what is found to differ is still in the page cache when it is read again. */
const RANGE_BYTES_MAX = 32 * 1024 * 1024

/**
 * What of a disk is not as the previous point has it: a feed of our own, where there is none. Everything is read and hashed, but in the
 * chunks that the previous point has: so nothing has to be cut that did not change.
 * @yields ranges, sorted and apart; they begin and end where chunks of the previous point do
 * @throws as the source does
 */
export async function* differences(comparison: Comparison): AsyncGenerator<ByteRange, void, undefined> {
  const { crew, onRead } = comparison
  const idle: SharedArrayBuffer[] = []
  const compared = inOrder(batchesOf(comparison), crew.size + BATCHES_AHEAD, async (batch) => ({
    batch,
    ranges: await compareBatch(batch, comparison, idle),
  }))
  let merged: ByteRange | undefined
  for await (const { batch, ranges } of compared) {
    onRead(batch.offset + batch.length)
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
}

/** Parts that lie one after the other. */
interface CompareBatch extends ByteRange {
  readonly parts: readonly BasePart[]
  /** Zeros in the previous point, and a hole in the source: nothing changed. */
  readonly isHole: boolean
}

async function* batchesOf({
  base,
  source,
  sizeBytes,
  holes,
  batchBytes,
  chunkSize,
}: Comparison): AsyncGenerator<CompareBatch, void, undefined> {
  // No batch takes memory where threads read: with fewer of them, less is said to threads.
  const bytes = source.descriptor === undefined ? batchBytes : batchBytes * BATCHES_IN_ONE
  const isInHole = holeTest(holes)
  for (let at = 0; at < sizeBytes; ) {
    const limit = Math.min(at + bytes, sizeBytes)
    const directories = new Map<number, PackDirectory>()
    await base.prepare(at, limit, directories)
    const parts: BasePart[] = []
    let end = at
    let isHole = false
    for (const part of base.partsIn(at, sizeBytes, chunkSize, directories)) {
      const isKnown = part.kind === 'zeros' && isInHole(part)
      // What cannot be compared, and what need not be, is a batch by itself: it is not read here.
      if (parts.length > 0 && (end + part.length > limit || part.kind === 'none' || isKnown !== isHole)) break
      isHole = isKnown
      parts.push(part)
      end += part.length
      if (part.kind === 'none') break
    }
    yield { offset: at, length: end - at, parts, isHole }
    at = end
  }
}

/** @returns whether a range is in a hole; to be asked in order */
function holeTest(holes: Iterable<ByteRange>): (range: ByteRange) => boolean {
  const following = holes[Symbol.iterator]()
  let step = following.next()
  return ({ offset, length }) => {
    while (step.done !== true && step.value.offset + step.value.length <= offset) step = following.next()
    if (step.done === true) return false
    const hole = step.value
    return hole.offset <= offset && offset + length <= hole.offset + hole.length
  }
}

async function compareBatch(
  batch: CompareBatch,
  comparison: Comparison,
  idle: SharedArrayBuffer[],
): Promise<readonly ByteRange[]> {
  const { offset, length, parts, isHole } = batch
  if (isHole) return []
  if (parts[0]?.kind === 'none') return [{ offset, length }]
  const expectation = await expectationOf(parts, comparison.base)
  const same =
    (await compareOnThreads(batch, expectation, comparison)) ??
    (await compareAsRead(batch, expectation, comparison, idle))
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
  { offset }: CompareBatch,
  expectation: Expectation,
  { source: { descriptor }, crew }: Comparison,
): Promise<Uint8Array | undefined> {
  if (descriptor === undefined) return undefined
  return (await crew.compare({ ...expectation, from: { descriptor, offset } })).same
}

/** @throws as the source does */
async function compareAsRead(
  { offset, length }: CompareBatch,
  expectation: Expectation,
  { source, crew, batchBytes }: Comparison,
  idle: SharedArrayBuffer[],
): Promise<Uint8Array> {
  const large = length > batchBytes
  const buffer = (large ? undefined : idle.pop()) ?? new SharedArrayBuffer(Math.max(length, batchBytes))
  await source.read(new Uint8Array(buffer, 0, length), offset)
  const { plain, same } = await crew.compare({ ...expectation, from: { plain: buffer } })
  if (plain instanceof SharedArrayBuffer && !large) idle.push(plain)
  if (same === undefined) throw new Error('bytes in memory can always be compared')
  return same
}

function hashIn({ hashes }: PackDirectory, chunk: number): Uint8Array {
  return hashes.subarray(chunk * SHA256_BYTES, (chunk + 1) * SHA256_BYTES)
}
