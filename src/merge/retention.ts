import type { PointState, RetentionPolicy } from '../chain/chain-state.js'
import { newestWhole } from './damaged-points.js'
import { isPinned, pinText } from './pins.js'
import { PERIOD_KINDS, periodsOf } from './retention-periods.js'
import { checkPolicy, durationText, TIME_ZONE_DEFAULT } from './retention-policy.js'

/** What a policy says of one point. */
export interface PointDecision {
  readonly point: PointState
  readonly keep: boolean
  /** In plain words, every rule that keeps the point; or why it goes. Never empty. */
  readonly reasons: readonly string[]
}

/**
 * Decides which points of a machine stay. Pure: it removes nothing.
 *
 * A point stays if any rule keeps it; the rules do not know of each other.
 * - last N: the N newest points.
 * - hourly, daily, weekly, monthly, yearly N: walking from the newest point, the first (so the newest) of each period,
 *   until N periods are found. Periods without points do not count, so a machine that was off for a month loses nothing.
 * - points younger than the minimum age, and from the future, which says that some clock is wrong.
 * - pinned points, while the pin holds.
 * - the newest point, always; and the newest that is whole, if that one is known to be damaged.
 *
 * That is what restic's `forget` means by its --keep options (https://restic.readthedocs.io/en/stable/060_forget.html).
 * Proxmox Backup Server's `prune` counts alike, but lets a rule begin where the one before it ended, so that the same
 * numbers reach further back there (https://pbs.proxmox.com/docs/maintenance.html).
 * Unlike restic since 0.17, the oldest point is not kept only because a rule found fewer periods than it asks for.
 *
 * @param points  the chain's points, oldest first; their order counts as their age, whatever the clock said
 * @param nowMs   milliseconds since 1970, UTC
 * @param damaged ids of points that are known to be damaged
 * @returns one decision for each point, in the order of `points`
 * @throws POLICY_INVALID as {@link checkPolicy}
 */
export function decideRetention(
  points: readonly PointState[],
  policy: RetentionPolicy,
  nowMs: number,
  damaged: ReadonlySet<string> = new Set(),
): readonly PointDecision[] {
  checkPolicy(policy)
  const keeping = keepingReasons(points, policy, nowMs, newestWhole(points, damaged))
  return points.map((point, i) => {
    const reasons = keeping[i] ?? []
    return reasons.length > 0
      ? { point, keep: true, reasons }
      : { point, keep: false, reasons: [whyRemoved(point)] }
  })
}

function keepingReasons(
  points: readonly PointState[],
  policy: RetentionPolicy,
  nowMs: number,
  whole: PointState | undefined,
): string[][] {
  const timeZone = policy.timeZone ?? TIME_ZONE_DEFAULT
  const last = policy.last ?? 0
  const minAgeSeconds = policy.minAgeSeconds ?? 0
  const found = new Map(PERIOD_KINDS.map((kind) => [kind, new Set<string>()]))
  const all: string[][] = []
  for (const [age, point] of points.toReversed().entries()) {
    const createdMs = Date.parse(point.createdAt)
    const reasons: string[] = []
    if (age === 0) reasons.push('newest')
    else if (point === whole) reasons.push('newest that is whole')
    if (age < last) reasons.push(`last ${last}`)
    const periods = periodsOf(createdMs, timeZone)
    for (const [kind, seen] of found) {
      if (seen.size >= (policy[kind] ?? 0) || seen.has(periods[kind])) continue
      seen.add(periods[kind])
      reasons.push(`${kind} ${periods[kind]}`)
    }
    if (minAgeSeconds > 0 && nowMs - createdMs < minAgeSeconds * 1000)
      reasons.push(`younger than ${durationText(minAgeSeconds)}`)
    if (point.pin !== undefined && isPinned(point, nowMs)) reasons.push(pinText(point.pin))
    all.push(reasons)
  }
  return all.reverse()
}

function whyRemoved(point: PointState): string {
  return point.pin?.until === undefined
    ? 'no rule keeps it'
    : `no rule keeps it, and its pin ended ${point.pin.until}`
}
