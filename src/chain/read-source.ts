import type { DiskSource } from '../feed/disk-source.js'
import type { Ingest, IngestDisk } from './ingest.js'

/** Called as bytes are done, of how many in all. */
export type Progress = (doneBytes: number, totalBytes: number) => void

/** Pieces of a batch at most: each makes at least one chunk, and all chunks of a batch go into one pack. */
const BATCH_PIECES_MAX = 16 * 1024

interface Range {
  readonly offset: number
  readonly length: number
}

/**
 * Reads ranges (sorted, apart) of a source, batch by batch, into the ingest.
 * @returns bytes read
 */
export async function feedDisk(
  ingest: Ingest,
  disk: IngestDisk,
  source: DiskSource,
  ranges: readonly Range[],
  chunkSize: number,
  onRead: (doneBytes: number) => void,
): Promise<number> {
  return disk.contentDefined
    ? feedByContent(ingest, disk, source, ranges, onRead)
    : feedOnGrid(ingest, disk, source, ranges, chunkSize, onRead)
}

/** Fills batches with as many pieces as fit; a piece ends on the disk's grid, so that no chunk is split between two. */
async function feedOnGrid(
  ingest: Ingest,
  disk: IngestDisk,
  source: DiskSource,
  ranges: readonly Range[],
  chunkSize: number,
  onRead: (doneBytes: number) => void,
): Promise<number> {
  let plain = ingest.takeBuffer()
  let pieces: Range[] = []
  let used = 0
  let total = 0
  const flush = async (): Promise<void> => {
    if (pieces.length === 0) return
    await ingest.submit({ disk, plain, pieces, final: true })
    plain = ingest.takeBuffer()
    pieces = []
    used = 0
    onRead(total)
  }
  for (const range of ranges) {
    const end = range.offset + range.length
    for (let at = range.offset; at < end; ) {
      const room = plain.byteLength - used
      const reach = at + room
      const stop = reach >= end ? end : reach - (reach % chunkSize)
      if (stop <= at || pieces.length === BATCH_PIECES_MAX) {
        await flush()
        continue
      }
      const length = stop - at
      await source.read(new Uint8Array(plain, used, length), at)
      pieces.push({ offset: at, length })
      used += length
      total += length
      at = stop
    }
  }
  await flush()
  return total
}

/** One batch is one piece; it begins with the tail in which the batch before found no boundary. */
async function feedByContent(
  ingest: Ingest,
  disk: IngestDisk,
  source: DiskSource,
  ranges: readonly Range[],
  onRead: (doneBytes: number) => void,
): Promise<number> {
  let total = 0
  for (const range of ranges) {
    const end = range.offset + range.length
    let tail: Uint8Array = new Uint8Array(0)
    for (let at = range.offset; at < end; ) {
      const plain = ingest.takeBuffer()
      const bytes = new Uint8Array(plain)
      bytes.set(tail)
      const length = Math.min(bytes.length - tail.length, end - at)
      await source.read(bytes.subarray(tail.length, tail.length + length), at)
      const pieces = [{ offset: at - tail.length, length: tail.length + length }]
      at += length
      total += length
      tail = await ingest.submit({ disk, plain, pieces, final: at === end })
      onRead(total)
    }
  }
  return total
}
