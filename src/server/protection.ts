import type * as z from 'zod'
import type { PointState } from '../chain/chain-state.js'
import type { protectionReportSchema } from './answers.js'
import { type MachineOverview, sizeOf } from './machine-overview.js'

export type ProtectionReport = z.infer<typeof protectionReportSchema>
type Row = ProtectionReport['machines'][number]

/** Intervals between points whose median is what is expected. */
const INTERVALS_MAX = 20
/** With fewer points nothing is expected yet. */
const POINTS_MIN = 3
const DAY_MS = 86_400_000
const WEEK_MS = 7 * DAY_MS

/**
 * How well a machine is protected, judged by the interval that the configuration expects, or else by the rhythm that its own points show.
 * @param configuredSeconds  undefined: the configuration says nothing of it
 */
export function protectionOf(
  machine: MachineOverview,
  configuredSeconds: number | undefined,
  nowMs: number,
): Row {
  const { points } = machine
  const times = points.map((point) => Date.parse(point.createdAt))
  const newest = points.at(-1)
  const newestMs = times.at(-1)
  // A clock that was put back makes no point younger than now.
  const ageMs = newestMs === undefined ? null : Math.max(0, nowMs - newestMs)
  const expectedMs = configuredSeconds === undefined ? usualInterval(times) : configuredSeconds * 1000
  const missed =
    expectedMs === null || ageMs === null ? null : Math.max(0, Math.floor(ageMs / expectedMs) - 1)
  const lately = points.filter((_, i) => i > 0 && nowMs - (times[i] ?? 0) <= WEEK_MS)
  const sum = (of: readonly PointState[], key: 'changedBytes' | 'newBytes' | 'storedBytes'): number =>
    of.reduce((total, point) => total + point[key], 0)
  return {
    machine: machine.machine,
    points: points.length,
    oldestAt: points[0]?.createdAt ?? null,
    newest: newest?.id ?? null,
    newestAt: newest?.createdAt ?? null,
    ageSeconds: ageMs === null ? null : Math.floor(ageMs / 1000),
    expectedIntervalSeconds: expectedMs === null ? null : Math.round(expectedMs / 1000),
    expectedFrom: expectedMs === null ? null : configuredSeconds === undefined ? 'median' : 'configuration',
    missedIntervals: missed,
    state: newest === undefined ? 'never' : missed === null ? 'unknown' : missed === 0 ? 'on time' : 'late',
    sizeBytes: sizeOf(newest),
    changedBytes7Days: sum(lately, 'changedBytes'),
    storedBytes7Days: sum(lately, 'storedBytes'),
    storedBytesPerDay: perDay(sum(lately, 'storedBytes'), times, nowMs),
    deduplicationRatio: ratio(sum(points, 'changedBytes'), sum(points, 'newBytes')),
    compressionRatio: ratio(sum(points, 'newBytes'), sum(points, 'storedBytes')),
    damage: machine.damage,
  }
}

/** By the days since the first point, up to a week; what came in less than a day counts as if it were one. */
function perDay(bytes: number, times: readonly number[], nowMs: number): number | null {
  const [first] = times
  if (first === undefined || times.length < 2) return null
  const days = Math.min(WEEK_MS, Math.max(DAY_MS, nowMs - first)) / DAY_MS
  return Math.round(bytes / days)
}

function ratio(before: number, after: number): number | null {
  return after === 0 ? null : Math.round((before / after) * 100) / 100
}

/** Median of the last intervals, in milliseconds; at least a second, so that a burst of points expects nothing absurd. */
function usualInterval(times: readonly number[]): number | null {
  if (times.length < POINTS_MIN) return null
  const intervals = times.slice(1).map((time, i) => Math.max(0, time - (times[i] ?? time)))
  const sorted = intervals.slice(-INTERVALS_MAX).sort((a, b) => a - b)
  return Math.max(1000, sorted[sorted.length >> 1] ?? 0)
}

export const PROTECTION_COLUMNS: readonly (keyof Row)[] = [
  'machine',
  'points',
  'oldestAt',
  'newest',
  'newestAt',
  'ageSeconds',
  'expectedIntervalSeconds',
  'expectedFrom',
  'missedIntervals',
  'state',
  'sizeBytes',
  'changedBytes7Days',
  'storedBytes7Days',
  'storedBytesPerDay',
  'deduplicationRatio',
  'compressionRatio',
  'damage',
]
