import type { Pin, PointState } from './chain-state.js'

/** A point as it is listed. Sizes in bytes. */
export interface PointSummary {
  readonly machine: string
  readonly point: string
  readonly kind: 'full' | 'incremental'
  readonly createdAt: string
  readonly note?: string
  /** What the source did before its disks were read; absent: nothing. */
  readonly consistency?: NonNullable<PointState['consistency']>
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
  const { id, createdAt, note, consistency, pin, readBytes, changedBytes, newBytes, storedBytes, seconds } =
    point
  const disks = point.disks.map((disk) => ({ id: disk.id, sizeBytes: disk.sizeBytes }))
  return {
    machine,
    point: id,
    kind: index === 0 ? 'full' : 'incremental',
    createdAt,
    ...(note === undefined ? {} : { note }),
    ...(consistency === undefined ? {} : { consistency }),
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
