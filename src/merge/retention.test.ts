import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Pin, PointState, RetentionPolicy } from '../chain/chain-state.js'
import { decideRetention } from './retention.js'
import { COUNT_KINDS, durationText, policyText } from './retention-policy.js'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

function pointAt(time: string | number, pin?: Pin): PointState {
  return {
    id: 'a0000000',
    createdAt: new Date(time).toISOString(),
    ...(pin === undefined ? {} : { pin }),
    disks: [],
    readBytes: 0,
    changedBytes: 0,
    newBytes: 0,
    storedBytes: 0,
    seconds: 0,
  }
}

/** The times of the points that are kept, oldest first, shortened to `length` characters. */
function kept(points: readonly PointState[], policy: RetentionPolicy, length: number, now = 0): string[] {
  return decideRetention(points, policy, now)
    .filter(({ keep }) => keep)
    .map(({ point }) => point.createdAt.slice(0, length))
}

function every(stepMs: number, from: string, to: string): PointState[] {
  const points: PointState[] = []
  for (let time = Date.parse(from); time <= Date.parse(to); time += stepMs) points.push(pointAt(time))
  return points
}

describe('a policy', () => {
  const daily = every(DAY_MS, '2024-01-01T20:00Z', '2026-11-20T20:00Z')

  it('keeps the last N points', () => {
    expect(kept(daily, { last: 3 }, 10)).toEqual(['2026-11-18', '2026-11-19', '2026-11-20'])
    expect(kept(daily, { last: 5000 }, 10)).toHaveLength(daily.length)
  })

  it('keeps the newest point of each hour', () => {
    const points = every(15 * 60_000, '2026-11-20T08:00Z', '2026-11-20T12:30Z')
    expect(kept(points, { hourly: 3 }, 16)).toEqual([
      '2026-11-20T10:45',
      '2026-11-20T11:45',
      '2026-11-20T12:30',
    ])
  })

  it('keeps the newest point of each day', () => {
    const points = every(6 * HOUR_MS, '2026-11-01T00:00Z', '2026-11-20T12:00Z')
    expect(kept(points, { daily: 3 }, 13)).toEqual(['2026-11-18T18', '2026-11-19T18', '2026-11-20T12'])
  })

  it('keeps the newest point of each ISO week: Sundays, also where the year changes', () => {
    const points = every(DAY_MS, '2026-12-01T20:00Z', '2027-01-06T20:00Z')
    expect(kept(points, { weekly: 3 }, 10)).toEqual(['2026-12-27', '2027-01-03', '2027-01-06'])
  })

  it('keeps the newest point of each month and of each year', () => {
    expect(kept(daily, { monthly: 3 }, 10)).toEqual(['2026-09-30', '2026-10-31', '2026-11-20'])
    expect(kept(daily, { yearly: 2 }, 10)).toEqual(['2025-12-31', '2026-11-20'])
    expect(kept(daily, { yearly: 9 }, 10)).toEqual(['2024-12-31', '2025-12-31', '2026-11-20'])
  })

  it('keeps grandfather, father and son, each by rules that do not know of each other', () => {
    expect(kept(daily, { daily: 7, weekly: 4, monthly: 3, yearly: 3 }, 10)).toEqual([
      '2024-12-31',
      '2025-12-31',
      '2026-09-30',
      '2026-10-31',
      '2026-11-01',
      '2026-11-08',
      '2026-11-14',
      '2026-11-15',
      '2026-11-16',
      '2026-11-17',
      '2026-11-18',
      '2026-11-19',
      '2026-11-20',
    ])
  })

  it('does not count periods without points: a machine that was off loses nothing', () => {
    const points = ['2025-01-05', '2025-01-06', '2026-03-01', '2026-11-20'].map((day) => pointAt(day))
    expect(kept(points, { daily: 3 }, 10, Date.parse('2030-01-01'))).toEqual([
      '2025-01-06',
      '2026-03-01',
      '2026-11-20',
    ])
  })

  it('counts days as the time zone has them', () => {
    // In Tokyo, the first two are of one day and the last two of the next.
    const times = ['2026-11-18T15:00Z', '2026-11-19T14:59Z', '2026-11-19T15:00Z', '2026-11-20T01:00Z']
    const points = times.map((time) => pointAt(time))
    expect(kept(points, { daily: 2, timeZone: 'Asia/Tokyo' }, 16)).toEqual([
      '2026-11-19T14:59',
      '2026-11-20T01:00',
    ])
    expect(kept(points, { daily: 2 }, 16)).toEqual(['2026-11-19T15:00', '2026-11-20T01:00'])
  })

  it('keeps both 02:30 of an autumn night as hours, and one of them as the day', () => {
    const night = every(HOUR_MS, '2026-10-24T23:30Z', '2026-10-25T02:30Z')
    expect(kept(night, { hourly: 3, timeZone: 'Europe/Berlin' }, 16)).toEqual([
      '2026-10-25T00:30',
      '2026-10-25T01:30',
      '2026-10-25T02:30',
    ])
    expect(kept(night, { daily: 1, timeZone: 'Europe/Berlin' }, 16)).toEqual(['2026-10-25T02:30'])
  })

  it('keeps what is younger than the minimum age, and what is from the future', () => {
    const points = every(HOUR_MS, '2026-11-20T00:00Z', '2026-11-20T12:00Z')
    const policy = { last: 1, minAgeSeconds: 2 * 3600 }
    const reach = (now: string): string[] => kept(points, policy, 13, Date.parse(now))
    expect(reach('2026-11-20T12:30Z')).toEqual(['2026-11-20T11', '2026-11-20T12'])
    expect(reach('2026-11-20T13:00Z')).toEqual(['2026-11-20T12'])
    expect(reach('2026-11-20T09:30Z')).toEqual(
      [8, 9, 10, 11, 12].map((h) => `2026-11-20T${String(h).padStart(2, '0')}`),
    )
  })

  it('keeps pinned points until their time has passed', () => {
    const until = '2026-11-20T12:00:00.000Z'
    const points = [
      pointAt('2026-01-01', { reason: 'audit' }),
      pointAt('2026-01-02', { reason: 'x', until }),
      pointAt('2026-01-03'),
    ]
    const reach = (now: number): string[] => kept(points, { last: 1 }, 10, now)
    expect(reach(Date.parse(until) - 1)).toEqual(['2026-01-01', '2026-01-02', '2026-01-03'])
    expect(reach(Date.parse(until))).toEqual(['2026-01-01', '2026-01-03'])
  })

  it('takes the order of the chain for the age of points, also when a clock jumped', () => {
    const points = ['2026-11-01', '2031-01-01', '2026-11-02', '2026-11-03'].map((day) => pointAt(day))
    expect(kept(points, { last: 2 }, 10)).toEqual(['2026-11-02', '2026-11-03'])
    expect(kept(points, { yearly: 1 }, 10)).toEqual(['2026-11-03'])
  })

  it('decides nothing about a machine without points', () => {
    expect(decideRetention([], { last: 1 }, 0)).toEqual([])
  })
})

