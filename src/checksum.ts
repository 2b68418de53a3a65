/** Checksums and hashes, and their hexadecimal spelling. A leaf: imports nothing of ours. */

import { createHash, hash } from 'node:crypto'
import { crc32 as zlibCrc32 } from 'node:zlib'

/** Bytes of a SHA-256 digest. */
export const SHA256_BYTES = 32

const NOT_HEX = /[^0-9a-f]/

/**
 * CRC-32 (IEEE 802.3, the one of zlib and gzip) as an unsigned 32-bit number. Finds accidents, not attacks.
 *
 * @param seed  The checksum of the bytes that come before, to go on from there: `crc32(b, crc32(a))` is
 *              that of `a ‖ b`.
 */
export function crc32(bytes: Uint8Array, seed = 0): number {
  return zlibCrc32(bytes, seed)
}

/** SHA-256 of `bytes`: 32 bytes of their own, which no later call overwrites. */
export function sha256(bytes: Uint8Array): Uint8Array {
  return hash('sha256', bytes, 'buffer')
}

/** SHA-256 of `bytes` as 64 lower-case hexadecimal digits. */
export function sha256Hex(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'hex')
}

/** SHA-256 of bytes that arrive in pieces. One use: after `digest` it takes nothing more (Node throws). */
export class Sha256 {
  readonly #hash = createHash('sha256')

  update(bytes: Uint8Array): this {
    this.#hash.update(bytes)
    return this
  }

  /** 32 bytes. */
  digest(): Uint8Array {
    return this.#hash.digest()
  }

  /** 64 lower-case hexadecimal digits. */
  digestHex(): string {
    return this.#hash.digest('hex')
  }
}

/**
 * The bytes that lower-case hexadecimal digits spell: `digits.length / 2` of them.
 *
 * @throws RangeError on anything else. Upper case too: one value has one spelling, or names would not compare.
 */
export function hexToBytes(digits: string): Uint8Array {
  if (digits.length % 2 !== 0 || NOT_HEX.test(digits))
    throw new RangeError(`Not lower-case hexadecimal digits: ${JSON.stringify(digits.slice(0, 80))}`)
  return Buffer.from(digits, 'hex')
}

/** Lower-case hexadecimal digits of `bytes`: twice as many. */
export function bytesToHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')
}

/** Are hash `a` of `some` and hash `b` of `others` the same? */
export function isEqualHash(some: Uint8Array, a: number, others: Uint8Array, b: number): boolean {
  return (
    Buffer.compare(
      some.subarray(a * SHA256_BYTES, (a + 1) * SHA256_BYTES),
      others.subarray(b * SHA256_BYTES, (b + 1) * SHA256_BYTES),
    ) === 0
  )
}
