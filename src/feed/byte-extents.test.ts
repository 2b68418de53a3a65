import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { type ByteExtent, ByteExtents, clip, normalise, totalBytes } from './byte-extents.js'

const SIZE = 300
const anyExtent = fc.record({ offset: fc.nat(200), length: fc.nat(40) })
const anyExtents = fc.array(anyExtent, { maxLength: 25 })

/** The model: a byte of the disk per element. */
function bitmap(extents: Iterable<ByteExtent>): boolean[] {
  const bits = new Array<boolean>(SIZE).fill(false)
  for (const { offset, length } of extents) bits.fill(true, offset, offset + length)
  return bits
}

describe('normalise', () => {
  it('keeps exactly the same bytes, sorted, with gaps between', () => {
    fc.assert(
      fc.property(anyExtents, (extents) => {
        const result = [...normalise(ByteExtents.from(extents))]
        expect(bitmap(result)).toEqual(bitmap(extents))
        expect(result.every(({ length }) => length > 0)).toBe(true)
        for (const [i, { offset }] of result.entries()) {
          const before = result[i - 1]
          if (before !== undefined) expect(offset).toBeGreaterThan(before.offset + before.length)
        }
      }),
      { numRuns: 2000 },
    )
  })

  it('does not depend on order, and changes nothing the second time', () => {
    fc.assert(
      fc.property(anyExtents, (extents) => {
        const once = normalise(ByteExtents.from(extents))
        expect([...normalise(ByteExtents.from(extents.toReversed()))]).toEqual([...once])
        expect(normalise(once)).toBe(once)
      }),
    )
  })

  it('merges extents that touch, and drops empty ones', () => {
    const extents = ByteExtents.from([
      { offset: 10, length: 5 },
      { offset: 50, length: 0 },
      { offset: 0, length: 10 },
      { offset: 16, length: 1 },
    ])
    expect([...normalise(extents)]).toEqual([
      { offset: 0, length: 15 },
      { offset: 16, length: 1 },
    ])
    expect([...normalise(ByteExtents.from([]))]).toEqual([])
    expect([...normalise(ByteExtents.from([{ offset: 3, length: 0 }]))]).toEqual([])
  })

  it('is exact at the far end of the numbers', () => {
    const end = Number.MAX_SAFE_INTEGER
    const extents = ByteExtents.from([
      { offset: end - 1, length: 1 },
      { offset: 0, length: 1 },
      { offset: end - 3, length: 1 },
    ])
    expect([...normalise(extents)].at(-1)).toEqual({ offset: end - 1, length: 1 })
    expect(normalise(extents).count).toBe(3)
  })

  it('leaves its input alone', () => {
    const extents = ByteExtents.from([
      { offset: 5, length: 1 },
      { offset: 0, length: 1 },
    ])
    normalise(extents)
    expect([...extents].map(({ offset }) => offset)).toEqual([5, 0])
  })
})

describe('totalBytes and clip', () => {
  it('count and keep the bytes that lie in the disk', () => {
    fc.assert(
      fc.property(anyExtents, fc.nat(SIZE), (extents, size) => {
        const clipped = clip(normalise(ByteExtents.from(extents)), size)
        const expected = bitmap(extents).map((bit, byte) => bit && byte < size)
        expect(bitmap(clipped)).toEqual(expected)
        expect(totalBytes(clipped)).toBe(expected.filter(Boolean).length)
        expect([...clipped].every(({ length }) => length > 0)).toBe(true)
      }),
    )
  })
})

describe('ByteExtents', () => {
  it('keeps what it is made from', () => {
    fc.assert(
      fc.property(fc.array(anyExtent, { maxLength: 200 }), (extents) => {
        const kept = ByteExtents.from(extents)
        expect([...kept]).toEqual(extents)
        expect(kept.count).toBe(extents.length)
      }),
    )
  })

  it('refuses a position outside and arrays that do not match', () => {
    expect(() => ByteExtents.from([]).offset(0)).toThrow(RangeError)
    expect(() => new ByteExtents(new Float64Array(1), new Float64Array(2))).toThrow(TypeError)
  })
})
