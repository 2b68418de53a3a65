import { stopIfCancelled } from '../cancellation.js'
import type { RetentionPolicy } from '../chain/chain-state.js'
import type { Repository } from '../chain/repository.js'
import { EverfoldError, errorJson, isEverfoldError } from '../errors.js'
import { freedByRemoving } from './account.js'
import { damagedPoints } from './damaged-points.js'
import { removePoints } from './fold.js'
import { type PolicyInForce, savedPolicy } from './retain-policy.js'
import { decideRetention, type PointDecision } from './retention.js'

export interface RetainOptions {
  /** Holds instead of whatever is saved. */
  readonly policy?: RetentionPolicy
  /** Holds instead of the repository's default, for machines that have no policy of their own. */
  readonly defaultPolicy?: RetentionPolicy
  /** Only tell what would be removed. */
  readonly dryRun?: boolean
  /** Of all machines: those that are done. */
  readonly onProgress?: (done: number, total: number) => void
  /** Ends it between two machines. */
  readonly signal?: AbortSignal | undefined
}

export interface RetainedPoint {
  readonly point: string
  readonly createdAt: string
  readonly keep: boolean
  readonly reasons: readonly string[]
}

/** What retention did to one machine, or would do. */
export interface RetainResult extends PolicyInForce {
  readonly machine: string
  readonly dryRun: boolean
  /** All points that were looked at, oldest first. */
  readonly points: readonly RetainedPoint[]
  /** Ids of those that are gone; in a dry run: that would be. */
  readonly removed: readonly string[]
  /** Stored bytes that nothing would need any more if only this machine lost its points. Null unless in a dry run. */
  readonly freedBytes: number | null
}

export interface RetainReport {
  readonly machines: readonly RetainResult[]
  /** Machines for which neither a policy was given nor one is saved. */
  readonly withoutPolicy: readonly string[]
  /** Machines whose retention failed; that of the others went on. */
  readonly failed: readonly { readonly machine: string; readonly error: unknown }[]
}

/** Times to decide anew when points, pins or the chain changed between decision and removal. */
const ATTEMPTS_MAX = 5

/**
 * Removes the points of a machine that its policy does not keep, or those of all machines.
 * @throws if a machine is named: POLICY_INVALID, also if it has no policy; MACHINE_UNKNOWN, CHAIN_DAMAGED, and as
 *         savedPolicy and removePoints: nothing was changed then. For all machines: POLICY_INVALID, if `policy` is; what
 *         fails for one machine is in the report. CANCELLED.
 */
export async function retain(
  repository: Repository,
  machine: string | undefined,
  options: RetainOptions = {},
): Promise<RetainReport> {
  if (machine === undefined) return retainAll(repository, options)
  const result = await retainMachine(repository, machine, options)
  if (result !== undefined) return { machines: [result], withoutPolicy: [], failed: [] }
  throw new EverfoldError(
    'POLICY_INVALID',
    `No retention policy is saved for "${machine}", nor for the repository. Say what to keep, such as: everfold retain ${machine} --daily 7 --weekly 4`,
    { details: { machine } },
  )
}

/** What the saved policy did after a backup: ids of the points that it removed, or why it failed. */
export type AfterBackup =
  | { readonly removed: readonly string[] }
  | { readonly error: ReturnType<typeof errorJson> }

/**
 * Applies what is saved for a machine, if anything is. If it fails, the chain is as it was.
 * @returns undefined if no policy is saved
 */
export async function retainAfterBackup(
  repository: Repository,
  machine: string,
): Promise<AfterBackup | undefined> {
  try {
    const removed = (await retainMachine(repository, machine, {}))?.removed
    return removed === undefined ? undefined : { removed }
  } catch (error) {
    return { error: errorJson(error) }
  }
}

async function retainAll(repository: Repository, options: RetainOptions): Promise<RetainReport> {
  const machines: RetainResult[] = []
  const withoutPolicy: string[] = []
  const failed: { machine: string; error: unknown }[] = []
  // Before anything is removed by it.
  if (options.policy !== undefined) decideRetention([], options.policy, 0)
  const names = await repository.chains.allMachines()
  for (const [done, machine] of names.entries()) {
    options.onProgress?.(done, names.length)
    stopIfCancelled(options.signal)
    try {
      if (((await repository.chains.find(machine))?.state.points.length ?? 0) === 0) continue
      const result = await retainMachine(repository, machine, options)
      if (result === undefined) withoutPolicy.push(machine)
      else machines.push(result)
    } catch (error) {
      failed.push({ machine, error })
    }
  }
  return { machines, withoutPolicy, failed }
}

async function retainMachine(
  repository: Repository,
  machine: string,
  options: RetainOptions,
): Promise<RetainResult | undefined> {
  for (let attempt = 1; ; attempt++) {
    const inForce: PolicyInForce | undefined =
      options.policy === undefined
        ? await savedPolicy(repository, machine, options.defaultPolicy)
        : { policy: options.policy, source: 'given' }
    if (inForce === undefined) return undefined
    const decisions = await decide(repository, machine, inForce.policy)
    const remove = decisions.filter(({ keep }) => !keep).map(({ point }) => point.id)
    const dryRun = options.dryRun === true
    try {
      if (!dryRun && remove.length > 0) await removePoints(repository, machine, new Set(remove))
    } catch (error) {
      // Somebody removed or pinned points meanwhile: what is right now has to be decided again.
      const changed = isEverfoldError(error, 'POINT_UNKNOWN', 'POINT_PINNED', 'LAST_POINT', 'CONFLICT')
      if (!changed || attempt === ATTEMPTS_MAX) throw error
      continue
    }
    const freedBytes = dryRun ? await freedBy(repository, machine, remove) : null
    return { machine, ...inForce, dryRun, points: decisions.map(describe), removed: remove, freedBytes }
  }
}

async function decide(
  repository: Repository,
  machine: string,
  policy: RetentionPolicy,
): Promise<readonly PointDecision[]> {
  const { state, damaged } = await repository.chains.get(machine)
  if (damaged.length === 0) {
    const points = await damagedPoints(repository, state)
    return decideRetention(state.points, policy, repository.environment.now(), points)
  }
  throw new EverfoldError(
    'CHAIN_DAMAGED',
    `The newest chain state of "${machine}" is damaged, so points and pins may be missing, and retention removes nothing. Run: everfold verify`,
    { details: { machine, damagedSequences: damaged } },
  )
}

async function freedBy(repository: Repository, machine: string, remove: readonly string[]): Promise<number> {
  return remove.length === 0 ? 0 : freedByRemoving(repository, machine, new Set(remove))
}

function describe({ point, keep, reasons }: PointDecision): RetainedPoint {
  return { point: point.id, createdAt: point.createdAt, keep, reasons }
}
