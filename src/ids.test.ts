import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { POINT_ID_LENGTH, pointIdFrom } from './ids.js'

describe('pointIdFrom', () => {
  it('makes eight characters that are not mistaken for one another, the first a letter', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: POINT_ID_LENGTH, maxLength: POINT_ID_LENGTH }), (random) => {
        expect(pointIdFrom(random)).toMatch(/^[a-hjkmnp-tv-z][0-9a-hjkmnp-tv-z]{7}$/)
      }),
    )
  })

  it('uses five bits of each byte but the first', () => {
    const ids = new Set<string>()
    for (let value = 0; value < 256; value++)
      ids.add(pointIdFrom(new Uint8Array(8).fill(7).fill(value, 3, 4)))
    expect(ids.size).toBe(32)
    const firsts = new Set<string>()
    for (let value = 0; value < 256; value++)
      firsts.add(pointIdFrom(Uint8Array.of(value, 0, 0, 0, 0, 0, 0, 0)))
    expect(firsts.size).toBe(22)
  })

  it('is the same for the same bytes, for ever', () => {
    expect(pointIdFrom(Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7))).toBe('a1234567')
    expect(pointIdFrom(Uint8Array.of(255, 255, 31, 32, 33, 18, 19, 20))).toBe('qzz01jkm')
  })
})
