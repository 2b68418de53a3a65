import fc from 'fast-check'
import { expect, it } from 'vitest'

import { crc32 } from './checksum.js'
import { crc32ByTables, crc32c, joinedCrc32, portableCrc32 } from './crc.js'

it('gives the CRC-32 of zlib, also without it, and in pieces', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat({ max: 100 }), (bytes, at) => {
      const expected = crc32(bytes)
      for (const other of [crc32ByTables, portableCrc32]) {
        expect(other(bytes)).toBe(expected)
        expect(other(bytes.subarray(at), other(bytes.subarray(0, at)))).toBe(expected)
      }
    }),
  )
})

it('joins the CRC-32 of two parts, also of large ones', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), fc.uint8Array({ maxLength: 100 }), (a, b) => {
      expect(joinedCrc32(crc32(a), crc32(b), b.length)).toBe(crc32(b, crc32(a)))
    }),
  )
  const large = new Uint8Array(5_000_011).fill(7)
  for (const at of [0, 1, 65_536, 4_194_303, large.length])
    expect(joinedCrc32(crc32(large.subarray(0, at)), crc32(large.subarray(at)), large.length - at)).toBe(
      crc32(large),
    )
})

it('gives the checksums that RFC 3720 (B.4) gives as examples', () => {
  expect(crc32c(new Uint8Array(32), 0, 32)).toBe(0x8a9136aa)
  expect(crc32c(new Uint8Array(32).fill(0xff), 0, 32)).toBe(0x62a8ab43)
  expect(
    crc32c(
      Uint8Array.from({ length: 32 }, (_, i) => i),
      0,
      32,
    ),
  ).toBe(0x46dd794e)
  expect(crc32c(Buffer.from('-123456789-'), 1, 10)).toBe(0xe3069283)
})
