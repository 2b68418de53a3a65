import type { ChainState, DiskState, PointState, RunLayer } from '../chain/chain-state.js'
import { runsOf, withRuns } from '../chain/disk-runs.js'
import { findPoint } from '../chain/find-point.js'
import type { WorkPins } from '../chain/pins.js'
import type { Repository } from '../chain/repository.js'
import { EverfoldError } from '../errors.js'
import { damagedPoints, newestWhole } from './damaged-points.js'
import { foldLayers } from './fold-layers.js'
import type { FoldCost } from './fold-runs.js'
import { isPinned } from './pins.js'

export interface FoldResult {
  readonly machine: string
  /** Ids of points that are gone, and of those that are left; oldest first. */
  readonly removed: readonly string[]
  readonly kept: readonly string[]
  /** Bytes of runs read and written: never any chunk. */
  readonly readBytes: number
  readonly writtenBytes: number
  readonly seconds: number
}

/**
 * Removes points from a chain: what a removed point holds goes into the next point that is kept, and what comes after the
 * last kept one is dropped. Reads and writes runs, no chunk. Points appended meanwhile by a backup are not touched.
 * @param remove  ids
 * @returns once the new chain state is durable
 * @throws MACHINE_UNKNOWN, POINT_UNKNOWN, POINT_PINNED, LAST_POINT: nothing was changed; CONFLICT, STORE_FULL, STORE_FAILED
 */
export async function removePoints(
  repository: Repository,
  machine: string,
  remove: ReadonlySet<string>,
): Promise<FoldResult> {
  return repository.folding.run(machine, async () => {
    const started = repository.environment.monotonicMs()
    const { state } = await repository.chains.get(machine)
    const damaged = await damagedPoints(repository, state)
    checkRemoval(state, remove, damaged, repository.environment.now())
    const pins = repository.pins.begin()
    const cost: FoldCost = { readBytes: 0, writtenBytes: 0 }
    try {
      const changed = await foldInto(repository, state, remove, pins, cost)
      const edited = await repository.chains.edit(machine, (head) => {
        const points = head?.state.points ?? []
        checkRemoval({ ...state, points }, remove, damaged, repository.environment.now())
        const newest = state.points.at(-1)?.id ?? ''
        // A backup that came in between builds on a point that was not folded into it.
        if (remove.has(newest) && points.at(-1)?.id !== newest) throw overtaken(machine)
        return { points: points.filter((p) => !remove.has(p.id)).map((p) => withDisks(p, changed.get(p.id))) }
      })
      return {
        machine,
        removed: state.points.filter((p) => remove.has(p.id)).map((p) => p.id),
        kept: edited.points.map((p) => p.id),
        ...cost,
        seconds: Math.round(repository.environment.monotonicMs() - started) / 1000,
      }
    } finally {
      pins.end()
    }
  })
}

/** Folds the oldest points into their successors until `keep` are left; pinned ones stay, and the newest that is whole. @throws as removePoints */
export async function foldTo(repository: Repository, machine: string, keep: number): Promise<FoldResult> {
  if (!Number.isInteger(keep) || keep < 1)
    throw new EverfoldError(
      'ARGUMENT_INVALID',
      `How many points to keep is a whole number from 1 on, not ${keep}.`,
    )
  const { state } = await repository.chains.get(machine)
  const now = repository.environment.now()
  const surplus = Math.max(0, state.points.length - keep)
  const whole = newestWhole(state.points, await damagedPoints(repository, state))
  const remove = state.points.slice(0, -1).filter((point) => !isPinned(point, now) && point !== whole)
  return removePoints(repository, machine, new Set(remove.slice(0, surplus).map((point) => point.id)))
}

/** Removes one point, wherever it stands in the chain. @throws as removePoints and findPoint */
export async function deletePoint(
  repository: Repository,
  machine: string,
  wanted: string,
): Promise<FoldResult> {
  const { state } = await repository.chains.get(machine)
  return removePoints(repository, machine, new Set([findPoint(state, wanted).point.id]))
}

