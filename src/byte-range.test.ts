import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type ByteRange, splitByHoles } from './byte-range.js'

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

function bytesOf(list: readonly ByteRange[]): number[] {
  const counts = Array.from({ length: SIZE_MAX + 200 }, () => 0)
  for (const { offset, length } of list)
    for (let at = offset; at < offset + length; at++) counts[at] = (counts[at] ?? 0) + 1
  return counts
}

function expectInOrder(list: readonly ByteRange[]): void {
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
    expect(splitByHoles(disk, [])).toEqual({ data: disk, zeros: [] })
    expect(splitByHoles(disk, disk)).toEqual({ data: [], zeros: disk })
    expect(splitByHoles([], disk)).toEqual({ data: [], zeros: [] })
    expect(splitByHoles([{ offset: 0, length: 0 }], disk)).toEqual({ data: [], zeros: [] })
  })
})
