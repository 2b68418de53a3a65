import type { ChainState, DiskState, RunLayer } from '../chain/chain-state.js'
import { piecesOf } from '../chain/disk-runs.js'
import { ExtentList, ZEROS } from '../chain/extent-list.js'
import { layersOf } from '../chain/flatten.js'
import { type Layer, overlayAll } from '../chain/overlay.js'
import { PackTable } from '../chain/pack-table.js'
import type { Repository } from '../chain/repository.js'
import { readSegment } from '../chain/run-store.js'
import { isEverfoldError } from '../errors.js'
import { chunkAt, isPresent, type PackDirectory } from '../pack/pack-format.js'
import type { DamagedPack } from '../pack/quarantine.js'
import { runKey } from '../store/keys.js'

/** Bytes of a disk at a point that cannot be restored. */
export interface DamagedRange {
  readonly machine: string
  readonly point: string
  readonly disk: string
  readonly offset: number
  readonly length: number
}

/** In place of a pack id: the run that would say what is here is lost. */
export const LOST = '0'.repeat(64)

/** What verification found, and which parts of which points that means. */
export class DamageMap {
  readonly objects: { key: string; problem: string }[] = []
  readonly #lostSegments = new Set<string>()
  /** Generations of each pack that can be read, newest first. */
  readonly #packs = new Map<string, Generation[]>()
  #unreadablePacks = 0
  readonly #unknownIsLost: boolean

  /** `unknownIsLost`: packs that were not told of are missing (after a verification), or taken to be whole. */
  constructor(unknownIsLost = true) {
    this.#unknownIsLost = unknownIsLost
  }

  /** Is something known to be wrong with this object? */
  has(key: string): boolean {
    return this.objects.some((object) => object.key === key)
  }

  /** Something is wrong with an object. */
  note(key: string, problem: string): void {
    if (!this.objects.some((object) => object.key === key && object.problem === problem))
      this.objects.push({ key, problem })
  }

