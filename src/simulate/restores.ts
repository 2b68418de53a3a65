import type { ChainState } from '../chain/chain-state.js'
import type { Repository } from '../chain/repository.js'
import { isEverfoldError } from '../errors.js'
import { type DiskPlan, planDisk } from '../restore/plan.js'
import { restoreDisk } from '../restore/restore.js'
import { SimulatedTarget } from './disk.js'
import { SimulationFailure } from './failure.js'
import type { ModelMachine, PointContent } from './model.js'

/** A restore that has begun: its plans are made, nothing is read yet. */
export interface HeldRestore {
  readonly machine: ModelMachine
  readonly point: string
  readonly plans: readonly DiskPlan[]
}

/** Begins to restore all disks of a point. `state` was got in this very turn. */
export async function beginRestore(
  repository: Repository,
  machine: ModelMachine,
  state: ChainState,
  index: number,
): Promise<HeldRestore> {
  const point = state.points[index]
  if (point === undefined) throw new RangeError('no such point')
  // All at once: later the runs of the second disk may be gone.
  const plans = await Promise.allSettled(
    point.disks.map((disk) => planDisk(repository, state, index, disk.id)),
  )
  const made = plans.flatMap((plan) => (plan.status === 'fulfilled' ? [plan.value] : []))
  const failed = plans.find((plan) => plan.status === 'rejected')
  if (failed === undefined) return { machine, point: point.id, plans: made }
  for (const plan of made) plan.pins.end()
  throw failed.reason
}

/** Reads what a restore began on, to its end, and compares every byte. @throws SimulationFailure; what restoring throws */
export async function finishRestore(repository: Repository, held: HeldRestore): Promise<void> {
  const { machine, point, plans } = held
  const restored = new Map<string, SimulatedTarget>()
  let failure: { readonly error: unknown } | undefined
  for (const plan of plans) {
    const target = new SimulatedTarget(plan.sizeBytes)
    restored.set(plan.disk, target)
    try {
      await restoreDisk(repository, plan, target, () => undefined)
      if (!target.isWhole)
        throw new SimulationFailure(`${machine.name} ${point} ${plan.disk}: bytes were left out`)
    } catch (error) {
      failure ??= { error }
      if (!isEverfoldError(error)) throw error
    } finally {
      plan.pins.end()
    }
  }
  const known = machine.contents.get(point)
  if (known === undefined && machine.lost.has(point)) return
  const possible = known === undefined ? machine.candidates() : [known]
  const [content, ...others] = possible.filter((candidate) => agrees(restored, candidate))
  if (content === undefined)
    throw new SimulationFailure(`${machine.name}: point ${point} has other bytes than were backed up`)
  // What little could be read may fit several.
  if (known === undefined && (failure === undefined || others.length === 0))
    machine.contents.set(point, content)
  if (failure !== undefined) throw failure.error
}

/** Restores a point, with nothing going wrong meanwhile. @throws SimulationFailure if that fails though nothing rotted */
export async function mustRestore(
  world: { readonly counts: { comparedPoints: number }; readonly isRotten: boolean },
  machine: ModelMachine,
  point: string,
  restore: () => Promise<void>,
): Promise<void> {
  world.counts.comparedPoints++
  try {
    await restore()
  } catch (error) {
    if (error instanceof SimulationFailure) throw error
    if (world.isRotten && isEverfoldError(error, 'DATA_DAMAGED', 'CHAIN_DAMAGED', 'OBJECT_NOT_FOUND')) return
    throw new SimulationFailure(`${machine.name}: point ${point} cannot be restored: ${String(error)}`, error)
  }
}

/** Are all bytes that were written those of the point? */
function agrees(restored: ReadonlyMap<string, SimulatedTarget>, content: PointContent): boolean {
  if (restored.size !== content.size) return false
  for (const [disk, bytes] of content) if (restored.get(disk)?.agreesWith(bytes) !== true) return false
  return true
}