describe('reasons', () => {
  it('name every rule that keeps a point, and why one goes', () => {
    const points = [
      pointAt('2026-10-01', { reason: 'old', until: '2026-11-01T00:00:00.000Z' }),
      pointAt('2026-10-02', { reason: 'before upgrade' }),
      pointAt('2026-11-01T10:00Z', { reason: 'tax', until: '2027-01-01T00:00:00.000Z' }),
      pointAt('2026-11-19T10:00Z'),
      pointAt('2026-11-19T11:00Z'),
      pointAt('2026-11-20T10:00Z'),
    ]
    const policy = { last: 1, hourly: 2, daily: 2, weekly: 1, monthly: 1, yearly: 1, minAgeSeconds: 172_800 }
    const decisions = decideRetention(points, policy, Date.parse('2026-11-21T10:30Z'))
    expect(decisions.map(({ reasons }) => reasons)).toEqual([
      ['no rule keeps it, and its pin ended 2026-11-01T00:00:00.000Z'],
      ['pinned: before upgrade'],
      ['pinned: tax (until 2027-01-01T00:00:00.000Z)'],
      ['no rule keeps it'],
      ['hourly 2026-11-19 11:00+00:00', 'daily 2026-11-19', 'younger than 2 days'],
      [
        'newest',
        'last 1',
        'hourly 2026-11-20 10:00+00:00',
        'daily 2026-11-20',
        'weekly 2026-W47',
        'monthly 2026-11',
        'yearly 2026',
        'younger than 2 days',
      ],
    ])
    expect(decisions.map(({ keep }) => keep)).toEqual([false, true, true, false, true, true])
  })

  it('say durations and policies as people do', () => {
    expect([1, 90, 7200, 86_400, 129_600, 172_800, 1_209_600].map(durationText)).toEqual([
      '1 second',
      '90 seconds',
      '2 hours',
      '1 day',
      '36 hours',
      '2 days',
      '2 weeks',
    ])
    expect(policyText({ last: 3, daily: 0, weekly: 4, minAgeSeconds: 60, timeZone: 'Asia/Tokyo' })).toBe(
      'last 3, weekly 4, younger than 1 minute (Asia/Tokyo)',
    )
    expect(policyText({ daily: 7 })).toBe('daily 7 (UTC)')
  })
})

describe('a policy that makes no sense is refused', () => {
  const invalid: [string, RetentionPolicy, RegExp][] = [
    ['empty', {}, /keeps no point/],
    ['all zero', { last: 0, daily: 0 }, /keeps no point/],
    ['only a minimum age', { minAgeSeconds: 86_400 }, /keeps no point/],
    ['only a time zone', { timeZone: 'UTC' }, /keeps no point/],
    ['negative', { last: -1, daily: 7 }, /last/],
    ['fractional', { daily: 1.5 }, /daily/],
    ['not a number', { monthly: Number.NaN }, /monthly/],
    ['endless', { yearly: Infinity }, /yearly/],
    ['too large', { hourly: 1_000_001 }, /hourly/],
    ['a negative age', { last: 1, minAgeSeconds: -1 }, /minAgeSeconds/],
    ['a rule of the future', { last: 1, decadely: 3 } as RetentionPolicy, /decadely/],
    ['a time zone of nowhere', { last: 1, timeZone: 'Mars/Olympus' }, /no time zone "Mars\/Olympus"/],
  ]
  it.each(invalid)('%s', (_name, policy, message) => {
    for (const points of [[], [pointAt(0)]])
      expect(() => decideRetention(points, policy, 0)).toThrow(
        expect.objectContaining({ code: 'POLICY_INVALID', message: expect.stringMatching(message) }),
      )
  })
})