  /** One generation of a pack that is there: runs are checked against its shape. */
  know(directory: PackDirectory): void {
    const { id, key, generation, chunkStart, chunkCount, present } = directory
    const known = this.#packs.get(id) ?? []
    // Copied: the others of its arrays lie in the same memory, and are not needed.
    const shape = { chunkStart: chunkStart.slice(), chunkCount, present: present.slice() }
    known.push({ key, generation, ...shape, bad: new Set() })
    this.#packs.set(
      id,
      known.sort((a, b) => b.generation - a.generation),
    )
  }

  /** Is any generation of this pack known? */
  knows(packId: string): boolean {
    return (this.#packs.get(packId)?.length ?? 0) > 0
  }

  /** A generation that was there is gone: collection removed it while we looked. */
  forget(packId: string, key: string): void {
    this.#packs.set(packId, this.#packs.get(packId)?.filter((one) => one.key !== key) ?? [])
  }

  /** No generation, or not this one, can be read at all. */
  losePack(problem: string, key: string): void {
    this.#unreadablePacks++
    this.note(key, problem)
  }

  loseChunk(directory: PackDirectory, chunk: number): void {
    const known = this.#packs.get(directory.id)?.find((one) => one.key === directory.key)
    known?.bad.add(chunk)
    this.note(directory.key, 'chunks in it are damaged')
  }

  /**
   * Damaged chunks, for the quarantine: those of which the copy in the newest generation that has them, which is the one that stays, is
   * bad. A newer generation without them does not make them good.
   */
  damagedPacks(): DamagedPack[] {
    const damaged: DamagedPack[] = []
    for (const [pack, generations] of this.#packs) {
      const newest = generations[0]
      if (newest === undefined) continue
      const bad = new Set(generations.flatMap((one) => [...one.bad]))
      const chunks = [...bad].filter((chunk) =>
        generations.find((one) => isPresent(one, chunk))?.bad.has(chunk),
      )
      if (chunks.length === 0) continue
      damaged.push({
        pack,
        generation: newest.generation,
        key: newest.key,
        chunks: chunks.sort((a, b) => a - b),
      })
    }
    return damaged
  }

  loseSegment(machine: string, id: string, problem: string): void {
    this.#lostSegments.add(id)
    this.note(runKey(machine, id), problem)
  }

  /** Every range of every point that is lost; also finds runs that name chunks which no pack has. */
  async locate(repository: Repository, states: readonly ChainState[]): Promise<DamagedRange[]> {
    const damaged: DamagedRange[] = []
    for (const state of states) {
      if (!this.#anythingLost() && (await this.#runsAreSound(repository, state))) continue
      for (const [index, point] of state.points.entries())
        for (const disk of point.disks)
          for (const range of await this.#lostRanges(repository, state, index, disk))
            damaged.push({ machine: state.machine, point: point.id, disk: disk.id, ...range })
    }
    return damaged
  }

  #anythingLost(): boolean {
    if (this.#unreadablePacks + this.#lostSegments.size > 0) return true
    return [...this.#packs.values()].some((generations) => generations.some((one) => one.bad.size > 0))
  }

  /** Does every extent of a machine's runs name chunks that are there? */
  async #runsAreSound(repository: Repository, state: ChainState): Promise<boolean> {
    for (const disk of state.points.flatMap((point) => point.disks))
      for (const read of piecesOf(repository.store, state.machine, disk, new PackTable()))
        if (this.#lostParts(await read()).length > 0) return false
    return true
  }

  async #lostRanges(
    repository: Repository,
    state: ChainState,
    index: number,
    disk: DiskState,
  ): Promise<{ offset: number; length: number }[]> {
    const packs = new PackTable()
    const layers: Layer[] = []
    for (const layer of layersOf(state, index, disk.id))
      layers.push({
        extents: await readWhatIsLeft(repository, state.machine, layer, packs),
        sizeBytes: layer.sizeBytes,
      })
    return this.#lostParts(overlayAll(layers).slice(0, disk.sizeBytes))
  }

  #lostParts(all: ExtentList): { offset: number; length: number }[] {
    const ranges: { offset: number; length: number }[] = []
    const lose = (offset: number, length: number): void => {
      const last = ranges.at(-1)
      if (last !== undefined && last.offset + last.length === offset) last.length += length
      else ranges.push({ offset, length })
    }
    for (let i = 0; i < all.length; i++) {
      const slot = all.pack[i] ?? ZEROS
      if (slot !== ZEROS) this.#loseParts(all, i, all.packs.idOf(slot), lose)
    }
    return ranges
  }

  #loseParts(
    all: ExtentList,
    i: number,
    packId: string,
    lose: (offset: number, length: number) => void,
  ): void {
    const offset = all.startOf(i)
    const length = all.size[i] ?? 0
    const generations = this.#packs.get(packId)
    const shape = generations?.[0]
    if (shape === undefined && !this.#unknownIsLost && packId !== LOST) return
    const start = (shape?.chunkStart[all.chunk[i] ?? 0] ?? Infinity) + (all.skip[i] ?? 0)
    const end = start + length
    if (generations === undefined || shape === undefined || end > (shape.chunkStart[shape.chunkCount] ?? 0)) {
      lose(offset, length)
      return
    }
    let position = start
    for (let chunk = chunkAt(shape, start); position < end; chunk++) {
      const chunkEnd = Math.min(end, shape.chunkStart[chunk + 1] ?? end)
      // What is bad in the newest generation that has the chunk is read from another, if there is one.
      if (!generations.some((one) => isPresent(one, chunk) && !one.bad.has(chunk)))
        lose(offset + position - start, chunkEnd - position)
      position = chunkEnd
    }
  }
}

/** A run; where a segment of it is lost, an extent of the pack {@link LOST}. @throws STORE_FAILED */
export async function readWhatIsLeft(
  repository: Repository,
  machine: string,
  { run }: RunLayer,
  packs: PackTable,
): Promise<ExtentList> {
  const out = new ExtentList(run.stride, packs)
  for (const segment of run.segments) {
    try {
      const list = await readSegment(repository.store, machine, segment, packs)
      for (let i = 0; i < list.length; i++) out.appendPart(list, i, list.startOf(i), list.endOf(i))
    } catch (error) {
      if (!isEverfoldError(error, 'OBJECT_NOT_FOUND', 'DATA_DAMAGED')) throw error
      out.append(segment.start, segment.end - segment.start, packs.slotOf(LOST), 0, 0)
    }
  }
  return out
}

/** What is known of one generation of a pack. */
interface Generation
  extends Pick<PackDirectory, 'key' | 'generation' | 'chunkStart' | 'chunkCount' | 'present'> {
  readonly bad: Set<number>
}
