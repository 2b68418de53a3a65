import type { ByteRange } from '../byte-range.js'
import { settleAll } from '../settle-all.js'

/** Where plain bytes are read from. */
export interface ByteSource {
  /** Fills all of `into` from `offset` on. */
  read(into: Uint8Array, offset: number): Promise<void>
  /** Of a file that holds just these bytes: threads may read from it themselves. */
  readonly descriptor?: number
}

/** Plain bytes of one disk, handed over for good. */
export interface PlainBatch<Disk> {
  readonly disk: Disk
  readonly plain: ArrayBufferLike
  /** Where the first piece begins in `plain`: 0, unless it says so. */
  readonly start?: number
  /** Pieces lie one after the other. Offsets on the disk and lengths, in bytes. */
  readonly pieces: readonly { readonly offset: number; readonly length: number }[]
  /** The last piece ends here. Else, where it is cut by content, it goes on in the next batch. */
  readonly final: boolean
  /** The pieces are not in `plain` yet: they are to be read from here. */
  readonly unread?: ByteSource
}

/** Where batches go. Their buffers come from here as well, all of one size: twice that of a chunk, at least. */
export interface BatchSink<Disk> {
  /** Are batches taken whose pieces are not read yet? */
  readonly reads?: boolean
  takeBuffer(): ArrayBufferLike
  /**
   * Takes a batch over, once there is room for it.
   * @returns for a disk that is cut by content, the tail in which no boundary was found yet: the next batch begins with it
   */
  submit(batch: PlainBatch<Disk>): Promise<Uint8Array>
}

/** Pieces of a batch at most: each makes at least one chunk, and all chunks of a batch go into one pack. */
const BATCH_PIECES_MAX = 16 * 1024

/**
 * Reads ranges (sorted, apart) of a source, batch by batch, into the sink.
 * @returns bytes read
 */
export async function fillBatches<Disk extends { readonly contentDefined: boolean }>(
  sink: BatchSink<Disk>,
  disk: Disk,
  source: ByteSource,
  ranges: Iterable<ByteRange> | AsyncIterable<ByteRange>,
  chunkSize: number,
  onRead: (doneBytes: number) => void,
): Promise<number> {
  return disk.contentDefined
    ? fillByContent(sink, disk, source, ranges, chunkSize, onRead)
    : fillOnGrid(sink, disk, source, ranges, chunkSize, onRead)
}

/** Fills batches with as many pieces as fit; a piece ends on the disk's grid, so that no chunk is split between two. */
async function fillOnGrid<Disk>(
  sink: BatchSink<Disk>,
  disk: Disk,
  source: ByteSource,
  ranges: Iterable<ByteRange> | AsyncIterable<ByteRange>,
  chunkSize: number,
  onRead: (doneBytes: number) => void,
): Promise<number> {
  let plain = sink.takeBuffer()
  let pieces: ByteRange[] = []
  let used = 0
  let total = 0
  const flush = async (): Promise<void> => {
    if (pieces.length === 0) return
    await sink.submit({ disk, plain, pieces, final: true })
    plain = sink.takeBuffer()
    pieces = []
    used = 0
    onRead(total)
  }
  for await (const range of ranges) {
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
async function fillByContent<Disk>(
  sink: BatchSink<Disk>,
  disk: Disk,
  source: ByteSource,
  ranges: Iterable<ByteRange> | AsyncIterable<ByteRange>,
  chunkSize: number,
  onRead: (doneBytes: number) => void,
): Promise<number> {
  let plain = sink.takeBuffer()
  let start = 0
  let pieces: ByteRange[] = []
  let end = 0
  let total = 0
  // What is scattered costs more to read piece by piece, and to hand over, than to hash.
  const mayWait = sink.reads === true && source.descriptor !== undefined
  let waits = mayWait
  const submit = async (final: boolean): Promise<Uint8Array> => {
    const batch = { disk, plain, start, pieces, final, ...(waits && { unread: source }) }
    pieces = []
    return sink.submit(batch)
  }
  const finish = async (): Promise<void> => {
    if (pieces.length === 0) return
    await submit(true)
    onRead(total)
    plain = sink.takeBuffer()
    start = 0
    end = 0
    waits = mayWait
  }
  for await (const range of ranges) {
    const rangeEnd = range.offset + range.length
    // A piece that is not the whole range takes at least a chunk, so that there is something to cut.
    const fits = plain.byteLength - end >= Math.min(range.length, waits ? plain.byteLength : chunkSize)
    if (!fits || pieces.length === BATCH_PIECES_MAX) await finish()
    const length = Math.min(plain.byteLength - end, range.length)
    // One that goes on in the next batch is read here: while the threads look for the boundaries.
    waits &&= length === range.length
    if (!waits) await source.read(new Uint8Array(plain, end, length), range.offset)
    pieces.push({ offset: range.offset, length })
    end += length
    total += length
    for (let at = range.offset + length; at < rangeEnd; ) {
      // It is read while the threads look for the last boundary before it: the tail goes in front of it, into the room that is left there.
      const next = sink.takeBuffer()
      const length = Math.min(next.byteLength - chunkSize, rangeEnd - at)
      const [tail = NO_BYTES] = await settleAll<Uint8Array | undefined>([
        submit(false),
        source.read(new Uint8Array(next, chunkSize, length), at).then(() => undefined),
      ])
      plain = next
      start = chunkSize - tail.length
      new Uint8Array(plain, start).set(tail)
      pieces.push({ offset: at - tail.length, length: tail.length + length })
      end = chunkSize + length
      at += length
      onRead(total)
      total += length
    }
  }
  await finish()
  return total
}

const NO_BYTES = new Uint8Array(0)
