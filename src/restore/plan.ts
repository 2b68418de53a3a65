import type { ChainState } from '../chain/chain-state.js'
import { type ExtentList, ZEROS } from '../chain/extent-list.js'
import { diskOf, flattenDisk } from '../chain/flatten.js'
import type { WorkPins } from '../chain/pins.js'
import type { Repository } from '../chain/repository.js'
import { isEverfoldError } from '../errors.js'
import { inOrder } from '../in-order.js'
import { type DamagedChunk, type Piece, planTasks, type ReadTask, type Span } from '../pack/chunk-reader.js'
import { memoryBytesOf, type PackDirectory, plainPosition } from '../pack/pack-format.js'

/** What a disk held at a point: what to read from where. */
export interface DiskPlan {
  readonly machine: string
  readonly point: string
  readonly disk: string
  readonly sizeBytes: number
  readonly extents: ExtentList
  /** Keeps garbage collection from what the plan reads, until it is ended. */
  readonly pins: WorkPins
}

/**
 * Plans the reading of a disk. Reads runs, no packs. Whoever is done with the plan ends its pins.
 * @param state  Got from the chains in this very turn: only then is it certain that its runs are still there.
 * @throws DISK_UNKNOWN, CHAIN_DAMAGED, DATA_DAMAGED, OBJECT_NOT_FOUND, STORE_FAILED
 */
export async function planDisk(
  repository: Repository,
  state: ChainState,
  index: number,
  diskId: string,
): Promise<DiskPlan> {
  const point = state.points[index]
  if (point === undefined) throw new RangeError(`no point ${index}`)
  const disk = diskOf(state.machine, point, diskId)
  const pins = repository.pins.begin()
  try {
    const extents = await flattenDisk(repository.store, state, index, disk.id, pins)
    return {
      machine: state.machine,
      point: point.id,
      disk: disk.id,
      sizeBytes: disk.sizeBytes,
      extents,
      pins,
    }
  } catch (error) {
    pins.end()
    throw error
  }
}

/**
 * What is planned together: within such a window each frame is read once, in the order of the pack, however scattered over the
 * disk its chunks are (forward assembly: Lillibridge et al., FAST 2013). Nothing of the window is held but its plan, so it may be
 * large: plain bytes of the disk, extents (some 200 bytes each), and memory of the packs' directories.
 */
export const WINDOW_BYTES = 4 * 1024 * 1024 * 1024
export const WINDOW_EXTENTS_MAX = 128 * 1024
export const WINDOW_DIRECTORIES_BYTES = 32 * 1024 * 1024
/** Extents whose packs' directories are read ahead. */
const DIRECTORIES_AHEAD = 16

/** Something to do, in no particular order within a window. Targets are offsets on the disk. */
export type Step =
  | { readonly kind: 'zeros'; readonly offset: number; readonly length: number }
  /** The pack that holds it is missing or cannot be read. */
  | { readonly kind: 'lost'; readonly offset: number; readonly length: number }
  | { readonly kind: 'read'; readonly task: ReadTask }

/** Walks [start, end) of a plan window by window. @throws STORE_FAILED */
export async function* stepsOf(
  repository: Repository,
  plan: DiskPlan,
  start = 0,
  end = plan.sizeBytes,
  windowBytes = WINDOW_BYTES,
): AsyncGenerator<Step> {
  const list = plan.extents
  let window = new Window(windowBytes)
  const located = inOrder(indicesOf(list, start, end), DIRECTORIES_AHEAD, async (i) => {
    const pack = list.pack[i] ?? ZEROS
    return {
      i,
      pack,
      directory: pack === ZEROS ? undefined : await directoryOf(repository, list.packs.idOf(pack)),
    }
  })
  for await (const { i, pack, directory } of located) {
    let from = Math.max(start, list.startOf(i))
    const to = Math.min(end, list.endOf(i))
    if (pack === ZEROS) {
      yield { kind: 'zeros', offset: from, length: to - from }
      continue
    }
    const position =
      directory && plainPosition(directory, list.chunk[i] ?? 0, list.skip[i] ?? 0, list.size[i] ?? 0)
    if (directory === undefined || position === undefined) {
      yield { kind: 'lost', offset: from, length: to - from }
      continue
    }
    const origin = position - list.startOf(i)
    while (from < to) {
      from += window.add(directory, origin + from, to - from, from)
      if (!window.isFull) continue
      yield* window.steps()
      window = new Window(windowBytes)
    }
  }
  yield* window.steps()
}

function* indicesOf(list: ExtentList, start: number, end: number): Generator<number> {
  for (let i = list.indexAt(start); i < list.length && list.startOf(i) < end; i++) yield i
}

class Window {
  readonly #bytesMax: number
  readonly #spans: Span[] = []
  readonly #packs = new Set<string>()
  #bytes = 0
  #directoryBytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get isFull(): boolean {
    return (
      this.#bytes >= this.#bytesMax ||
      this.#spans.length >= WINDOW_EXTENTS_MAX ||
      this.#directoryBytes >= WINDOW_DIRECTORIES_BYTES
    )
  }

  /** Takes as many of the bytes as have room. @returns how many */
  add(directory: PackDirectory, position: number, bytes: number, target: number): number {
    const length = Math.min(bytes, this.#bytesMax - this.#bytes)
    this.#spans.push({ directory, position, length, target })
    this.#bytes += length
    if (!this.#packs.has(directory.id)) {
      this.#packs.add(directory.id)
      this.#directoryBytes += memoryBytesOf(directory)
    }
    return length
  }

  *steps(): Generator<Step> {
    for (const task of planTasks(this.#spans)) yield { kind: 'read', task }
  }
}

async function directoryOf(repository: Repository, packId: string): Promise<PackDirectory | undefined> {
  try {
    return await repository.catalog.directory(packId)
  } catch (error) {
    if (isEverfoldError(error, 'OBJECT_NOT_FOUND', 'DATA_DAMAGED')) return undefined
    throw error
  }
}

/** Splits a task's pieces into those that can be trusted and those that lie in its damaged chunks. */
export function sortPieces(
  task: ReadTask,
  damaged: readonly DamagedChunk[],
): { readonly good: readonly Piece[]; readonly lost: readonly Piece[] } {
  if (damaged.length === 0) return { good: task.pieces, lost: [] }
  const good: Piece[] = []
  const lost: Piece[] = []
  for (const { from, length, target } of task.pieces) {
    let at = from
    const take = (into: Piece[], end: number): void => {
      if (end > at) into.push({ from: at, length: end - at, target: target + at - from })
      at = Math.max(at, end)
    }
    // In the order of the plain bytes, as the chunks of a task are.
    for (const chunk of damaged) {
      take(good, Math.min(from + length, chunk.from))
      take(lost, Math.min(from + length, chunk.from + chunk.length))
    }
    take(good, from + length)
  }
  return { good, lost }
}