describe('whatever the points and the policy', () => {
  const now = Date.parse('2026-11-20T12:00Z')
  const arbitraryPin = fc.option(
    fc.record({ until: fc.option(fc.integer({ min: -5, max: 5 })) }).map(({ until }): Pin => {
      const reason = 'because'
      return until === null ? { reason } : { reason, until: new Date(now + until * DAY_MS).toISOString() }
    }),
    { freq: 5 },
  )
  const arbitraryPoint = fc
    .tuple(fc.integer({ min: -3 * 366 * 24 * 4, max: 100 }), arbitraryPin)
    .map(([quarters, pin]) => pointAt(now + quarters * (HOUR_MS / 4), pin ?? undefined))
  const arbitraryPoints = fc.oneof(
    fc.array(arbitraryPoint, { minLength: 1, maxLength: 80 }),
    fc
      .array(arbitraryPoint, { minLength: 1, maxLength: 80 })
      .map((points) => points.toSorted((a, b) => a.createdAt.localeCompare(b.createdAt))),
  )
  const arbitraryPolicy = fc
    .record({
      last: fc.nat(5),
      hourly: fc.nat(5),
      daily: fc.nat(5),
      weekly: fc.nat(5),
      monthly: fc.nat(5),
      yearly: fc.nat(5),
      minAgeSeconds: fc.constantFrom(0, 3600, 86_400 * 30),
      timeZone: fc.constantFrom('UTC', 'Europe/Berlin', 'America/St_Johns', 'Asia/Kolkata'),
    })
    .filter((policy) => COUNT_KINDS.some((kind) => policy[kind] > 0))
  const keeps = (points: readonly PointState[], policy: RetentionPolicy): PointState[] =>
    decideRetention(points, policy, now).flatMap(({ keep, point }) => (keep ? [point] : []))

  it('every point gets one decision with a reason, and the newest stays', () => {
    fc.assert(
      fc.property(arbitraryPoints, arbitraryPolicy, (points, policy) => {
        const decisions = decideRetention(points, policy, now)
        expect(decisions.map(({ point }) => point)).toEqual(points)
        for (const { reasons } of decisions) expect(reasons.length).toBeGreaterThan(0)
        expect(decisions.at(-1)?.keep).toBe(true)
      }),
    )
  })

  it('larger counts and ages keep all that smaller ones keep', () => {
    const more = fc.record({
      kind: fc.constantFrom(...COUNT_KINDS, 'minAgeSeconds' as const),
      by: fc.nat(100_000),
    })
    fc.assert(
      fc.property(arbitraryPoints, arbitraryPolicy, more, (points, policy, { kind, by }) => {
        const larger = new Set(keeps(points, { ...policy, [kind]: policy[kind] + by }))
        for (const point of keeps(points, policy)) expect(larger.has(point)).toBe(true)
      }),
    )
  })

  it('applying it again right away removes nothing', () => {
    fc.assert(
      fc.property(arbitraryPoints, arbitraryPolicy, (points, policy) => {
        const left = keeps(points, policy)
        expect(keeps(left, policy)).toEqual(left)
      }),
    )
  })

  it('pins that hold keep their points, and a pin changes nothing for the others', () => {
    fc.assert(
      fc.property(arbitraryPoints, arbitraryPolicy, (points, policy) => {
        const holding = (point: PointState): boolean =>
          point.pin !== undefined && (point.pin.until === undefined || Date.parse(point.pin.until) > now)
        const bare = points.map(({ pin: _pin, ...point }): PointState => point)
        const without = decideRetention(bare, policy, now)
        for (const [i, { point, keep }] of decideRetention(points, policy, now).entries())
          expect(keep).toBe(holding(point) || without[i]?.keep)
      }),
    )
  })

  it('in UTC, what it keeps is what counting by the text of the times keeps', () => {
    const lengths = { hourly: 13, daily: 10, monthly: 7, yearly: 4 }
    fc.assert(
      fc.property(
        arbitraryPoints,
        fc.constantFrom('hourly', 'daily', 'monthly', 'yearly'),
        fc.integer({ min: 1, max: 6 }),
        (points, kind, count) => {
          const bare = points.map(({ pin: _pin, ...point }): PointState => point)
          const newestOf = new Map<string, PointState>()
          for (const point of bare.toReversed()) {
            const period = point.createdAt.slice(0, lengths[kind])
            if (!newestOf.has(period)) newestOf.set(period, point)
          }
          const expected = new Set([...newestOf.values()].slice(0, count))
          expect(new Set(keeps(bare, { [kind]: count }))).toEqual(expected)
        },
      ),
    )
  })
})
