import { EverfoldError } from '../errors.js'
import { settleAll } from '../settle-all.js'
import type { DiskState, Pin, PointState } from './chain-state.js'
import type { ExtentList } from './extent-list.js'
import type { IngestCounts } from './ingest.js'
import type { WorkPins } from './pins.js'
import type { Repository } from './repository.js'
import { writeRun } from './run-store.js'

/** A point whose packs are durable. */
export interface PointDraft {
  readonly machine: string
  /** The newest point of the machine that this one was compared with; it has to be the newest still. */
  readonly base: string | undefined
  readonly id: string
  /** ISO 8601; absent: now. */
  readonly createdAt?: string
  readonly note?: string
  readonly consistency?: NonNullable<PointState['consistency']>
  readonly pin?: Pin
  readonly disks: readonly {
    readonly id: string
    readonly sizeBytes: number
    readonly chunker: 'fixed' | 'cdc'
    /** The extents cover all of the disk, and need no older run. */
    readonly complete: boolean
    readonly extents: ExtentList
  }[]
  readonly figures: Pick<PointState, 'readBytes' | 'changedBytes' | 'newBytes' | 'storedBytes'>
  readonly seconds: () => number
}

/** A point as whoever took it is told of it. */
export interface PointResult {
  readonly machine: string
  readonly point: string
  readonly kind: 'full' | 'incremental'
  readonly createdAt: string
  readonly disks: readonly { readonly id: string; readonly sizeBytes: number }[]
  readonly readBytes: number
  readonly changedBytes: number
  readonly newBytes: number
  readonly storedBytes: number
  readonly seconds: number
}

/**
 * Writes the runs of a point, and then the chain state that has it: all disks at once, or nothing.
 * @param pins  hold all packs that the extents name, and get the segments
 * @returns once the point is durable (invariant 1), with its place in the chain
 * @throws CONFLICT if another point came in between, STORE_FULL, STORE_FAILED, and as Chains.edit: no point was made then
 */
export async function commitPoint(
  repository: Repository,
  draft: PointDraft,
  pins: WorkPins,
): Promise<{ readonly point: PointState; readonly index: number }> {
  const { machine, base, id, note, consistency, pin, figures } = draft
  const disks = await settleAll(draft.disks.map((disk) => writeDisk(repository, machine, disk, pins)))
  const point: PointState = {
    id,
    createdAt: draft.createdAt ?? new Date(repository.environment.now()).toISOString(),
    ...(note === undefined ? {} : { note }),
    ...(consistency === undefined ? {} : { consistency }),
    ...(pin === undefined ? {} : { pin }),
    disks: disks.map((disk) => disk.state),
    ...figures,
    storedBytes: figures.storedBytes + disks.reduce((sum, disk) => sum + disk.writtenBytes, 0),
    seconds: draft.seconds(),
  }
  const state = await repository.chains.edit(machine, (now) => {
    const points = now?.state.points ?? []
    if (points.at(-1)?.id !== base) throw overtaken(machine, points.at(-1)?.id)
    return { points: [...points, point] }
  })
  return { point, index: state.points.length - 1 }
}

/** Somebody else added or removed the machine's newest point. */
export function overtaken(machine: string, newest: string | undefined): EverfoldError {
  return new EverfoldError(
    'CONFLICT',
    `The newest point of "${machine}" is not the one that this backup began with. No point was made; take it again.`,
    { details: { machine, newest: newest ?? null } },
  )
}

export function figuresOf(
  counts: IngestCounts,
): Pick<IngestCounts, 'changedBytes' | 'newBytes' | 'storedBytes'> {
  const { changedBytes, newBytes, storedBytes } = counts
  return { changedBytes, newBytes, storedBytes }
}

/** @param index  the point's place in its chain */
export function resultOf(
  machine: string,
  { point, index }: { readonly point: PointState; readonly index: number },
): PointResult {
  const { id, createdAt, readBytes, changedBytes, newBytes, storedBytes, seconds } = point
  return {
    machine,
    point: id,
    kind: index === 0 ? 'full' : 'incremental',
    createdAt,
    disks: point.disks.map((disk) => ({ id: disk.id, sizeBytes: disk.sizeBytes })),
    readBytes,
    changedBytes,
    newBytes,
    storedBytes,
    seconds,
  }
}

async function writeDisk(
  repository: Repository,
  machine: string,
  disk: PointDraft['disks'][number],
  pins: WorkPins,
): Promise<{ readonly state: DiskState; readonly writtenBytes: number }> {
  const { id, sizeBytes, chunker, complete, extents } = disk
  const { store, segmentExtents } = repository
  const claim = (segment: string): Promise<void> => pins.claim(segment)
  const { run, writtenBytes } = await writeRun(store, machine, extents, claim, segmentExtents)
  const stored = { stride: run.stride, segments: [...run.segments] }
  return { state: { id, sizeBytes, chunker, complete, run: stored }, writtenBytes }
}
