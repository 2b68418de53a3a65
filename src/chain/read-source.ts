import type { DiskSource } from '../feed/disk-source.js'
import type { Batch, IngestDisk } from './ingest.js'

/** Called as bytes are done, of how many in all. */
export type Progress = (doneBytes: number, totalBytes: number) => void

/** Pieces of a batch at most: each makes at least one chunk, and all chunks of a batch go into one pack. */
const BATCH_PIECES_MAX = 16 * 1024

interface Range {
  readonly offset: number
  readonly length: number
}

/** Where batches go. Their buffers come from here as well, all of one size. */
export interface BatchSink {
  takeBuffer(): ArrayBuffer
  /** @returns what has to begin the next batch: see Ingest.submit */
  submit(batch: Batch): Promise<Uint8Array>
}

/**
 * Reads ranges (sorted, apart) of a source, batch by batch, into the ingest.
 * @returns bytes read
 */
export async function feedDisk(
  ingest: BatchSink,
  disk: IngestDisk,
  source: DiskSource,
  ranges: readonly Range[],
  chunkSize: number,
  onRead: (doneBytes: number) => void,
): Promise<number> {
  return disk.contentDefined
    ? feedByContent(ingest, disk, source, ranges, chunkSize, onRead)
    : feedOnGrid(ingest, disk, source, ranges, chunkSize, onRead)
}

/** Fills batches with as many pieces as fit; a piece ends on the disk's grid, so that no chunk is split between two. */
async function feedOnGrid(
  ingest: BatchSink,
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

/**
 * Fills batches with as many pieces as fit, so that scattered changes share frames and trips to the threads. A range that does
 * not fit goes on in the next batch, which begins with the tail in which no boundary was found yet.
 */
async function feedByContent(
  ingest: BatchSink,
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
  const flush = async (final: boolean): Promise<Uint8Array> => {
    const tail = await ingest.submit({ disk, plain, pieces, final })
    plain = ingest.takeBuffer()
    pieces = []
    used = 0
    onRead(total)
    return tail
  }
  for (const range of ranges) {
    const end = range.offset + range.length
    // A piece that is not the whole range takes at least a chunk, so that there is something to cut.
    const fits = plain.byteLength - used >= Math.min(range.length, chunkSize)
    if (used > 0 && (!fits || pieces.length === BATCH_PIECES_MAX)) await flush(true)
    let tail: Uint8Array = NO_BYTES
    for (let at = range.offset; at < end; ) {
      const bytes = new Uint8Array(plain, used)
      bytes.set(tail)
      const length = Math.min(bytes.length - tail.length, end - at)
      await source.read(bytes.subarray(tail.length, tail.length + length), at)
      pieces.push({ offset: at - tail.length, length: tail.length + length })
      used += tail.length + length
      at += length
      total += length
      tail = at < end ? await flush(false) : NO_BYTES
    }
  }
  if (used > 0) await flush(true)
  return total
}

const NO_BYTES = new Uint8Array(0)
