import { describe, expect, it } from 'vitest'
import { copyBytes } from './copy-bytes.js'

const numbered = (bytes: Uint8Array): Uint8Array => bytes.map((_, i) => (i * 7 + (i >> 8)) & 0xff)

describe('copyBytes', () => {
  it('puts just these bytes there, wherever both lie, in memory that is shared or not', () => {
    const memories = [
      (bytes: number): ArrayBufferLike => new ArrayBuffer(bytes),
      (bytes: number): ArrayBufferLike => new SharedArrayBuffer(bytes),
    ]
    for (const source of memories)
      for (const target of memories)
        for (const length of [0, 1, 7, 255, 256, 257, 5000, 70_001])
          for (const start of [0, 1, 3, 8])
            for (const at of [0, 1, 2, 8]) {
              const from = new Uint8Array(source(length + 20), start, length)
              from.set(numbered(from))
              const into = new Uint8Array(target(length + 40), 4, length + 20).fill(1)
              copyBytes(into, at, from)
              const expected = new Uint8Array(length + 20).fill(1)
              expected.set(from, at)
              expect(Buffer.compare(into, expected), `${length} from ${start} to ${at}`).toBe(0)
              expect(new Uint8Array(into.buffer, 0, 4)).toEqual(new Uint8Array(4))
            }
  })

  it('refuses what does not fit, and copies nothing of it', () => {
    for (const length of [10, 300]) {
      const into = new Uint8Array(length)
      expect(() => {
        copyBytes(into, 1, new Uint8Array(length).fill(1))
      }).toThrow(RangeError)
      expect(into).toEqual(new Uint8Array(length))
    }
  })
})
