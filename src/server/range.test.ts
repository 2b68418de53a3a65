import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseRange, rangeHolds, tagMatches } from './range.js'

describe('a Range header', () => {
  it.each([
    ['bytes=0-0', { offset: 0, length: 1 }],
    ['bytes=10-19', { offset: 10, length: 10 }],
    ['BYTES=10-', { offset: 10, length: 90 }],
    ['bytes=-1', { offset: 99, length: 1 }],
    ['bytes=-1000', { offset: 0, length: 100 }],
    ['bytes=99-99999999999999999999999', { offset: 99, length: 1 }],
    ['bytes=100-', 'unsatisfiable'],
    ['bytes=99999999999999999999999-', 'unsatisfiable'],
    ['bytes=-0', 'unsatisfiable'],
    [undefined, undefined],
    ['', undefined],
    ['bytes=-', undefined],
    ['bytes=5-4', undefined],
    ['bytes=0-1,3-4', undefined],
    ['chunks=0-1', undefined],
    ['bytes=0x10-20', undefined],
    ['bytes=1.5-2', undefined],
    ['bytes=--1', undefined],
  ])('%j', (header, expected) => {
    expect(parseRange(header, 100)).toEqual(expected)
  })

  it('of an empty disk can never be satisfied', () => {
    for (const header of ['bytes=0-', 'bytes=0-0', 'bytes=-5'])
      expect(parseRange(header, 0)).toBe('unsatisfiable')
  })

  it('never gives bytes that are not on the disk, whatever it says', () => {
    const number = fc.oneof(fc.constant(''), fc.nat().map(String), fc.bigInt({ min: 0n }).map(String))
    fc.assert(
      fc.property(number, number, fc.nat(), (first, last, size) => {
        const range = parseRange(`bytes=${first}-${last}`, size)
        if (typeof range !== 'object') return
        expect(range.length).toBeGreaterThan(0)
        expect(range.offset).toBeGreaterThanOrEqual(0)
        expect(range.offset + range.length).toBeLessThanOrEqual(size)
      }),
    )
  })
})

describe('conditions', () => {
  it('If-None-Match compares weakly and takes lists; If-Range takes one strong tag or one time', () => {
    expect(tagMatches('"a", W/"b"', '"b"')).toBe(true)
    expect(tagMatches('*', '"b"')).toBe(true)
    expect(tagMatches('"a"', '"b"')).toBe(false)
    expect(tagMatches(undefined, '"b"')).toBe(false)
    expect(rangeHolds(undefined, '"b"', 'then')).toBe(true)
    expect(rangeHolds('"b"', '"b"', 'then')).toBe(true)
    expect(rangeHolds('then', '"b"', 'then')).toBe(true)
    expect(rangeHolds('W/"b"', '"b"', 'then')).toBe(false)
  })
})