/**
 * Removes a machine with all of its points, pinned or not: on purpose only.
 * @throws MACHINE_UNKNOWN, CONFLICT, STORE_FULL, STORE_FAILED
 */
export async function deleteMachine(
  repository: Repository,
  machine: string,
): Promise<{ readonly machine: string; readonly removed: readonly string[] }> {
  return repository.folding.run(machine, async () => {
    await repository.chains.get(machine)
    let removed: readonly string[] = []
    await repository.chains.edit(machine, (head) => {
      removed = head?.state.points.map((point) => point.id) ?? []
      return { points: [], retention: undefined }
    })
    return { machine, removed }
  })
}

function overtaken(machine: string): EverfoldError {
  return new EverfoldError(
    'CONFLICT',
    `A backup of "${machine}" was faster than the removal of its newest point; nothing was changed. Try again.`,
    { details: { machine } },
  )
}

function checkRemoval(
  state: ChainState,
  remove: ReadonlySet<string>,
  damaged: ReadonlySet<string>,
  nowMs: number,
): void {
  const { machine } = state
  for (const id of remove) {
    const point = state.points.find((candidate) => candidate.id === id)
    if (point === undefined)
      throw new EverfoldError('POINT_UNKNOWN', `"${machine}" has no point "${id}".`, {
        details: { machine, point: id },
      })
    if (isPinned(point, nowMs))
      throw new EverfoldError(
        'POINT_PINNED',
        `Point ${id} of "${machine}" is pinned (${point.pin?.reason ?? ''}). Unpin it first: everfold unpin ${machine} ${id}`,
        { details: { machine, point: id } },
      )
  }
  const whole = newestWhole(state.points, damaged)
  const left = state.points.filter((point) => !remove.has(point.id))
  if (left.length > 0 && whole !== undefined && newestWhole(left, damaged) === undefined)
    throw new EverfoldError(
      'LAST_POINT',
      `That would leave "${machine}" with damaged points only; ${whole.id} is the newest that is whole. Back "${machine}" up once more, so that what is damaged heals, and try again.`,
      { details: { machine, point: whole.id } },
    )
  if (left.length > 0) return
  throw new EverfoldError(
    'LAST_POINT',
    `That would leave "${machine}" without a point. To remove the machine itself: everfold delete-machine ${machine} --yes`,
    { details: { machine } },
  )
}

/** The new disks of each kept point that takes removed ones in. */
async function foldInto(
  repository: Repository,
  state: ChainState,
  remove: ReadonlySet<string>,
  pins: WorkPins,
  cost: FoldCost,
): Promise<ReadonlyMap<string, readonly DiskState[]>> {
  const changed = new Map<string, readonly DiskState[]>()
  let removed: PointState[] = []
  for (const point of state.points) {
    if (remove.has(point.id)) {
      removed.push(point)
      continue
    }
    if (removed.length > 0)
      changed.set(point.id, await foldPoint(repository, state.machine, removed, point, pins, cost))
    removed = []
  }
  return changed
}

async function foldPoint(
  repository: Repository,
  machine: string,
  removed: readonly PointState[],
  into: PointState,
  pins: WorkPins,
  cost: FoldCost,
): Promise<DiskState[]> {
  const disks: DiskState[] = []
  for (const disk of into.disks) {
    const layers: RunLayer[] = [...runsOf(disk)]
    let oldest: readonly RunLayer[] = []
    let complete = disk.complete
    // Back from the kept point to the last run that stands by itself.
    for (let i = removed.length - 1; i >= 0 && !complete; i--) {
      const older = removed[i]?.disks.find((candidate) => candidate.id === disk.id)
      if (older === undefined) break
      oldest = runsOf(older)
      layers.unshift(...oldest)
      complete = older.complete
    }
    if (oldest.length === 0) disks.push(disk)
    else {
      const folded = await foldLayers(repository, machine, layers, oldest.length, pins, cost)
      disks.push({ ...withRuns(disk, folded), complete })
    }
  }
  return disks
}

function withDisks(point: PointState, disks: readonly DiskState[] | undefined): PointState {
  return disks === undefined ? point : { ...point, disks: [...disks] }
}
