import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { hashChunks, isZeroChunk } from './hash.js'

describe('hashChunks', () => {
  it('names each chunk by its SHA-256, and chunks of zeros by their bit alone', () => {
    const chunk = fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 200 }),
      fc.integer({ min: 1, max: 200 }).map((n) => new Uint8Array(n)),
    )
    fc.assert(
      fc.property(fc.array(chunk, { maxLength: 40 }), fc.nat(50), (chunks, before) => {
        // In the middle of a larger buffer, to see that the view is hashed and nothing around it.
        const buffer = Buffer.concat([Buffer.alloc(before, 0xff), ...chunks, Buffer.alloc(50, 0xff)])
        const { hashes, zeros } = hashChunks(
          buffer.subarray(before),
          Uint32Array.from(chunks, ({ length }) => length),
        )
        expect(hashes.length).toBe(chunks.length * 32)
        expect(zeros.length).toBe(Math.ceil(chunks.length / 8))
        for (const [i, bytes] of chunks.entries()) {
          const zero = bytes.every((byte) => byte === 0)
          const expected = zero ? Buffer.alloc(32) : createHash('sha256').update(bytes).digest()
          expect(Buffer.from(hashes.subarray(i * 32, i * 32 + 32)).toString('hex')).toBe(
            expected.toString('hex'),
          )
          expect(isZeroChunk(zeros, i)).toBe(zero)
        }
      }),
    )
  })

  it('hashes the example of FIPS 180-4', () => {
    const { hashes } = hashChunks(Buffer.from('abc'), Uint32Array.of(3))
    expect(Buffer.from(hashes).toString('hex')).toBe(
      'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    )
  })

  it('gives arrays that can be transferred to another thread', () => {
    const { hashes, zeros } = hashChunks(new Uint8Array(10), Uint32Array.of(5, 5))
    expect(hashes.buffer.byteLength).toBe(64)
    expect(zeros.buffer.byteLength).toBe(1)
  })

  it('refuses chunks that reach beyond the bytes', () => {
    expect(() => hashChunks(new Uint8Array(10), Uint32Array.of(5, 6))).toThrow(RangeError)
  })
})
