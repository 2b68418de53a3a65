import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isTimeZone, periodsOf } from './retention-periods.js'

const at = (time: string, zone: string): ReturnType<typeof periodsOf> => periodsOf(Date.parse(time), zone)

describe('the periods of a moment', () => {
  it('are those that clocks and calendars of its time zone show', () => {
    expect(at('2026-11-20T13:59:59.999Z', 'Europe/Berlin')).toEqual({
      hourly: '2026-11-20 14:00+01:00',
      daily: '2026-11-20',
      weekly: '2026-W47',
      monthly: '2026-11',
      yearly: '2026',
    })
    expect(at('2026-12-31T23:30:00Z', 'Europe/Berlin')).toMatchObject({ daily: '2027-01-01', yearly: '2027' })
    expect(at('2027-01-01T04:59:59Z', 'America/New_York')).toMatchObject({
      daily: '2026-12-31',
      hourly: '2026-12-31 23:00-05:00',
    })
    expect(at('2026-06-01T18:30:00Z', 'Asia/Kolkata').hourly).toBe('2026-06-02 00:00+05:30')
    expect(at('2026-06-01T12:00:00Z', 'Pacific/Kiritimati').daily).toBe('2026-06-02')
    expect(at('2026-06-01T00:00:00Z', 'UTC').hourly).toBe('2026-06-01 00:00+00:00')
    expect(at('1969-12-31T23:59:59.500Z', 'UTC').hourly).toBe('1969-12-31 23:00+00:00')
  })

  it('tell the two 02:30 of the night when summer time ends apart, as hours but not as days', () => {
    const [summer, winter] = [
      at('2026-10-25T00:30:00Z', 'Europe/Berlin'),
      at('2026-10-25T01:30:00Z', 'Europe/Berlin'),
    ]
    expect([summer.hourly, winter.hourly]).toEqual(['2026-10-25 02:00+02:00', '2026-10-25 02:00+01:00'])
    expect(summer.daily).toBe(winter.daily)
    // Half an hour is repeated on Lord Howe Island: 01:30 to 02:00.
    const howe = (time: string): string => at(time, 'Australia/Lord_Howe').hourly
    expect(howe('2026-04-04T14:45:00Z')).toBe('2026-04-05 01:00+11:00')
    expect(howe('2026-04-04T15:15:00Z')).toBe('2026-04-05 01:00+10:30')
  })

  it('skip the hour that summer time skips', () => {
    expect(at('2026-03-29T00:59:00Z', 'Europe/Berlin').hourly).toBe('2026-03-29 01:00+01:00')
    expect(at('2026-03-29T01:00:00Z', 'Europe/Berlin').hourly).toBe('2026-03-29 03:00+02:00')
  })

  it.each([
    ['2026-01-01', '2026-W01'],
    ['2025-12-29', '2026-W01'],
    ['2025-12-28', '2025-W52'],
    ['2027-01-03', '2026-W53'],
    ['2027-01-04', '2027-W01'],
    ['2021-01-03', '2020-W53'],
    ['2023-01-01', '2022-W52'],
    ['2024-12-30', '2025-W01'],
    ['2024-02-29', '2024-W09'],
  ])('put %s into the ISO week %s', (day, week) => {
    expect(at(`${day}T00:00:00Z`, 'UTC').weekly).toBe(week)
    expect(at(`${day}T23:59:59.999Z`, 'UTC').weekly).toBe(week)
  })

  it('last as long as periods do, at any time of a time zone with whole hours', () => {
    const moment = fc.integer({ min: Date.parse('2000-01-01'), max: Date.parse('2050-01-01') })
    const zone = fc.constantFrom('UTC', 'Europe/Berlin', 'America/New_York', 'Pacific/Auckland')
    fc.assert(
      fc.property(moment, zone, (time, timeZone) => {
        const [now, hourLater, weekLater] = [0, 3_600_000, 7 * 86_400_000].map((ms) =>
          periodsOf(time + ms, timeZone),
        )
        expect(hourLater?.hourly).not.toBe(now?.hourly)
        expect(periodsOf(time - (time % 3_600_000), timeZone).hourly).toBe(now?.hourly)
        expect(weekLater?.weekly).not.toBe(now?.weekly)
        expect(weekLater?.daily).not.toBe(now?.daily)
      }),
    )
  })
})

describe('time zones', () => {
  it('are known by their IANA names', () => {
    expect(['UTC', 'Europe/Berlin', 'America/Argentina/Buenos_Aires'].map(isTimeZone)).toEqual([
      true,
      true,
      true,
    ])
    expect(['', 'Mars/Olympus', 'Europe/berlin2', '../etc'].map(isTimeZone)).toEqual([
      false,
      false,
      false,
      false,
    ])
  })
})
