import type { ChainHead } from '../chain/chains.js'
import { type ExtentList, ZEROS } from '../chain/extent-list.js'
import type { Repository } from '../chain/repository.js'
import { copyBytes } from '../copy-bytes.js'
import { EverfoldError, isEverfoldError } from '../errors.js'
import { planTasks } from '../pack/chunk-reader.js'
import { chunkAt, frameOfChunk, type PackDirectory } from '../pack/pack-format.js'
import type { FramePart } from '../pack/quick-reads.js'
import type { Place } from '../pack/read-room.js'
import { bytesIn, type FrameCache, frameCacheOf } from './disk-reader-frames.js'
import { type DiskPlan, planDisk } from './plan.js'

/** Plain bytes that a stream reads ahead of its consumer, */
export const READ_AHEAD_BYTES = 4 * 1024 * 1024
/** and parts, however small they are. */
export const READ_AHEAD_PARTS_MAX = 32
/** Zeros come in pieces of this size, all of them the same memory. */
const NOTHING = new Uint8Array(1024 * 1024)

/** Bytes that are lent. */
export interface LentBytes {
  /** Shared memory: not to be changed, nor used any more once it was released. */
  readonly bytes: Uint8Array
  /** Once. */
  readonly release: () => void
}

/** Consecutive bytes of the disk: zeros, or bytes of one frame. */
interface Part {
  readonly offset: number
  readonly length: number
  /** Absent: zeros. */
  readonly source?: Source
}

type Source = Omit<FramePart, 'length'>

const nothingToRelease = (): void => undefined

/**
 * Reads a disk as it was at a point, anywhere, in any order, by any number of callers at once. What it gives was checked against
 * its hash. Garbage collection leaves alone what it needs until it is closed.
 */
export class DiskReader {
  readonly plan: DiskPlan
  readonly #repository: Repository
  readonly #frames: FrameCache

  private constructor(repository: Repository, plan: DiskPlan) {
    this.#repository = repository
    this.#frames = frameCacheOf(repository)
    this.#frames.enter()
    this.plan = plan
  }

  /**
   * Reads runs, no packs.
   * @param head  Got from the chains in this very turn: only then is it certain that its runs are still there.
   * @param index  the point's place in the chain
   * @throws DISK_UNKNOWN, CHAIN_DAMAGED, DATA_DAMAGED, OBJECT_NOT_FOUND, STORE_FAILED
   */
  static async open(
    repository: Repository,
    head: ChainHead,
    index: number,
    diskId: string,
  ): Promise<DiskReader> {
    return new DiskReader(repository, await planDisk(repository, head.state, index, diskId))
  }

  get sizeBytes(): number {
    return this.plan.sizeBytes
  }

  /** Cover the disk from 0 to its size without a gap. */
  get extents(): ExtentList {
    return this.plan.extents
  }

  /** Lets go of what it pinned. Once. Reads that are under way may fail. */
  close(): void {
    this.plan.pins.end()
    this.#frames.leave()
  }

