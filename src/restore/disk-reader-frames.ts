import type { Repository } from '../chain/repository.js'
import { isEverfoldError } from '../errors.js'
import { Gate } from '../gate.js'
import { chunkAt, isPresent, type PackDirectory } from '../pack/pack-format.js'

/** Plain bytes of decoded frames that are kept in memory for all readers of a repository. */
export const FRAME_CACHE_BYTES_MAX = 64 * 1024 * 1024

/** Lately: since then less than this share of what the cache holds was touched. */
const LATELY_SHARE = 0.25

/** A read of less than this share of a frame gets just its chunks decoded, unless it goes on from one before it. */
const SMALL_SHARE = 0.5

/** A frame's chunks, decoded and checked against their hashes. */
export interface DecodedFrame {
  /** Shared by all readers: never to be changed, nor handed over to a thread. */
  readonly plain: Uint8Array
  /** Number of the frame's first chunk. */
  readonly first: number
  /** Per chunk of the frame: where it begins in `plain`; -1 if it is absent or damaged. */
  readonly starts: Int32Array
}

/** The last small read of a frame: from where to where its chunks are, and the plain bytes that all of the frame would have taken. */
interface Touched {
  readonly plainBytes: number
  readonly from: number
  readonly to: number
}

/** Decoded frames of one repository: the least recently used go first; each is read once, however many want it. */
export class FrameCache {
  readonly #repository: Repository
  readonly #bytesMax: number
  readonly #gate: Gate
  /** Least recently used first. */
  readonly #kept = new Map<string, DecodedFrame>()
  readonly #loading = new Map<string, Promise<DecodedFrame | undefined>>()
  /** Frames of which a part was asked for lately, least recent first. */
  readonly #touched = new Map<string, Touched>()
  #touchedBytes = 0
  #bytes = 0
  #hits = 0
  #misses = 0
  #readers = 0

  constructor(repository: Repository, bytesMax = FRAME_CACHE_BYTES_MAX) {
    this.#repository = repository
    this.#bytesMax = bytesMax
    this.#gate = new Gate(repository.crew.size * 2)
  }

