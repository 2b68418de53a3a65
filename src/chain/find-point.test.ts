import { describe, expect, it } from 'vitest'

import { chainState, pointState } from '../../test/format-states.js'
import { findPoint } from './find-point.js'

const state = chainState('web', 5, [
  pointState('abc00000', [], '2026-05-01T12:00:00.000Z'),
  pointState('abd11111', [], '2026-05-02T12:00:00.000Z'),
  pointState('b2222222', [], '2026-05-03T12:00:00.000Z'),
])

function indexOf(wanted: string): number {
  return findPoint(state, wanted).index
}

describe('findPoint', () => {
  it.each([
    ['latest', 2],
    ['parent', 0],
    ['abc00000', 0],
    ['abd', 1],
    ['b', 2],
    ['ABD1', 1],
    ['2026-05-02T12:00:00Z', 1],
    ['2026-05-02T14:00:00+02:00', 1],
    ['2026-05-02T13:59:59+02:00', 0],
    ['2026-05-03T11:59:59.999Z', 1],
    ['2030-01-01', 2],
  ])('takes %s for point %i', (wanted, index) => {
    expect(findPoint(state, wanted)).toEqual({ index, point: state.points[index] })
  })

  it('takes a day, and a time without a zone, as local', () => {
    const zone = process.env['TZ']
    try {
      process.env['TZ'] = 'America/New_York'
      expect(indexOf('2026-05-02T08:00:00')).toBe(1)
      expect(indexOf('2026-05-02T07:59:59')).toBe(0)
      process.env['TZ'] = 'Pacific/Kiritimati' // 14 hours ahead: this day begins there at 10:00 of the day before in UTC
      expect(indexOf('2026-05-04')).toBe(1)
      expect(indexOf('2026-05-05')).toBe(2)
    } finally {
      if (zone === undefined) delete process.env['TZ']
      else process.env['TZ'] = zone
    }
  })

  it.each(['', 'x', 'abc000000', 'abc00001', '2026-04-30', 'LATEST', '../etc', 'abc*'])(
    'knows no %j',
    (wanted) => {
      expect(() => indexOf(wanted)).toThrow(expect.objectContaining({ code: 'POINT_UNKNOWN' }))
    },
  )

  it('names the points that a prefix could mean', () => {
    expect(() => indexOf('ab')).toThrow(
      expect.objectContaining({
        code: 'POINT_AMBIGUOUS',
        details: { machine: 'web', points: ['abc00000', 'abd11111'] },
      }),
    )
  })

  it('says what is no time', () => {
    expect(() => indexOf('2026-13-45')).toThrow(expect.objectContaining({ code: 'ARGUMENT_INVALID' }))
  })

  it('goes by the order of the chain where the clock jumped back', () => {
    const jumped = chainState('web', 0, [
      pointState('a0000000', [], '2026-05-02T00:00:00.000Z'),
      pointState('b0000000', [], '2026-05-01T00:00:00.000Z'),
    ])
    expect(findPoint(jumped, '2026-05-03T00:00:00Z').index).toBe(1)
  })

  it('finds nothing in a chain without points', () => {
    const empty = chainState('web', 0, [])
    for (const wanted of ['latest', 'parent', '2026-05-03'])
      expect(() => findPoint(empty, wanted)).toThrow(expect.objectContaining({ code: 'POINT_UNKNOWN' }))
  })
})
