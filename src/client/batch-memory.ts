import type { StreamRecord } from './framed-stream.js'
import type { Workers } from './workers.js'

/** Of a room for stored bytes: what is used by less is copied, so that it holds no memory for nothing. */
const USED_SHARE_MIN = 1 / 4

/**
 * Memory for batches and for what they are compressed to, used again and again for all disks of a backup: where it is shared with threads, the
 * garbage collector does not know how much there is.
 */
export class BatchMemory {
  readonly #workers: Workers
  readonly #bufferBytes: number
  readonly #roomBytes: number
  readonly #buffers: ArrayBufferLike[] = []
  readonly #rooms: SharedArrayBuffer[] = []

  /** @param bufferBytes  of a batch */
  constructor(workers: Workers, bufferBytes: number) {
    this.#workers = workers
    this.#bufferBytes = bufferBytes
    // A frame that does not shrink grows by a 256th before that is seen (zstd.h, ZSTD_COMPRESSBOUND).
    this.#roomBytes = bufferBytes + bufferBytes / 128 + 65_536
  }

  takeBuffer(): ArrayBufferLike {
    return (
      this.#buffers.pop() ?? this.#workers.allocate?.(this.#bufferBytes) ?? new ArrayBuffer(this.#bufferBytes)
    )
  }

  /** For what a batch is compressed to; undefined where threads have their own. Pages of it that were never written take no memory. */
  takeRoom(): SharedArrayBuffer | undefined {
    return this.#rooms.pop() ?? this.#workers.allocate?.(this.#roomBytes)
  }

  /** Takes memory back that is no longer needed. A browser's page knows no shared memory, unless it is isolated from all other origins. */
  giveBack(memory: ArrayBufferLike | undefined): void {
    if (memory?.byteLength === this.#bufferBytes) this.#buffers.push(memory)
    else if (memory?.byteLength === this.#roomBytes && memory instanceof SharedArrayBuffer)
      this.#rooms.push(memory)
  }

  /**
   * @param room         what was lent for these frames
   * @param storedBytes  of all of them
   * @returns the frames, and what of the memory they lie in: to be given back when they are no longer needed
   */
  compacted(
    records: readonly StreamRecord[],
    room: SharedArrayBuffer | undefined,
    storedBytes: number,
  ): { readonly records: readonly StreamRecord[]; readonly held: SharedArrayBuffer | undefined } {
    if (room === undefined) return { records, held: undefined }
    // Back from a thread, it is another object of the same memory.
    const isInRoom = records.some(
      (record) => record.kind === 'chunks' && record.frame.stored.buffer instanceof SharedArrayBuffer,
    )
    if (isInRoom && storedBytes >= room.byteLength * USED_SHARE_MIN) return { records, held: room }
    const own = isInRoom ? records.map(withOwnBytes) : records
    this.giveBack(room)
    return { records: own, held: undefined }
  }
}

function withOwnBytes(record: StreamRecord): StreamRecord {
  if (record.kind !== 'chunks') return record
  return { ...record, frame: { ...record.frame, stored: record.frame.stored.slice() } }
}
