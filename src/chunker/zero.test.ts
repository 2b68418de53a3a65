import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { isZero as anywhere, isZeroByWords } from './zero.js'

const LENGTH_MAX = 50_000

describe.each([
  ['isZero', anywhere],
  ['isZeroByWords, in browsers,', isZeroByWords],
])('%s', (_, isZero) => {
  it('is true of zeros of any length, none included', () => {
    for (const length of [0, 1, 2, 16383, 16384, 16385, 32768, LENGTH_MAX, 4 << 20]) {
      expect(isZero(new Uint8Array(length)), String(length)).toBe(true)
    }
  })

  it('finds a single byte that is not zero wherever it is', () => {
    const byte = fc.integer({ min: 1, max: 255 })
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: LENGTH_MAX }),
        fc.nat(LENGTH_MAX - 1),
        byte,
        (length, position, value) => {
          const bytes = new Uint8Array(length)
          bytes[position % length] = value
          expect(isZero(bytes)).toBe(false)
        },
      ),
      { numRuns: 500 },
    )
  })

  it('misses no byte where one comparison ends and the next begins', () => {
    const bytes = new Uint8Array(100_000)
    for (let edge = 4096; edge < bytes.length; edge += 4096) {
      for (const position of [edge - 1, edge, edge + 1]) {
        bytes[position] = 1
        expect(isZero(bytes), String(position)).toBe(false)
        bytes[position] = 0
      }
    }
  })

  it('looks at nothing but the view', () => {
    const bytes = new Uint8Array(100_000).fill(1)
    bytes.fill(0, 777, 80_001)
    expect(isZero(bytes.subarray(777, 80_001))).toBe(true)
    expect(isZero(bytes.subarray(776, 80_001))).toBe(false)
    expect(isZero(bytes.subarray(777, 80_002))).toBe(false)
  })
})
