import type { ChainState, DiskState, RunLayer } from '../chain/chain-state.js'
import { readDiskRuns, readLayers, runsOf } from '../chain/disk-runs.js'
import { ExtentList } from '../chain/extent-list.js'
import { overlayAll } from '../chain/overlay.js'
import type { WorkPins } from '../chain/pins.js'
import type { Repository } from '../chain/repository.js'
import { isPresent, type PackDirectory } from '../pack/pack-format.js'
import { allHeads, References } from './live.js'
import { placesById, storedLength, survey } from './survey.js'

/** Exact figures, from a mark over all runs. Stored bytes of a chunk: its share of its frame, by plain length. */
export interface Accounting {
  readonly machines: readonly MachineAccount[]
  /** What all points would take as plain disk images. */
  readonly logicalBytes: number
  /** Plain bytes of all chunks that some point needs, each counted once; and what they take in the store. */
  readonly uniqueBytes: number
  readonly liveBytes: number
  /** Stored bytes of frames that no point needs: garbage collection gives them back in time. */
  readonly deadBytes: number
  /** All bytes of all packs, directories included. */
  readonly storedBytes: number
  readonly packs: number
}

export interface MachineAccount {
  readonly machine: string
  readonly logicalBytes: number
  /** Stored bytes that this machine alone keeps, and that it shares with others. */
  readonly ownBytes: number
  readonly sharedBytes: number
  readonly points: readonly PointAccount[]
}

export interface PointAccount {
  readonly point: string
  /** Stored bytes that would be freed if just this point were deleted now. */
  readonly freedBytes: number
}

/** A chunk that several points, or several parts of the chain, refer to: no single deletion frees it. */
const SEVERAL = 0xffff_ffff

/** Accounts for everything. Reads runs and the packs' directories, no data. @throws as a collection would */
export async function account(repository: Repository): Promise<Accounting> {
  const pins = repository.pins.begin()
  try {
    return await new Accountant(repository).run(pins)
  } finally {
    pins.end()
  }
}

interface MachineSums {
  own: number
  shared: number
}

class Accountant {
  readonly #repository: Repository
  readonly #references = new References()
  /** Per tag - 1: machine number, and point (two tags each: what its deletion drops, and what it leaves). */
  readonly #machineOf: number[] = []
  readonly #freed: number[] = []

  constructor(repository: Repository) {
    this.#repository = repository
  }

