import { describe, expect, it } from 'vitest'

import {
  CHUNK_SIZE_DEFAULT_BYTES,
  CHUNK_SIZE_MAX_BYTES,
  CHUNK_SIZE_MIN_BYTES,
  checkChunkSize,
  isChunkSize,
} from './chunk-size.js'

describe('chunk size', () => {
  it('accepts every power of two from 4 KiB to 4 MiB, the default among them', () => {
    const sizes = Array.from({ length: 11 }, (_, i) => 2 ** (12 + i))
    expect(sizes.every(isChunkSize)).toBe(true)
    expect([sizes.at(0), sizes.at(-1)]).toEqual([CHUNK_SIZE_MIN_BYTES, CHUNK_SIZE_MAX_BYTES])
    expect(sizes).toContain(CHUNK_SIZE_DEFAULT_BYTES)
  })

  it('refuses anything else', () => {
    for (const size of [
      0,
      -4096,
      2048,
      4095,
      4097,
      12288,
      8 << 20,
      65536.5,
      2 ** 32,
      Number.NaN,
      Number.POSITIVE_INFINITY,
    ]) {
      expect(() => {
        checkChunkSize(size)
      }, String(size)).toThrow(expect.objectContaining({ code: 'ARGUMENT_INVALID' }))
    }
  })
})
