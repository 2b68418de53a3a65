/** Hours, days, ISO weeks, months and years of a time zone, as retention counts them. */

export const PERIOD_KINDS = ['hourly', 'daily', 'weekly', 'monthly', 'yearly'] as const
export type PeriodKind = (typeof PERIOD_KINDS)[number]

/** Formatters are slow to make, so they are kept; names come from users, so no more of them than this. */
const FORMATTERS_MAX = 64
const formatters = new Map<string, Intl.DateTimeFormat>()

const MINUTE_MS = 60_000
const DAY_MS = 86_400_000

/**
 * The periods that a moment lies in, as text: equal text means the same period. For people, too.
 *
 * An hour's text has its offset from UTC, because the hour that is repeated when summer time ends is two hours. Hours
 * start where the zone's clocks show a full one, which in Asia/Kolkata is half past in UTC.
 *
 * @param timeMs  milliseconds since 1970, UTC
 * @returns such as `{ hourly: '2026-11-20 14:00+01:00', daily: '2026-11-20', weekly: '2026-W47', monthly: '2026-11',
 *          yearly: '2026' }`
 * @throws RangeError if there is no such time zone
 */
export function periodsOf(timeMs: number, timeZone: string): Readonly<Record<PeriodKind, string>> {
  const local = localMs(timeMs, timeZone)
  const text = new Date(local).toISOString()
  const day = text.slice(0, 10)
  const offsetMinutes = Math.round((local - timeMs) / MINUTE_MS)
  return {
    hourly: `${day} ${text.slice(11, 13)}:00${offsetText(offsetMinutes)}`,
    daily: day,
    weekly: isoWeek(local),
    monthly: day.slice(0, 7),
    yearly: day.slice(0, 4),
  }
}

/** Is there a time zone of this name? */
export function isTimeZone(name: string): boolean {
  try {
    formatterOf(name)
    return true
  } catch (error) {
    if (error instanceof RangeError) return false
    throw error
  }
}

/** What the zone's clocks show at a moment, as if they were in UTC. */
export function localMs(timeMs: number, timeZone: string): number {
  const fields: Record<string, number> = {}
  for (const { type, value } of formatterOf(timeZone).formatToParts(timeMs)) fields[type] = Number(value)
  const { year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0 } = fields
  return Date.UTC(year, month - 1, day, hour, minute, second) + (((timeMs % 1000) + 1000) % 1000)
}

function formatterOf(timeZone: string): Intl.DateTimeFormat {
  const known = formatters.get(timeZone)
  if (known !== undefined) return known
  const made = new Intl.DateTimeFormat('en-US', {
    timeZone,
    calendar: 'gregory',
    numberingSystem: 'latn',
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  })
  if (formatters.size >= FORMATTERS_MAX) formatters.clear()
  formatters.set(timeZone, made)
  return made
}

/** `+01:00` */
function offsetText(minutes: number): string {
  const two = (value: number): string => String(value).padStart(2, '0')
  const size = Math.abs(minutes)
  return `${minutes < 0 ? '-' : '+'}${two(Math.floor(size / 60))}:${two(size % 60)}`
}

/** ISO 8601: weeks start on Monday, and a week belongs to the year that its Thursday is in. `2026-W47` */
function isoWeek(localTimeMs: number): string {
  const weekday = (new Date(localTimeMs).getUTCDay() + 6) % 7
  const thursday = new Date(localTimeMs + (3 - weekday) * DAY_MS)
  const year = thursday.getUTCFullYear()
  const week = 1 + Math.floor((thursday.getTime() - Date.UTC(year, 0, 1)) / (7 * DAY_MS))
  return `${year}-W${String(week).padStart(2, '0')}`
}
