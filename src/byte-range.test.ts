import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type ByteRange, bytesIn, fedRanges, splitByHoles } from './byte-range.js'

const SIZE_MAX = 200

/** Sorted and apart, some of them touching. */
const ranges = fc
  .array(fc.tuple(fc.nat(5), fc.integer({ min: 1, max: 20 })), { maxLength: 12 })
  .map((steps) => {
    const found: ByteRange[] = []
    let at = 0
    for (const [gap, length] of steps) {
      found.push({ offset: at + gap, length })
      at += gap + length
    }
    return found
  })

function bytesOf(list: Iterable<ByteRange>): number[] {
  const counts = Array.from({ length: SIZE_MAX + 200 }, () => 0)
  for (const { offset, length } of list)
    for (let at = offset; at < offset + length; at++) counts[at] = (counts[at] ?? 0) + 1
  return counts
}

function expectInOrder(list: Iterable<ByteRange>): void {
  let at = 0
  for (const { offset, length } of list) {
    expect(offset).toBeGreaterThanOrEqual(at)
    expect(length).toBeGreaterThan(0)
    at = offset + length
  }
}

describe('ranges and the holes in them', () => {
  it('give each byte once, as zeros just where there is a hole', () => {
    fc.assert(
      fc.property(ranges, ranges, (wanted, holes) => {
        const { data, zeros } = splitByHoles(wanted, holes)
        const [isWanted, isHole] = [bytesOf(wanted), bytesOf(holes)]
        expect(bytesOf(zeros)).toEqual(isWanted.map((count, at) => (isHole[at] === 1 ? count : 0)))
        expect(bytesOf(data)).toEqual(isWanted.map((count, at) => (isHole[at] === 1 ? 0 : count)))
        expectInOrder(data)
        expectInOrder(zeros)
      }),
    )
  })

  it('are the ranges themselves where there are no holes, and none where there are no ranges', () => {
    const disk = [{ offset: 0, length: 2 ** 45 }]
    expect(split(disk, [])).toEqual({ data: disk, zeros: [] })
    expect(split(disk, disk)).toEqual({ data: [], zeros: disk })
    expect(split([], disk)).toEqual({ data: [], zeros: [] })
    expect(split([{ offset: 0, length: 0 }], disk)).toEqual({ data: [], zeros: [] })
  })

  it('are made one by one as they are wanted, however many there are', () => {
    let asked = 0
    const everyOther = {
      *[Symbol.iterator]() {
        for (let offset = 0; offset < 2 ** 44; offset += 2 ** 21) {
          asked++
          yield { offset, length: 2 ** 20 }
        }
      },
    }
    const fed = fedRanges([{ offset: 0, length: 2 ** 43 }], 2 ** 44, 2 ** 43)
    const { data, zeros } = splitByHoles(fed, everyOther)
    for (const [parts, first] of [
      [data, 2 ** 20],
      [zeros, 0],
    ] as const) {
      asked = 0
      let count = 0
      for (const { offset, length } of parts) {
        expect({ offset, length }).toEqual({ offset: first + count * 2 ** 21, length: 2 ** 20 })
        if (++count === 1000) break
      }
      expect(asked).toBeLessThan(1010)
    }
  })

  it('can be gone through again, also where they were given by what can be gone through once', () => {
    function* once(): Generator<ByteRange> {
      yield { offset: 10, length: 20 }
      yield { offset: 50, length: 50 }
    }
    const fed = fedRanges(once(), 100, 80)
    const { data, zeros } = splitByHoles(fed, once())
    for (let i = 0; i < 2; i++) {
      expect(bytesIn(fed)).toBe(70)
      expect([...data]).toEqual([])
      expect(bytesIn(zeros)).toBe(70)
    }
  })
})

function split(ranges: Iterable<ByteRange>, holes: Iterable<ByteRange>): Record<string, ByteRange[]> {
  const { data, zeros } = splitByHoles(ranges, holes)
  return { data: [...data], zeros: [...zeros] }
}
