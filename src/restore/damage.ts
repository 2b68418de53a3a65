import type { ChainState, DiskState } from '../chain/chain-state.js'
import { ExtentList, PackTable, ZEROS } from '../chain/extent-list.js'
import { layersOf } from '../chain/flatten.js'
import { type Layer, overlayAll } from '../chain/overlay.js'
import type { Repository } from '../chain/repository.js'
import { readSegment } from '../chain/run-store.js'
import { isEverfoldError } from '../errors.js'
import { chunkAt, isPresent, type PackDirectory } from '../pack/pack-format.js'
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
const LOST = 'lost'

/** What verification found, and which parts of which points that means. */
export class DamageMap {
  readonly objects: { key: string; problem: string }[] = []
  readonly #lostPacks = new Set<string>()
  readonly #lostChunks = new Map<string, Set<number>>()
  readonly #lostSegments = new Set<string>()
  readonly #shapes = new Map<
    string,
    Pick<PackDirectory, 'chunkStart' | 'chunkCount' | 'present' | 'generation'>
  >()

  /** Is something known to be wrong with this object? */
  has(key: string): boolean {
    return this.objects.some((object) => object.key === key)
  }

  /** Something is wrong with an object. */
  note(key: string, problem: string): void {
    if (!this.objects.some((object) => object.key === key && object.problem === problem))
      this.objects.push({ key, problem })
  }

  /** A pack that is there: runs are checked against its shape. */
  know(directory: PackDirectory): void {
    const known = this.#shapes.get(directory.id)
    if (known !== undefined && known.generation > directory.generation) return
    const { chunkStart, chunkCount, present, generation } = directory
    this.#shapes.set(directory.id, { chunkStart, chunkCount, present, generation })
  }

  losePack(packId: string, problem: string, key = `packs/${packId.slice(0, 2)}/${packId}`): void {
    this.#lostPacks.add(packId)
    this.note(key, problem)
  }

  loseChunk(packId: string, chunk: number, key: string): void {
    let chunks = this.#lostChunks.get(packId)
    if (chunks === undefined) {
      chunks = new Set()
      this.#lostChunks.set(packId, chunks)
    }
    chunks.add(chunk)
    this.note(key, 'chunks in it are damaged')
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
    return this.#lostPacks.size + this.#lostChunks.size + this.#lostSegments.size > 0
  }

  /** Does every extent of a machine's runs name chunks that are there? */
  async #runsAreSound(repository: Repository, state: ChainState): Promise<boolean> {
    const seen = new Set<string>()
    for (const segment of state.points.flatMap((point) => point.disks.flatMap((disk) => disk.run.segments))) {
      if (seen.has(segment.id)) continue
      seen.add(segment.id)
      const list = await readSegment(repository.store, state.machine, segment, new PackTable())
      if (this.#lostParts(list).length > 0) return false
    }
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
        extents: await this.#readLayer(repository, state.machine, layer, packs),
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

  async #readLayer(
    repository: Repository,
    machine: string,
    disk: DiskState,
    packs: PackTable,
  ): Promise<ExtentList> {
    const out = new ExtentList(disk.run.stride, packs)
    for (const segment of disk.run.segments) {
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

  #loseParts(
    all: ExtentList,
    i: number,
    packId: string,
    lose: (offset: number, length: number) => void,
  ): void {
    const offset = all.startOf(i)
    const length = all.size[i] ?? 0
    const shape = this.#shapes.get(packId)
    if (shape === undefined || this.#lostPacks.has(packId)) {
      lose(offset, length)
      return
    }
    const lost = this.#lostChunks.get(packId)
    const start = (shape.chunkStart[all.chunk[i] ?? 0] ?? Infinity) + (all.skip[i] ?? 0)
    const end = start + length
    if (end > (shape.chunkStart[shape.chunkCount] ?? 0)) {
      lose(offset, length)
      return
    }
    let position = start
    for (let chunk = chunkAt(shape, start); position < end; chunk++) {
      const chunkEnd = Math.min(end, shape.chunkStart[chunk + 1] ?? end)
      if (lost?.has(chunk) === true || !isPresent(shape, chunk))
        lose(offset + position - start, chunkEnd - position)
      position = chunkEnd
    }
  }
}
