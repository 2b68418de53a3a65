import type { z } from 'zod'
import type { protectionReportSchema } from './answers.js'
import { type MachineOverview, sizeOf } from './machine-overview.js'

export type ProtectionReport = z.infer<typeof protectionReportSchema>
type Row = ProtectionReport['machines'][number]

/** Intervals between points whose median is what is expected. */
const INTERVALS_MAX = 20
/** With fewer points nothing is expected yet. */
const POINTS_MIN = 3
const WEEK_MS = 7 * 86_400_000

/** How well machines are protected, judged by the rhythm that their own points show. */
export function protectionOf(machine: MachineOverview, nowMs: number): Row {
  const { points } = machine
  const times = points.map((point) => Date.parse(point.createdAt))
  const newest = points.at(-1)
  const newestMs = times.at(-1)
  // A clock that was put back makes no point younger than now.
  const ageMs = newestMs === undefined ? null : Math.max(0, nowMs - newestMs)
  const expectedMs = expectedInterval(times)
  const lately = points.filter((_, i) => i > 0 && nowMs - (times[i] ?? 0) <= WEEK_MS)
  return {
    machine: machine.machine,
    points: points.length,
    oldestAt: points[0]?.createdAt ?? null,
    newest: newest?.id ?? null,
    newestAt: newest?.createdAt ?? null,
    ageSeconds: ageMs === null ? null : Math.floor(ageMs / 1000),
    expectedIntervalSeconds: expectedMs === null ? null : Math.round(expectedMs / 1000),
    missedIntervals:
      expectedMs === null || ageMs === null ? null : Math.max(0, Math.floor(ageMs / expectedMs) - 1),
    sizeBytes: sizeOf(newest),
    changedBytes7Days: lately.reduce((sum, point) => sum + point.changedBytes, 0),
    storedBytes7Days: lately.reduce((sum, point) => sum + point.storedBytes, 0),
    damage: machine.damage,
  }
}

/** Median of the last intervals, in milliseconds; at least a second, so that a burst of points expects nothing absurd. */
function expectedInterval(times: readonly number[]): number | null {
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
  'missedIntervals',
  'sizeBytes',
  'changedBytes7Days',
  'storedBytes7Days',
  'damage',
]
