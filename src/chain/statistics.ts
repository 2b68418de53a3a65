import { packsPrefix } from '../store/keys.js'
import type { Pin, PointState } from './chain-state.js'
import type { Repository } from './repository.js'

/** A point as it is listed. Sizes in bytes. */
export interface PointSummary {
  readonly machine: string
  readonly point: string
  readonly kind: 'full' | 'incremental'
  readonly createdAt: string
  readonly note?: string
  /** Keeps it from being removed. */
  readonly pin?: Pin
  readonly disks: readonly { readonly id: string; readonly sizeBytes: number }[]
  readonly sizeBytes: number
  readonly readBytes: number
  readonly changedBytes: number
  readonly newBytes: number
  readonly storedBytes: number
  readonly seconds: number
}

export function summarise(machine: string, point: PointState, index: number): PointSummary {
  const { id, createdAt, note, pin, readBytes, changedBytes, newBytes, storedBytes, seconds } = point
  const disks = point.disks.map((disk) => ({ id: disk.id, sizeBytes: disk.sizeBytes }))
  return {
    machine,
    point: id,
    kind: index === 0 ? 'full' : 'incremental',
    createdAt,
    ...(note === undefined ? {} : { note }),
    ...(pin === undefined ? {} : { pin }),
    disks,
    sizeBytes: disks.reduce((sum, disk) => sum + disk.sizeBytes, 0),
    readBytes,
    changedBytes,
    newBytes,
    storedBytes,
    seconds,
  }
}

export interface Statistics {
  readonly machines: number
  readonly points: number
  /** What all points would take as plain disk images. */
  readonly logicalBytes: number
  /** What all points changed, before deduplication. */
  readonly changedBytes: number
  /** Plain bytes of the new chunks that points brought. */
  readonly newBytes: number
  readonly packs: number
  /** Objects in packs/, as stored. */
  readonly storedBytes: number
  readonly indexBytes: number
  /** changed : new, and new : stored. Null where nothing is stored. */
  readonly deduplicationRatio: number | null
  readonly compressionRatio: number | null
}

/** Figures of the whole repository. @throws STORE_FAILED, CHAIN_DAMAGED */
export async function statisticsOf(repository: Repository): Promise<Statistics> {
  let machines = 0
  let points = 0
  let logicalBytes = 0
  let changedBytes = 0
  let newBytes = 0
  for (const machine of await repository.chains.machines()) {
    const { state } = await repository.chains.get(machine)
    machines++
    for (const [index, point] of state.points.entries()) {
      const summary = summarise(machine, point, index)
      points++
      logicalBytes += summary.sizeBytes
      changedBytes += summary.changedBytes
      newBytes += summary.newBytes
    }
  }
  let packs = 0
  let storedBytes = 0
  for await (const object of repository.store.list(packsPrefix)) {
    packs++
    storedBytes += object.sizeBytes
  }
  const { diskBytes } = await (await repository.index()).sizes()
  return {
    machines,
    points,
    logicalBytes,
    changedBytes,
    newBytes,
    packs,
    storedBytes,
    indexBytes: diskBytes,
    deduplicationRatio: newBytes > 0 ? changedBytes / newBytes : null,
    compressionRatio: storedBytes > 0 ? newBytes / storedBytes : null,
  }
}
