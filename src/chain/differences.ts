import type { ByteRange } from '../byte-range.js'
import type { ByteSource } from '../chunker/fill-batches.js'
import { inOrder } from '../in-order.js'
import type { Crew } from '../pack/crew.js'
import type { PackDirectory } from '../pack/pack-format.js'
import type { BaseDisk, BasePart } from './base-disk.js'

export interface Comparison {
  readonly base: BaseDisk
  readonly source: ByteSource
  readonly sizeBytes: number
  readonly crew: Crew
  /** Read and hashed at once; at least a chunk. */
  readonly batchBytes: number
  /** Zeros are compared by so many bytes. */
  readonly chunkSize: number
  readonly onRead: (doneBytes: number) => void
}

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
}

async function* batchesOf({
  base,
  sizeBytes,
  batchBytes,
  chunkSize,
}: Comparison): AsyncGenerator<CompareBatch, void, undefined> {
  for (let at = 0; at < sizeBytes; ) {
    const limit = Math.min(at + batchBytes, sizeBytes)
    const directories = new Map<number, PackDirectory>()
    await base.prepare(at, limit, directories)
    const parts: BasePart[] = []
    let end = at
    for (const part of base.partsIn(at, sizeBytes, chunkSize, directories)) {
      // What cannot be compared is a batch by itself: it is not read here.
      if (parts.length > 0 && (end + part.length > limit || part.kind === 'none')) break
      parts.push(part)
      end += part.length
      if (part.kind === 'none') break
    }
    yield { offset: at, length: end - at, parts }
    at = end
  }
}

async function compareBatch(
  { offset, length, parts }: CompareBatch,
  { base, source, crew, batchBytes }: Comparison,
  idle: SharedArrayBuffer[],
): Promise<readonly ByteRange[]> {
  if (parts[0]?.kind === 'none') return [{ offset, length }]
  const buffer = idle.pop() ?? new SharedArrayBuffer(batchBytes)
  await source.read(new Uint8Array(buffer, 0, length), offset)
  const lengths = Uint32Array.from(parts, (part) => part.length)
  const result = await crew.hash({ plain: buffer, lengths })
  if (result.plain instanceof SharedArrayBuffer) idle.push(result.plain)
  const different: ByteRange[] = []
  for (const [i, part] of parts.entries()) if (!(await base.isSame(part, result, i))) different.push(part)
  return different
}
