import { type ChainState, type PointState } from '../chain/chain-state.js'
import { readLayers } from '../chain/disk-runs.js'
import { type ExtentList, ZEROS } from '../chain/extent-list.js'
import { layersOf } from '../chain/flatten.js'
import { overlayAll } from '../chain/overlay.js'
import { PackTable } from '../chain/pack-table.js'
import type { Repository } from '../chain/repository.js'
import { isEverfoldError } from '../errors.js'
import { chunkAt, isPresent } from '../pack/pack-format.js'
import { isBitSet, type SurveyedPack } from './survey.js'

/** A chunk, by the number of its pack among those that are put in order. */
export interface PlacedChunk {
  readonly pack: number
  readonly chunk: number
}

export interface DiskOrder {
  readonly chunks: readonly PlacedChunk[]
  /** So many of them, from the first on, some machine's newest point has. */
  readonly newest: number
}

/**
 * The live chunks of some packs in the order in which they are to lie: first those of each machine's newest point, as they follow each other on
 * its disks; then those that only older points have, as they lay. A restore of the newest point finds what it needs side by side, and what
 * it does not need elsewhere.
 * @throws STORE_FAILED
 */
export async function diskOrder(
  repository: Repository,
  machines: readonly string[],
  packs: readonly SurveyedPack[],
): Promise<DiskOrder> {
  const order = new Order(packs)
  for (const machine of machines) {
    const state = (await repository.chains.find(machine))?.state
    const newest = state?.points.at(-1)
    if (state === undefined || newest === undefined) continue
    for (const disk of newest.disks) {
      const extents = await newestExtents(repository, state, newest, disk.id)
      if (extents !== undefined) order.take(extents)
    }
  }
  return order.finish()
}

/** Undefined if it is not certain: then its chunks lie as they lay. */
async function newestExtents(
  repository: Repository,
  state: ChainState,
  { disks }: PointState,
  diskId: string,
): Promise<ExtentList | undefined> {
  const packs = new PackTable()
  try {
    const layers = await readLayers(
      repository.store,
      state.machine,
      layersOf(state, state.points.length - 1, diskId),
      packs,
    )
    return overlayAll(layers).slice(0, disks.find((disk) => disk.id === diskId)?.sizeBytes ?? 0)
  } catch (error) {
    if (isEverfoldError(error, 'CHAIN_DAMAGED', 'DATA_DAMAGED', 'OBJECT_NOT_FOUND')) return undefined
    throw error
  }
}

class Order {
  readonly #packs: readonly SurveyedPack[]
  readonly #numberOf: ReadonlyMap<string, number>
  /** Bitmaps, by pack: chunks that have their place. */
  readonly #placed: readonly Uint8Array[]
  readonly #chunks: PlacedChunk[] = []

  constructor(packs: readonly SurveyedPack[]) {
    this.#packs = packs
    this.#numberOf = new Map(packs.map(({ place }, number) => [place.packId, number]))
    this.#placed = packs.map(({ live }) => new Uint8Array(live.length))
  }

  take(list: ExtentList): void {
    const { packs } = list
    const numbers = Array.from({ length: packs.size }, (_, slot) => this.#numberOf.get(packs.idOf(slot)))
    for (let i = 0; i < list.length; i++) {
      const slot = list.pack[i] ?? ZEROS
      const number = slot === ZEROS ? undefined : numbers[slot]
      const directory = number === undefined ? undefined : this.#packs[number]?.directory
      if (number === undefined || directory === undefined) continue
      const begin = (directory.chunkStart[list.chunk[i] ?? 0] ?? 0) + (list.skip[i] ?? 0)
      const end = begin + (list.size[i] ?? 0)
      for (let chunk = chunkAt(directory, begin); (directory.chunkStart[chunk] ?? end) < end; chunk++)
        this.#place(number, chunk)
    }
  }

  finish(): DiskOrder {
    const newest = this.#chunks.length
    for (const [number, { directory }] of this.#packs.entries())
      for (let chunk = 0; chunk < directory.chunkCount; chunk++) this.#place(number, chunk)
    return { chunks: this.#chunks, newest }
  }

  #place(number: number, chunk: number): void {
    const pack = this.#packs[number]
    const placed = this.#placed[number]
    if (pack === undefined || placed === undefined) return
    if (!isBitSet(pack.live, chunk) || !isPresent(pack.directory, chunk) || isBitSet(placed, chunk)) return
    placed[chunk >> 3] = (placed[chunk >> 3] ?? 0) | (1 << (chunk & 7))
    this.#chunks.push({ pack: number, chunk })
  }
}
