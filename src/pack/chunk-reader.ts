import { copyBytes } from '../copy-bytes.js'
import { isEverfoldError } from '../errors.js'
import { readAgainIfDamaged } from '../store/read-again.js'
import type { StoreReader } from '../store/store.js'
import { uncached } from '../store/uncached.js'
import type { PackCatalog } from './catalog.js'
import { CHUNK_GOOD, CHUNK_HASH_WRONG } from './chunk-state.js'
import type { Crew } from './crew.js'
import type { DecodeJob, DecodeResult } from './jobs.js'
import { chunkAt, frameOfChunk, isPresent, type PackDirectory } from './pack-format.js'

/** Plain bytes that one task gives back at most (or one chunk, if that is larger). */
export const TASK_PLAIN_MAX = 4 * 1024 * 1024
/** Bytes between two wanted frames that are read along rather than asked for separately. */
const HOLE_BYTES_MAX = 128 * 1024
/** Stored bytes, holes included, that one task reads at most (or one frame). */
export const TASK_STORED_MAX = 8 * 1024 * 1024

/** Plain bytes wanted from a pack: `length` from plain position `position` on (see PackDirectory.chunkStart). */
export interface Span {
  readonly directory: PackDirectory
  readonly position: number
  readonly length: number
  /** Where the reader wants them: an offset of its own choosing, such as that on the disk. */
  readonly target: number
}

/** Part of a task's plain bytes, and where it goes. */
export interface Piece {
  readonly from: number
  length: number
  readonly target: number
}

/** Neighbouring chunks of one pack that are read and decoded together. */
export interface ReadTask {
  readonly packId: string
  /** Ascending. */
  readonly chunks: readonly number[]
  readonly pieces: readonly Piece[]
  readonly plainBytes: number
}

export interface DamagedChunk {
  readonly packId: string
  readonly chunk: number
  /** Where it is in the task's plain bytes. */
  readonly from: number
  readonly length: number
  readonly reason: string
}

/** Memory that threads share, for one task at a time. */
export interface ReadMemory {
  readonly plain: Uint8Array
  /** For what is read from the store, if it is that small. */
  readonly stored: Uint8Array
}

export interface TaskResult {
  readonly plain: Uint8Array
  /** Chunks whose bytes are not to be trusted; zero in `plain`. */
  readonly damaged: readonly DamagedChunk[]
}

/** Groups spans into tasks: each pack's chunks in their stored order, each chunk once, however many spans want it. */
export function planTasks(spans: readonly Span[]): ReadTask[] {
  const ofPack = new Map<string, Span[]>()
  for (const span of spans) {
    const list = ofPack.get(span.directory.id)
    if (list === undefined) ofPack.set(span.directory.id, [span])
    else list.push(span)
  }
  const tasks: ReadTask[] = []
  for (const list of ofPack.values()) planPack(list, tasks)
  return tasks
}

/** Sweeps over the chunks of one pack; `open` are the spans that want the chunk at hand. */
function planPack(spans: Span[], tasks: ReadTask[]): void {
  spans.sort((a, b) => a.position - b.position)
  const directory = spans[0]?.directory
  if (directory === undefined) return
  let draft = new TaskDraft(directory)
  let open: Span[] = []
  let next = 0
  for (let chunk = 0; next < spans.length || open.length > 0; chunk++) {
    if (open.length === 0) chunk = chunkAt(directory, spans[next]?.position ?? 0)
    const start = directory.chunkStart[chunk] ?? 0
    const end = directory.chunkStart[chunk + 1] ?? Infinity
    for (let span = spans[next]; span !== undefined && span.position < end; span = spans[++next])
      open.push(span)
    if (!draft.takes(chunk)) {
      tasks.push(draft.finish())
      draft = new TaskDraft(directory)
    }
    for (const span of open) {
      const from = Math.max(start, span.position)
      const to = Math.min(end, span.position + span.length)
      draft.add(chunk, from, to - from, span.target + (from - span.position))
    }
    open = open.filter((span) => span.position + span.length > end)
  }
  tasks.push(draft.finish())
}

class TaskDraft {
  readonly #directory: PackDirectory
  readonly #chunks: number[] = []
  readonly #pieces: Piece[] = []
  readonly #placeOf = new Map<number, number>()
  /** The last piece of each distance from the task's plain bytes to the target: spans that want the same chunks take turns. */
  readonly #lastOf = new Map<number, Piece>()
  #plainBytes = 0

  constructor(directory: PackDirectory) {
    this.#directory = directory
  }