  async run(pins: WorkPins): Promise<Accounting> {
    const heads = await allHeads(this.#repository, pins)
    const firstTag: number[] = []
    for (const [m, head] of heads.entries()) {
      firstTag.push(this.#freed.length + 1)
      for (const [index] of head.points.entries()) await this.#addPoint(head, index, m)
    }
    const machines = heads.map((): MachineSums => ({ own: 0, shared: 0 }))
    const packs = await this.#sumPacks(machines)
    const logical = heads.map((head) =>
      head.points.flatMap((p) => p.disks).reduce((sum, disk) => sum + disk.sizeBytes, 0),
    )
    return {
      machines: heads.flatMap((head, m) =>
        head.points.length === 0
          ? []
          : [
              {
                machine: head.machine,
                logicalBytes: logical[m] ?? 0,
                ownBytes: Math.round(machines[m]?.own ?? 0),
                sharedBytes: Math.round(machines[m]?.shared ?? 0),
                points: head.points.map((point, i) => ({
                  point: point.id,
                  freedBytes: Math.round(this.#freed[(firstTag[m] ?? 1) - 1 + 2 * i] ?? 0),
                })),
              },
            ],
      ),
      logicalBytes: logical.reduce((sum, bytes) => sum + bytes, 0),
      ...packs,
    }
  }

  /** Tags what deleting the point would drop (odd tag) and what it would hand on to the next (the tag after). */
  async #addPoint(head: ChainState, index: number, machine: number): Promise<void> {
    this.#machineOf.push(machine, machine)
    this.#freed.push(0, 0)
    const dropTag = this.#freed.length - 1
    const { packs } = this.#references
    for (const disk of head.points[index]?.disks ?? []) {
      const run = await readDiskRuns(this.#repository.store, head.machine, disk, packs)
      const next = head.points[index + 1]?.disks.find((candidate) => candidate.id === disk.id)
      if (next === undefined || next.complete) {
        this.#references.add(run, dropTag)
        continue
      }
      const newer = await readDiskRuns(this.#repository.store, head.machine, next, packs)
      const { hidden, visible } = splitByCover(run, newer, next.sizeBytes)
      this.#references.add(hidden, dropTag)
      this.#references.add(visible, dropTag + 1)
    }
  }

  async #sumPacks(
    machines: readonly MachineSums[],
  ): Promise<Pick<Accounting, 'uniqueBytes' | 'liveBytes' | 'deadBytes' | 'storedBytes' | 'packs'>> {
    let uniqueBytes = 0
    let liveBytes = 0
    let framesBytes = 0
    let storedBytes = 0
    const places = await placesById(this.#repository)
    for (const generations of places.values()) {
      for (const [i, place] of generations.entries()) {
        storedBytes += place.sizeBytes
        const pack = await survey(this.#repository, place, this.#references)
        if (pack === undefined) continue
        framesBytes +=
          (pack.directory.frameOffset[pack.directory.frameCount] ?? 0) - (pack.directory.frameOffset[0] ?? 0)
        // Only the generation that is read counts as needed: older ones are on their way out.
        if (i > 0) continue
        uniqueBytes += pack.livePlain
        liveBytes += pack.liveStored
        this.#sumChunks(pack.directory, machines)
      }
    }
    return {
      uniqueBytes,
      liveBytes: Math.round(liveBytes),
      deadBytes: Math.round(framesBytes - liveBytes),
      storedBytes,
      packs: places.size,
    }
  }

  #sumChunks(directory: PackDirectory, machines: readonly MachineSums[]): void {
    const tagOf = new Uint32Array(directory.chunkCount)
    const machineOf = new Int32Array(directory.chunkCount).fill(-1)
    const sharers: (Set<number> | undefined)[] = []
    this.#references.chunksOf(directory, (chunk, tag) => {
      const before = tagOf[chunk] ?? 0
      if (before === 0) tagOf[chunk] = tag
      else if (before !== tag) tagOf[chunk] = SEVERAL
      const machine = this.#machineOf[tag - 1] ?? 0
      const known = machineOf[chunk] ?? -1
      if (known === -1) machineOf[chunk] = machine
      else if (known !== machine) {
        const all = sharers[chunk] ?? new Set([known])
        all.add(machine)
        sharers[chunk] = all
      }
    })
    for (let frame = 0; frame < directory.frameCount; frame++) {
      const perByte = storedLength(directory, frame) / Math.max(1, directory.framePlain[frame] ?? 0)
      for (
        let chunk = directory.frameFirst[frame] ?? 0;
        chunk < (directory.frameFirst[frame + 1] ?? 0);
        chunk++
      ) {
        const tag = tagOf[chunk] ?? 0
        if (tag === 0 || !isPresent(directory, chunk)) continue
        const bytes = (directory.chunkLength[chunk] ?? 0) * perByte
        if (tag !== SEVERAL) this.#freed[tag - 1] = (this.#freed[tag - 1] ?? 0) + bytes
        const shared = sharers[chunk]
        const owner = machines[machineOf[chunk] ?? 0]
        if (shared === undefined) {
          if (owner !== undefined) owner.own += bytes
        } else
          for (const machine of shared) {
            const sums = machines[machine]
            if (sums !== undefined) sums.shared += bytes
          }
      }
    }
  }
}

/** What of `older` shows through `newer`, and what does not. Bytes from `olderEnd` on never do. */
export function splitByCover(
  older: ExtentList,
  newer: ExtentList,
  olderEnd: number,
): { readonly hidden: ExtentList; readonly visible: ExtentList } {
  const hidden = new ExtentList(older.stride, older.packs)
  const visible = new ExtentList(older.stride, older.packs)
  for (let i = 0; i < older.length; i++) {
    let at = older.startOf(i)
    const end = older.endOf(i)
    for (let n = newer.indexAt(at); at < end; n++) {
      const showsTo = Math.min(end, newer.startOf(n), Math.max(at, olderEnd))
      if (showsTo > at) visible.appendPart(older, i, at, showsTo)
      const hiddenFrom = Math.max(at, showsTo)
      const hiddenTo = hiddenFrom >= olderEnd ? end : Math.min(end, n < newer.length ? newer.endOf(n) : end)
      if (hiddenTo > hiddenFrom) hidden.appendPart(older, i, hiddenFrom, hiddenTo)
      at = Math.max(hiddenTo, hiddenFrom)
    }
  }
  return { hidden, visible }
}

/**
 * Stored bytes that would be freed if these points of a machine were removed together.
 * @param remove  ids
 */
export async function freedByRemoving(
  repository: Repository,
  machine: string,
  remove: ReadonlySet<string>,
): Promise<number> {
  const pins = repository.pins.begin()
  try {
    const heads = await allHeads(repository, pins)
    const before = new References()
    const after = new References()
    for (const head of heads)
      for (const [index, point] of head.points.entries())
        for (const disk of point.disks) {
          before.add(await readDiskRuns(repository.store, head.machine, disk, before.packs), 0)
          if (head.machine === machine && remove.has(point.id)) continue
          const layers = head.machine === machine ? foldedLayers(head, index, disk, remove) : runsOf(disk)
          after.add(overlayAll(await readLayers(repository.store, head.machine, layers, after.packs)), 0)
        }
    let freed = 0
    for (const generations of (await placesById(repository)).values()) {
      const place = generations[0]
      if (place === undefined || !before.has(place.packId)) continue
      const now = await survey(repository, place, before)
      const then = await survey(repository, place, after)
      freed += (now?.liveStored ?? 0) - (then?.liveStored ?? 0)
    }
    return Math.round(freed)
  } finally {
    pins.end()
  }
}

/** The runs that a point's run would be made of: its own, and those of the removed points just before it. */
function foldedLayers(
  head: ChainState,
  index: number,
  disk: DiskState,
  remove: ReadonlySet<string>,
): readonly RunLayer[] {
  const layers = [...runsOf(disk)]
  for (let i = index, oldest = disk; !oldest.complete && i > 0; i--) {
    const before = head.points[i - 1]
    const older = before?.disks.find((candidate) => candidate.id === disk.id)
    if (before === undefined || older === undefined || !remove.has(before.id)) break
    layers.unshift(...runsOf(older))
    oldest = older
  }
  return layers
}
