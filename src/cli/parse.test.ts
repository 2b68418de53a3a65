import { describe, expect, it } from 'vitest'
import {
  parseBetween,
  parseCount,
  parseDuration,
  parseMachine,
  parseMoment,
  parseShare,
  parseWhole,
} from './parse.js'

const invalid = expect.objectContaining({ code: 'ARGUMENT_INVALID' })

describe('machine names', () => {
  it('are taken in their normal form, and checked', () => {
    expect(parseMachine('Bu\u0308ro')).toBe('B\u00fcro')
    expect(() => parseMachine('..')).toThrow(expect.objectContaining({ code: 'NAME_INVALID' }))
  })
})

describe('whole numbers', () => {
  it('are taken from 0 on', () => {
    expect(['0', '7', '007', '9007199254740991'].map(parseWhole)).toEqual([0, 7, 7, Number.MAX_SAFE_INTEGER])
  })

  it.each(['', ' ', '-1', '1.5', '1e3', '0x10', '9007199254740992', 'x', '1 2', '٣'])(
    'are not %j',
    (text) => {
      expect(() => parseWhole(text)).toThrow(invalid)
    },
  )
})

describe('counts', () => {
  it('are whole numbers from 1 on', () => {
    expect(['1', '007', '9007199254740991'].map(parseCount)).toEqual([1, 7, Number.MAX_SAFE_INTEGER])
  })

  it.each(['', '0', '-1', '1.5', '9007199254740992', 'x'])('are not %j, which is told', (text) => {
    expect(() => parseCount(text)).toThrow(`"${text}" is not a whole number from 1 on.`)
  })
})

describe('numbers within limits', () => {
  it('are taken with both ends', () => {
    expect(['1', '007', '100'].map(parseBetween(1, 100))).toEqual([1, 7, 100])
  })

  it.each(['', '0', '-1', '101', '1.5', '1e1', 'x'])('are not %j, which is told', (text) => {
    expect(() => parseBetween(1, 100)(text)).toThrow(`"${text}" is not a whole number from 1 to 100.`)
  })
})

describe('durations', () => {
  it('are a whole number and a unit, in seconds', () => {
    expect(['0s', '90s', '30min', '36h', '2d', '1w', '2 D'].map(parseDuration)).toEqual([
      0, 90, 1800, 129_600, 172_800, 604_800, 172_800,
    ])
  })

  it.each(['', '2', 'd', '-2d', '1.5d', '2m', '2y', '1d12h', '99999999999999999w'])('are not %j', (text) => {
    expect(() => parseDuration(text)).toThrow(invalid)
  })
})

describe('shares', () => {
  it('are percentages, as a part of one', () => {
    expect(['0', '0%', '40%', '40', '12.5 %', '100%'].map(parseShare)).toEqual([0, 0, 0.4, 0.4, 0.125, 1])
  })

  it.each(['', '%', '-1%', '101%', '1e1', 'x'])('are not %j', (text) => {
    expect(() => parseShare(text)).toThrow(invalid)
  })
})

describe('moments', () => {
  it('are times, or days, which last to their end in local time', () => {
    expect(parseMoment('2026-12-31T18:00:00Z')).toBe(Date.UTC(2026, 11, 31, 18))
    expect(parseMoment('2026-12-31T18:00:00+02:00')).toBe(Date.UTC(2026, 11, 31, 16))
    expect(parseMoment('2026-12-31T18:00')).toBe(new Date(2026, 11, 31, 18).getTime())
    expect(parseMoment('2026-12-31')).toBe(new Date(2027, 0, 1).getTime())
    expect(parseMoment('2028-02-29')).toBe(new Date(2028, 2, 1).getTime())
  })

  it.each([
    '',
    'tomorrow',
    '2026',
    '2026-13-01',
    '2026-02-30',
    '2026-02-30T00:00:00Z',
    '31.12.2026',
    '1767225600',
  ])('are not %j', (text) => {
    expect(() => parseMoment(text)).toThrow(invalid)
  })
})