  /** How often a frame was there or had to be read, and plain bytes kept now. */
  get figures(): { readonly hits: number; readonly misses: number; readonly bytes: number } {
    return { hits: this.#hits, misses: this.#misses, bytes: this.#bytes }
  }

  /** A reader begins. */
  enter(): void {
    this.#readers++
  }

  /** A reader is done: with the last one goes what is kept for the next read. A service may hear of none for days, and needs its memory for uploads. */
  leave(): void {
    if (--this.#readers > 0) return
    this.#kept.clear()
    this.#bytes = 0
    this.#touched.clear()
    this.#touchedBytes = 0
  }

  /**
   * A frame of the generation that `directory` describes.
   * @returns undefined if the frame cannot be read as a whole: single chunks of it may be readable all the same
   * @throws STORE_FAILED
   */
  async frame(directory: PackDirectory, frame: number): Promise<DecodedFrame | undefined> {
    const name = nameOf(directory, frame)
    const kept = this.#kept.get(name)
    if (kept !== undefined) {
      this.#hits++
      this.#kept.delete(name)
      this.#kept.set(name, kept)
      return kept
    }
    let loading = this.#loading.get(name)
    if (loading === undefined) {
      this.#misses++
      loading = this.#load(directory, frame, name).finally(() => this.#loading.delete(name))
      this.#loading.set(name, loading)
    } else this.#hits++
    return loading
  }

  /**
   * Is it worth while to decode all of a frame for `length` bytes of it from `position` on? It is for large parts, for frames that are here, and for a
   * small read that lies in the chunks of another one lately, or goes on after them: then there are likely to be more. Small reads at random are not held
   * up by bytes that nobody wants: where any second read of a frame was enough, one in ten decoded a whole frame, of a disk of 1 GiB.
   */
  wantsWhole(directory: PackDirectory, frame: number, position: number, length: number): boolean {
    const plainBytes = directory.framePlain[frame] ?? 0
    const name = nameOf(directory, frame)
    if (length >= plainBytes * SMALL_SHARE || this.#kept.has(name) || this.#loading.has(name)) return true
    const touched = this.#touched.get(name)
    if (touched !== undefined) {
      this.#touched.delete(name)
      this.#touchedBytes -= touched.plainBytes
      if (touched.from <= position && position <= touched.to) return true
    }
    this.#touched.set(name, { plainBytes, ...chunksAround(directory, position, length) })
    this.#touchedBytes += plainBytes
    for (const [oldest, { plainBytes: bytes }] of this.#touched) {
      if (this.#touchedBytes <= this.#bytesMax * LATELY_SHARE) break
      this.#touched.delete(oldest)
      this.#touchedBytes -= bytes
    }
    return false
  }

  /** Counts a frame of which a part is read. */
  missed(): void {
    this.#misses++
  }

  /** Lets in what decodes a part of a frame, as many at once as decode whole ones. */
  async alone<Result>(work: () => Promise<Result>): Promise<Result> {
    this.missed()
    await this.#gate.enter()
    try {
      return await work()
    } finally {
      this.#gate.leave()
    }
  }

  async #load(directory: PackDirectory, frame: number, name: string): Promise<DecodedFrame | undefined> {
    await this.#gate.enter()
    try {
      const { decoded, whole } = await decodeFrame(this.#repository, directory, frame)
      // What is damaged may have healed when it is asked for again.
      if (whole) this.#keep(name, decoded)
      return decoded
    } catch (error) {
      if (!isEverfoldError(error, 'OBJECT_NOT_FOUND', 'DATA_DAMAGED')) throw error
      return undefined
    } finally {
      this.#gate.leave()
    }
  }

  #keep(name: string, frame: DecodedFrame): void {
    if (frame.plain.byteLength > this.#bytesMax) return
    this.#kept.set(name, frame)
    this.#bytes += frame.plain.byteLength
    for (const [oldName, oldest] of this.#kept) {
      if (this.#bytes <= this.#bytesMax) break
      this.#kept.delete(oldName)
      this.#bytes -= oldest.plain.byteLength
    }
  }
}

function chunksAround(
  directory: PackDirectory,
  position: number,
  length: number,
): Pick<Touched, 'from' | 'to'> {
  const from = directory.chunkStart[chunkAt(directory, position)] ?? position
  const to = directory.chunkStart[chunkAt(directory, position + length - 1) + 1] ?? position + length
  return { from, to }
}

function nameOf({ id, generation }: PackDirectory, frame: number): string {
  return `${id}.${generation}.${frame}`
}

async function decodeFrame(
  repository: Repository,
  directory: PackDirectory,
  frame: number,
): Promise<{ readonly decoded: DecodedFrame; readonly whole: boolean }> {
  const first = directory.frameFirst[frame] ?? 0
  const end = directory.frameFirst[frame + 1] ?? first
  const starts = new Int32Array(end - first).fill(-1)
  const chunks: number[] = []
  let plainBytes = 0
  for (let chunk = first; chunk < end; chunk++) {
    if (!isPresent(directory, chunk)) continue
    starts[chunk - first] = plainBytes
    plainBytes += directory.chunkLength[chunk] ?? 0
    chunks.push(chunk)
  }
  if (chunks.length === 0) return { decoded: { plain: new Uint8Array(0), first, starts }, whole: false }
  const task = { packId: directory.id, chunks, pieces: [], plainBytes }
  const { plain, damaged } = await repository.reader.run(task)
  for (const { chunk } of damaged) starts[chunk - first] = -1
  return { decoded: { plain, first, starts }, whole: damaged.length === 0 }
}

/**
 * The plain bytes from `position` on (see PackDirectory.chunkStart), which begin in chunk number `chunk`.
 * @returns a view of the frame, or undefined if a chunk among them is absent or damaged
 */
export function bytesIn(
  { plain, first, starts }: DecodedFrame,
  directory: PackDirectory,
  chunk: number,
  position: number,
  length: number,
): Uint8Array | undefined {
  for (let other = chunk; (directory.chunkStart[other] ?? Infinity) < position + length; other++)
    if ((starts[other - first] ?? -1) < 0) return undefined
  const from = (starts[chunk - first] ?? 0) + position - (directory.chunkStart[chunk] ?? 0)
  return plain.subarray(from, from + length)
}

const caches = new WeakMap<Repository, FrameCache>()

/** The cache that all readers of a repository share. */
export function frameCacheOf(repository: Repository): FrameCache {
  const known = caches.get(repository)
  if (known !== undefined) return known
  const cache = new FrameCache(repository)
  caches.set(repository, cache)
  return cache
}
