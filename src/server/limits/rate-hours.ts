import { localMs } from '../../merge/retention-periods.js'
import { DAYS, type RatesConfig } from '../config/service-config.js'

export type Direction = 'in' | 'out'

const MINUTE_MS = 60_000
const DAY_MINUTES = 24 * 60

/** Bytes per second that hold at a moment; Infinity: as many as there are. The first of the hours that cover it, and say it, have the say. */
export function rateAt(
  rates: RatesConfig | undefined,
  direction: Direction,
  timeZone: string,
  nowMs: number,
): number {
  if (rates === undefined) return Infinity
  const { hours = [] } = rates
  if (hours.length > 0) {
    const local = new Date(localMs(nowMs, timeZone))
    const minute = Math.floor((local.getTime() % (DAY_MINUTES * MINUTE_MS)) / MINUTE_MS)
    for (const span of hours)
      if (span[direction] !== undefined && covers(span, local.getUTCDay(), minute)) return span[direction]
  }
  return rates[direction] ?? Infinity
}

type Hours = NonNullable<RatesConfig['hours']>[number]

/** What goes past midnight belongs to the day on which it begins. */
function covers({ days, from, to }: Hours, day: number, minute: number): boolean {
  const on = (weekday: number): boolean => days?.includes(DAYS[(weekday + 7) % 7] ?? 'sun') ?? true
  if (from < to) return on(day) && from <= minute && minute < to
  return (on(day) && minute >= from) || (on(day - 1) && minute < to)
}
