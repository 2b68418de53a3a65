import { expect, it } from 'vitest'

import { crc32c } from './crc32c.js'

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