  takes(chunk: number): boolean {
    const directory = this.#directory
    const last = this.#chunks.at(-1)
    if (last === undefined) return true
    const from = directory.frameOffset[frameOfChunk(directory, this.#chunks[0] ?? 0)] ?? 0
    const lastFrame = frameOfChunk(directory, last)
    const frame = frameOfChunk(directory, chunk)
    // A frame that two tasks share is read and decompressed twice: none is begun that may not fit.
    const more = frame === lastFrame ? directory.chunkLength[chunk] : directory.framePlain[frame]
    if (this.#plainBytes + (more ?? 0) > TASK_PLAIN_MAX) return false
    const hole = (directory.frameOffset[frame] ?? 0) - (directory.frameOffset[lastFrame + 1] ?? 0)
    return hole <= HOLE_BYTES_MAX && (directory.frameOffset[frame + 1] ?? 0) - from <= TASK_STORED_MAX
  }

  add(chunk: number, position: number, length: number, target: number): void {
    let place = this.#placeOf.get(chunk)
    if (place === undefined) {
      place = this.#plainBytes
      this.#placeOf.set(chunk, place)
      this.#chunks.push(chunk)
      this.#plainBytes += this.#directory.chunkLength[chunk] ?? 0
    }
    const from = place + position - (this.#directory.chunkStart[chunk] ?? 0)
    const last = this.#lastOf.get(target - from)
    if (last !== undefined && last.from + last.length === from) last.length += length
    else {
      const piece = { from, length, target }
      this.#pieces.push(piece)
      this.#lastOf.set(target - from, piece)
    }
  }

  finish(): ReadTask {
    return {
      packId: this.#directory.id,
      chunks: this.#chunks,
      pieces: this.#pieces,
      plainBytes: this.#plainBytes,
    }
  }
}

/** Reads verified chunks from packs. Everything above may trust what comes out: this is the gate (invariant 7). */
export class ChunkReader {
  readonly #store: StoreReader
  readonly #crew: Crew
  readonly catalog: PackCatalog

  constructor(store: StoreReader, catalog: PackCatalog, crew: Crew) {
    this.#store = store
    this.catalog = catalog
    this.#crew = crew
  }

  /**
   * Reads a task's chunks. What looks damaged is read once more before it is called so: a bad transfer is no damage. Nor is it lost
   * while any other generation of the pack has it.
   * @param room  memory to work in, lent until this settles
   * @throws OBJECT_NOT_FOUND, DATA_DAMAGED, STORE_FAILED
   */
  async run(task: ReadTask, room?: ReadMemory): Promise<TaskResult> {
    let attempts = 0
    const result = await readAgainIfDamaged(
      () => {
        if (attempts++ > 0) this.catalog.forget(task.packId)
        return this.#attempt(task, room)
      },
      (result) => result.damaged.length === 0,
    )
    return result.damaged.length === 0 ? result : uncached(() => this.#mend(task, result))
  }

  /** Takes what is damaged from other generations. Each chunk is checked as ever, so it does not matter which they are. */
  async #mend(task: ReadTask, { plain, damaged }: TaskResult): Promise<TaskResult> {
    let left = damaged
    const tried = new Set<string>()
    // Twice, if need be: a listing may be short for once.
    for (let listings = 0; listings < 2 && left.length > 0; listings++)
      for (const directory of await this.catalog.generations(task.packId)) {
        if (left.length === 0 || tried.has(directory.key)) continue
        tried.add(directory.key)
        left = await this.#takeFrom(directory, left, plain)
      }
    return { plain, damaged: left }
  }

  /** Puts those chunks to their places that are good in a generation. @returns the others */
  async #takeFrom(
    directory: PackDirectory,
    wanted: readonly DamagedChunk[],
    plain: Uint8Array,
  ): Promise<readonly DamagedChunk[]> {
    const chunks = wanted.map(({ chunk }) => chunk).filter((chunk) => isPresent(directory, chunk))
    if (chunks.length === 0) return wanted
    const { from, length } = storedRange(directory, chunks)
    const read = async (): Promise<DecodeResult> => {
      const stored = await this.#store.read(directory.key, from, length)
      return this.#crew.decode({ ...decodeJob(directory, chunks, stored, from), crc: undefined })
    }
    const result = await read().catch((error: unknown) => {
      if (isEverfoldError(error, 'OBJECT_NOT_FOUND', 'DATA_DAMAGED', 'OBJECT_ARCHIVED')) return undefined
      throw error
    })
    if (result === undefined) return wanted
    const good = new Map<number, Uint8Array>()
    let end = 0
    for (const [i, chunk] of chunks.entries()) {
      const begin = end
      end += directory.chunkLength[chunk] ?? 0
      if (result.state[i] === CHUNK_GOOD) good.set(chunk, result.plain.subarray(begin, end))
    }
    for (const { chunk, from: at } of wanted) {
      const bytes = good.get(chunk)
      if (bytes !== undefined) copyBytes(plain, at, bytes)
    }
    return wanted.filter(({ chunk }) => !good.has(chunk))
  }

  async #attempt(task: ReadTask, room: ReadMemory | undefined): Promise<TaskResult> {
    const directory = await this.catalog.directory(task.packId)
    try {
      return await this.#readFrom(directory, task, room)
    } catch (error) {
      if (!isEverfoldError(error, 'OBJECT_NOT_FOUND')) throw error
      // A newer generation may have taken the place of the one that was known.
      this.catalog.forget(task.packId)
      return this.#readFrom(await this.catalog.directory(task.packId), task, room)
    }
  }

  async #readFrom(newest: PackDirectory, task: ReadTask, room: ReadMemory | undefined): Promise<TaskResult> {
    const held = task.chunks.every((chunk) => isPresent(newest, chunk))
    // An older generation may still hold what a newer one has left out.
    const directory = held ? newest : await this.catalog.directoryWith(task.packId, task.chunks)
    if (directory === undefined) return nothingOf(task, newest)
    const { from, length: storedBytes } = storedRange(directory, task.chunks)
    const stored = await this.#readStored(directory.key, from, storedBytes, room)
    const job = decodeJob(directory, task.chunks, stored, from)
    // Whether a frame's checksum is right says nothing that the hashes of its chunks do not say.
    const result = await this.#crew.decode({ ...job, crc: undefined, room: room?.plain })
    const damaged: DamagedChunk[] = []
    let end = 0
    for (const [i, chunk] of task.chunks.entries()) {
      const state = result.state[i]
      const from = end
      const length = directory.chunkLength[chunk] ?? 0
      end += length
      if (state === CHUNK_GOOD) continue
      const reason =
        state === CHUNK_HASH_WRONG ? 'its bytes do not have its hash' : 'its frame cannot be decompressed'
      damaged.push({ packId: task.packId, chunk, from, length, reason })
    }
    const isInRoom = room !== undefined && result.plain.buffer instanceof SharedArrayBuffer
    // Back from a thread, it is another object of the same memory.
    return { plain: isInRoom ? room.plain.subarray(0, end) : result.plain, damaged }
  }

  async #readStored(
    key: string,
    offset: number,
    length: number,
    room: ReadMemory | undefined,
  ): Promise<Uint8Array> {
    if (room === undefined || length > room.stored.length || this.#store.readInto === undefined)
      return this.#store.read(key, offset, length)
    const into = room.stored.subarray(0, length)
    await this.#store.readInto(key, offset, into)
    return into
  }
}

/** No generation has all of a task's chunks: each is looked for alone. */
function nothingOf({ packId, chunks }: ReadTask, { chunkLength }: PackDirectory): TaskResult {
  const damaged: DamagedChunk[] = []
  let from = 0
  for (const chunk of chunks) {
    const length = chunkLength[chunk] ?? 0
    damaged.push({ packId, chunk, from, length, reason: 'its pack no longer holds it' })
    from += length
  }
  return { plain: new Uint8Array(from), damaged }
}

/** Where the frames of these chunks (ascending) lie in a generation, and what is between them. Bytes. */
function storedRange(
  directory: PackDirectory,
  chunks: readonly number[],
): { readonly from: number; readonly length: number } {
  const firstFrame = frameOfChunk(directory, chunks[0] ?? 0)
  const lastFrame = frameOfChunk(directory, chunks.at(-1) ?? 0)
  const from = directory.frameOffset[firstFrame] ?? 0
  return { from, length: (directory.frameOffset[lastFrame + 1] ?? 0) - from }
}

/** The job that decodes `chunks` (ascending) from `stored`, whose first byte is byte `storedFrom` of the object; its memory is handed over. */
export function decodeJob(
  directory: PackDirectory,
  chunks: readonly number[],
  stored: Uint8Array,
  storedFrom: number,
): DecodeJob {
  const frames: number[] = []
  const wanted: number[] = []
  const chunkOffset = new Uint32Array(chunks.length)
  const chunkLength = new Uint32Array(chunks.length)
  const hashes = new Uint8Array(chunks.length * 32)
  // Chunks ascend, so the way to each begins at the one before: a frame may have thousands.
  let reached = 0
  let offset = 0
  for (const [i, chunk] of chunks.entries()) {
    const last = frames.at(-1)
    if (last === undefined || chunk >= (directory.frameFirst[last + 1] ?? 0)) {
      const frame = frameOfChunk(directory, chunk)
      frames.push(frame)
      wanted.push(0)
      reached = directory.frameFirst[frame] ?? 0
      offset = 0
    }
    wanted[wanted.length - 1] = (wanted.at(-1) ?? 0) + 1
    for (; reached < chunk; reached++)
      if (isPresent(directory, reached)) offset += directory.chunkLength[reached] ?? 0
    chunkOffset[i] = offset
    chunkLength[i] = directory.chunkLength[chunk] ?? 0
    hashes.set(directory.hashes.subarray(chunk * 32, chunk * 32 + 32), i * 32)
  }
  return {
    stored: stored.buffer,
    storedOffset: Uint32Array.from(
      frames,
      (f) => (directory.frameOffset[f] ?? 0) - storedFrom + stored.byteOffset,
    ),
    storedLength: Uint32Array.from(
      frames,
      (f) => (directory.frameOffset[f + 1] ?? 0) - (directory.frameOffset[f] ?? 0),
    ),
    plainLength: Uint32Array.from(frames, (f) => directory.framePlain[f] ?? 0),
    crc: Uint32Array.from(frames, (f) => directory.frameCrc[f] ?? 0),
    codec: Uint8Array.from(frames, (f) => directory.frameCodec[f] ?? 0),
    wanted: Uint32Array.from(wanted),
    chunkOffset,
    chunkLength,
    hashes,
  }
}