  /**
   * Exactly `length` bytes from byte `offset` on: the caller's own. For small reads: all of it is in memory at once.
   * @throws RangeError beyond the end of the disk; DATA_DAMAGED naming what is lost; STORE_FAILED
   */
  async read(offset: number, length: number): Promise<Uint8Array> {
    this.#checkRange(offset, length)
    let out: Uint8Array | undefined
    const reading: Promise<void>[] = []
    for await (const part of this.#parts(offset, length)) {
      // Most small reads lie in one frame: what is loaded for them is theirs.
      if (part.length === length && part.source !== undefined) return this.#load(part, true)
      const into = (out ??= new Uint8Array(length))
      if (part.source === undefined) continue
      const copied = this.#load(part).then((bytes) => {
        copyBytes(into, part.offset - offset, bytes)
      })
      // Whoever waits for all of them hears of it.
      copied.catch(() => undefined)
      reading.push(copied)
    }
    await Promise.all(reading)
    return out ?? new Uint8Array(length)
  }

  /**
   * As {@link read}, in memory that is lent: for many small reads, which then leave no garbage, and of which those that come together
   * go to a thread together.
   * @throws as {@link read}
   */
  async lend(offset: number, length: number): Promise<LentBytes> {
    this.#checkRange(offset, length)
    const parts = this.#partsAtHand(offset, length)
    if (parts?.every((part) => part.source === undefined) === true && length <= NOTHING.length)
      return { bytes: NOTHING.subarray(0, length), release: nothingToRelease }
    const place = parts && this.#repository.quickReads.take(length)
    if (parts === undefined || place === undefined)
      return { bytes: await this.read(offset, length), release: nothingToRelease }
    try {
      const [part] = parts
      if (part !== undefined && parts.length === 1) await this.#fill(part, place, 0)
      else await this.#fillAll(parts, place, offset)
      return place
    } catch (error) {
      // Only now: threads have written to it until here.
      place.release()
      throw error
    }
  }

  /** Rejects when nothing is written to the place any more. @throws as {@link read} */
  async #fillAll(parts: readonly Part[], place: Place, origin: number): Promise<void> {
    const filling = parts.map((part) => this.#fill(part, place, part.offset - origin))
    const failed = (await Promise.allSettled(filling)).find((result) => result.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }

  /** Puts a part to byte `at` of a place. @throws as {@link read} */
  async #fill(part: Part, { bytes, offset }: Place, at: number): Promise<void> {
    const { source, length } = part
    if (source === undefined) bytes.fill(0, at, at + length)
    else if (this.#frames.wantsWhole(source.directory, source.frame, source.position, length))
      copyBytes(bytes, at, await this.#loadFrom(part, source))
    else {
      this.#frames.missed()
      if (!(await this.#repository.quickReads.read({ ...source, length }, offset + at)))
        copyBytes(bytes, at, await this.#loadAlone(part, source))
    }
  }

  /**
   * The bytes from `offset` on, in the order of the disk, read ahead of whoever takes them by a bounded amount. What it yields is
   * shared memory: not to be changed, nor handed over to a thread.
   * @throws RangeError beyond the end of the disk; DATA_DAMAGED before the first byte that is lost; STORE_FAILED;
   *         the signal's reason
   */
  async *stream(offset: number, length: number, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    this.#checkRange(offset, length)
    const parts = this.#parts(offset, length)
    const queue: { readonly bytes: Promise<Uint8Array>; readonly length: number }[] = []
    let ahead = 0
    let exhausted = false
    for (;;) {
      while (!exhausted && ahead < READ_AHEAD_BYTES && queue.length < READ_AHEAD_PARTS_MAX) {
        const next = await parts.next()
        if (next.done === true) {
          exhausted = true
          break
        }
        const bytes = this.#load(next.value)
        // It is waited for when its turn comes.
        bytes.catch(() => undefined)
        queue.push({ bytes, length: next.value.length })
        ahead += next.value.length
      }
      signal?.throwIfAborted()
      const first = queue.shift()
      if (first === undefined) return
      ahead -= first.length
      yield await first.bytes
    }
  }

  #checkRange(offset: number, length: number): void {
    const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length)
    if (!whole || offset < 0 || length < 0 || offset + length > this.sizeBytes)
      throw new RangeError(`no bytes ${offset}+${length} on a disk of ${this.sizeBytes}`)
  }

  /** @throws DATA_DAMAGED, STORE_FAILED */
  async *#parts(offset: number, length: number): AsyncGenerator<Part, void, undefined> {
    const list = this.extents
    const end = offset + length
    for (let i = list.indexAt(offset); i < list.length && list.startOf(i) < end; i++) {
      const from = Math.max(offset, list.startOf(i))
      const to = Math.min(end, list.endOf(i))
      const pack = list.pack[i] ?? ZEROS
      if (pack === ZEROS) yield* partsOfZeros(from, to)
      else {
        const directory = await this.#directory(list.packs.idOf(pack), from, to - from)
        yield* this.#partsOf(i, directory, from, to)
      }
    }
  }

  /** All of them, if all directories are in memory. */
  #partsAtHand(offset: number, length: number): Part[] | undefined {
    const list = this.extents
    const end = offset + length
    const parts: Part[] = []
    for (let i = list.indexAt(offset); i < list.length && list.startOf(i) < end; i++) {
      const from = Math.max(offset, list.startOf(i))
      const to = Math.min(end, list.endOf(i))
      const pack = list.pack[i] ?? ZEROS
      const directory = pack === ZEROS ? undefined : this.#repository.catalog.cached(list.packs.idOf(pack))
      if (pack !== ZEROS && directory === undefined) return undefined
      for (const part of directory === undefined
        ? partsOfZeros(from, to)
        : this.#partsOf(i, directory, from, to))
        parts.push(part)
    }
    return parts
  }

  /** Bytes `from` to before `to` of the disk, all of extent number `i`. @throws DATA_DAMAGED */
  *#partsOf(i: number, directory: PackDirectory, from: number, to: number): Generator<Part> {
    const list = this.extents
    const origin =
      (directory.chunkStart[list.chunk[i] ?? 0] ?? Infinity) + (list.skip[i] ?? 0) - list.startOf(i)
    const available = directory.chunkStart[directory.chunkCount] ?? 0
    if (!(origin + to <= available)) throw this.#lost(from, to - from)
    while (from < to) {
      const position = origin + from
      const chunk = chunkAt(directory, position)
      const frame = frameOfChunk(directory, chunk)
      const frameEnd = directory.chunkStart[directory.frameFirst[frame + 1] ?? 0] ?? available
      const size = Math.min(to - from, frameEnd - position)
      yield { offset: from, length: size, source: { directory, frame, chunk, position } }
      from += size
    }
  }

  async #directory(packId: string, offset: number, length: number): Promise<PackDirectory> {
    try {
      return await this.#repository.catalog.directory(packId)
    } catch (error) {
      if (isEverfoldError(error, 'OBJECT_NOT_FOUND', 'DATA_DAMAGED')) throw this.#lost(offset, length, error)
      throw error
    }
  }

  /** @param own  it must be nobody else's */
  async #load(part: Part, own = false): Promise<Uint8Array> {
    const { source, length } = part
    if (source === undefined) return NOTHING.subarray(0, length)
    if (!this.#frames.wantsWhole(source.directory, source.frame, source.position, length))
      return this.#frames.alone(() => this.#loadAlone(part, source))
    const bytes = await this.#loadFrom(part, source)
    // A small part is copied, so that it does not hold the memory of the whole frame.
    return own || bytes.length * 2 < bytes.buffer.byteLength ? bytes.slice() : bytes
  }

  /** From its frame, all of which is decoded: a view of it. */
  async #loadFrom(part: Part, source: Source): Promise<Uint8Array> {
    const { directory, frame, chunk, position } = source
    const decoded = await this.#frames.frame(directory, frame)
    const bytes = decoded && bytesIn(decoded, directory, chunk, position, part.length)
    return bytes ?? this.#loadAlone(part, source)
  }

  /** Reads just the chunks that are wanted, from whichever generation has them. */
  async #loadAlone({ offset, length }: Part, { directory, position }: Source): Promise<Uint8Array> {
    const out = new Uint8Array(length)
    for (const task of planTasks([{ directory, position, length, target: 0 }])) {
      try {
        const { plain, damaged } = await this.#repository.reader.run(task)
        if (damaged.length > 0) throw this.#lost(offset, length)
        for (const piece of task.pieces)
          copyBytes(out, piece.target, plain.subarray(piece.from, piece.from + piece.length))
      } catch (error) {
        if (isEverfoldError(error, 'OBJECT_NOT_FOUND')) throw this.#lost(offset, length, error)
        if (isEverfoldError(error, 'DATA_DAMAGED') && error.details['disk'] === undefined)
          throw this.#lost(offset, length, error)
        throw error
      }
    }
    return out
  }

  #lost(offset: number, length: number, cause?: unknown): EverfoldError {
    const { machine, point, disk } = this.plan
    return new EverfoldError(
      'DATA_DAMAGED',
      `Point ${point} of "${machine}": some of the ${length} bytes from byte ${offset} of disk "${disk}" on are damaged in the repository. ` +
        'Other points may be whole: run everfold verify to see.',
      { cause, details: { machine, point, disk, lost: [{ machine, point, disk, offset, length }] } },
    )
  }
}

function* partsOfZeros(from: number, to: number): Generator<Part> {
  for (; from < to; from += NOTHING.length)
    yield { offset: from, length: Math.min(to - from, NOTHING.length) }
}
