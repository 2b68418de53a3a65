import type { ChainState, DiskState, PointState } from '../chain/chain-state.js'
import { readDiskRuns, segmentsOfChain } from '../chain/disk-runs.js'
import { ExtentList, ZEROS } from '../chain/extent-list.js'
import { overlay } from '../chain/overlay.js'
import { PackTable } from '../chain/pack-table.js'
import type { Repository } from '../chain/repository.js'
import { isEverfoldError } from '../errors.js'
import { chunkAt, type PackDirectory } from '../pack/pack-format.js'

/**
 * Points of which something is known to be damaged, by what verification recorded. Reads nothing at all while it recorded nothing;
 * else each run once, and no chunk.
 * @param state  Got from the chains in this very turn, so that its runs are still there.
 * @returns ids
 * @throws STORE_FAILED
 */
export async function damagedPoints(repository: Repository, state: ChainState): Promise<ReadonlySet<string>> {
  const pins = repository.pins.begin()
  try {
    for (const segment of segmentsOfChain(state)) pins.pin(segment.id)
    const { quarantine } = repository.catalog
    await quarantine.load(repository.store)
    const damaged = new Set<string>()
    if (quarantine.state.damaged.length === 0) return damaged
    const disks = new Map<string, DiskDamage>()
    for (const point of state.points)
      for (const disk of point.disks) {
        const damage = disks.get(disk.id) ?? new DiskDamage(repository, state.machine)
        disks.set(disk.id, damage)
        if (await damage.after(disk)) damaged.add(point.id)
      }
    return damaged
  } finally {
    pins.end()
  }
}

/** The newest point of which no damage is known: some point that can be restored has to stay. */
export function newestWhole(
  points: readonly PointState[],
  damaged: ReadonlySet<string>,
): PointState | undefined {
  return points.findLast((point) => !damaged.has(point.id))
}

/** What of one disk is damaged, from its first point on. */
class DiskDamage {
  readonly #repository: Repository
  readonly #machine: string
  readonly #packs = new PackTable()
  readonly #suspects: ReadonlySet<string>
  #lost: ExtentList | undefined
  #isRunLost = false

  constructor(repository: Repository, machine: string) {
    this.#repository = repository
    this.#machine = machine
    this.#suspects = new Set(repository.catalog.quarantine.state.damaged.map(({ pack }) => pack))
  }

  /** Is anything of the disk damaged at its next point? @throws STORE_FAILED */
  async after(disk: DiskState): Promise<boolean> {
    if (disk.complete) {
      this.#lost = undefined
      this.#isRunLost = false
    }
    const run = await this.#read(disk)
    if (run === undefined) this.#isRunLost = true
    else this.#lost = await this.#damagedOf(overlay(this.#lost ?? this.#nothing(disk), run, disk.sizeBytes))
    return this.#isRunLost || (this.#lost?.length ?? 0) > 0
  }

  #nothing(disk: DiskState): ExtentList {
    return new ExtentList(disk.run.stride, this.#packs)
  }

  async #read(disk: DiskState): Promise<ExtentList | undefined> {
    try {
      return await readDiskRuns(this.#repository.store, this.#machine, disk, this.#packs)
    } catch (error) {
      if (isEverfoldError(error, 'OBJECT_NOT_FOUND', 'DATA_DAMAGED')) return undefined
      throw error
    }
  }

  async #damagedOf(list: ExtentList): Promise<ExtentList> {
    const damaged = new ExtentList(list.stride, list.packs)
    for (let i = 0; i < list.length; i++) {
      const slot = list.pack[i] ?? ZEROS
      if (slot === ZEROS || !this.#suspects.has(list.packs.idOf(slot))) continue
      const directory = await this.#directory(list.packs.idOf(slot))
      if (directory === undefined || this.#refersToDamaged(list, i, directory))
        damaged.appendPart(list, i, list.startOf(i), list.endOf(i))
    }
    return damaged
  }

  async #directory(packId: string): Promise<PackDirectory | undefined> {
    try {
      return await this.#repository.catalog.directory(packId)
    } catch (error) {
      if (isEverfoldError(error, 'OBJECT_NOT_FOUND', 'DATA_DAMAGED')) return undefined
      throw error
    }
  }

  #refersToDamaged(list: ExtentList, i: number, directory: PackDirectory): boolean {
    const { quarantine } = this.#repository.catalog
    const begin = (directory.chunkStart[list.chunk[i] ?? 0] ?? Infinity) + (list.skip[i] ?? 0)
    const end = begin + (list.size[i] ?? 0)
    if (end > (directory.chunkStart[directory.chunkCount] ?? 0)) return true
    for (let chunk = chunkAt(directory, begin); (directory.chunkStart[chunk] ?? end) < end; chunk++)
      if (quarantine.isDamaged(directory, chunk)) return true
    return false
  }
}
