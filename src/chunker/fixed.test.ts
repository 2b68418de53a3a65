import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { cutFixed } from './fixed.js'

const range = fc.record({
  offset: fc.oneof(fc.nat(100_000), fc.integer({ min: 2 ** 40, max: 2 ** 40 + 100_000 })),
  length: fc.nat(200_000),
  chunkSize: fc.constantFrom(4096, 8192, 65536),
})

/** Absolute offsets where pieces end. */
function ends(offset: number, lengths: Uint32Array): number[] {
  let end = offset
  return Array.from(lengths, (length) => (end += length))
}

describe('cutFixed', () => {
  it('covers the range with pieces that end on the disk’s grid or at the end', () => {
    fc.assert(
      fc.property(range, ({ offset, length, chunkSize }) => {
        const lengths = cutFixed(offset, length, chunkSize)
        const cuts = ends(offset, lengths)
        expect(cuts.at(-1) ?? offset).toBe(offset + length)
        expect(lengths.every((piece) => piece > 0 && piece <= chunkSize)).toBe(true)
        expect(cuts.slice(0, -1).every((cut) => cut % chunkSize === 0)).toBe(true)
      }),
    )
  })

  it('cuts a part of a range where the whole range is cut', () => {
    fc.assert(
      fc.property(range, fc.nat(200_000), ({ offset, length, chunkSize }, skip) => {
        const start = offset + Math.min(skip, length)
        const end = offset + length
        const part = ends(start, cutFixed(start, end - start, chunkSize))
        const whole = ends(offset, cutFixed(offset, length, chunkSize)).filter((cut) => cut > start)
        expect(part).toEqual(whole)
      }),
    )
  })

  it('handles ranges that are aligned, within one chunk, or empty', () => {
    expect([...cutFixed(8192, 8192, 4096)]).toEqual([4096, 4096])
    expect([...cutFixed(8192, 100, 4096)]).toEqual([100])
    expect([...cutFixed(8200, 100, 4096)]).toEqual([100])
    expect([...cutFixed(8190, 4100, 4096)]).toEqual([2, 4096, 2])
    expect([...cutFixed(8190, 0, 4096)]).toEqual([])
    expect([...cutFixed(8192, 0, 4096)]).toEqual([])
  })
})
