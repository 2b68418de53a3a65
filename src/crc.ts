/** CRC-32C (Castagnoli), which LevelDB seals its blocks with, and CRC-32 where there is no node:zlib. */

const CASTAGNOLI = 0x82f63b78
const IEEE = 0xedb88320
const WIDTH = 8

let castagnoli: Int32Array | undefined
let ieee: Int32Array | undefined

/** `tables[256 * k + b]`: byte b, k bytes before the end of a step ("slicing by 8", Kounavis and Berry 2005). */
function makeTables(polynomial: number): Int32Array {
  const tables = new Int32Array(256 * WIDTH)
  for (let byte = 0; byte < 256; byte++) {
    let value = byte
    for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? polynomial : 0)
    tables[byte] = value
  }
  for (let i = 256; i < tables.length; i++) {
    const before = entry(tables, i - 256)
    tables[i] = entry(tables, before & 0xff) ^ (before >>> 8)
  }
  return tables
}

function entry(tables: Int32Array, i: number): number {
  return tables[i] ?? 0
}

/** CRC-32C of `bytes` from `start` to before `end`, unsigned. About 1 GB/s. */
export function crc32c(bytes: Uint8Array, start: number, end: number): number {
  castagnoli ??= makeTables(CASTAGNOLI)
  return crc(castagnoli, bytes, start, end, 0)
}

interface Zlib {
  crc32?(bytes: Uint8Array, seed: number): number
}

/** Not imported: browsers run this, too. */
const zlib = (
  globalThis as { readonly process?: { getBuiltinModule?(name: string): unknown } }
).process?.getBuiltinModule?.('node:zlib') as Zlib | undefined

/**
 * CRC-32 (IEEE 802.3, the one of zlib and gzip), unsigned, in Node.js and in browsers.
 * @param seed  the checksum of the bytes that come before
 */
export function portableCrc32(bytes: Uint8Array, seed = 0): number {
  return zlib?.crc32?.(bytes, seed) ?? crc32ByTables(bytes, seed)
}

/** Powers of two of x: x^(2^i), modulo the polynomial. Bit 31 is x^0, as everywhere here. */
let squares: Uint32Array | undefined

/**
 * CRC-32 (IEEE 802.3) of `a ‖ b`, without a look at either: in 2 µs (Mark Adler's way, crc32_combine of zlib 1.2.12).
 * @param crcA, crcB  their checksums
 * @param lengthB     bytes of `b`
 */
export function joinedCrc32(crcA: number, crcB: number, lengthB: number): number {
  squares ??= makeSquares()
  // Each bit of a's remainder moves on by as many bits as b has.
  let shifted = crcA
  let power = 3
  for (let left = lengthB; left > 0; left = Math.floor(left / 2), power++)
    if (left % 2 === 1) shifted = timesModulo(squares[power % 32] ?? 0, shifted)
  return (shifted ^ crcB) >>> 0
}

function makeSquares(): Uint32Array {
  const squares = new Uint32Array(32)
  squares[0] = 1 << 30
  for (let i = 1; i < 32; i++) squares[i] = timesModulo(squares[i - 1] ?? 0, squares[i - 1] ?? 0)
  return squares
}

/** The product of two polynomials over GF(2), modulo that of CRC-32. */
function timesModulo(a: number, b: number): number {
  let product = 0
  let moved = b
  for (let bit = 1 << 31; bit !== 0; bit >>>= 1) {
    if ((a & bit) !== 0) product ^= moved
    moved = (moved >>> 1) ^ (moved & 1 ? IEEE : 0)
  }
  return product >>> 0
}

/** For browsers. */
export function crc32ByTables(bytes: Uint8Array, seed = 0): number {
  ieee ??= makeTables(IEEE)
  return crc(ieee, bytes, 0, bytes.length, seed)
}

function crc(t: Int32Array, bytes: Uint8Array, start: number, end: number, seed: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let crc = ~seed
  let i = start
  for (; i + WIDTH <= end; i += WIDTH) {
    const a = crc ^ view.getInt32(i, true)
    const b = view.getInt32(i + 4, true)
    crc =
      entry(t, 1792 | (a & 0xff)) ^
      entry(t, 1536 | ((a >>> 8) & 0xff)) ^
      entry(t, 1280 | ((a >>> 16) & 0xff)) ^
      entry(t, 1024 | (a >>> 24)) ^
      entry(t, 768 | (b & 0xff)) ^
      entry(t, 512 | ((b >>> 8) & 0xff)) ^
      entry(t, 256 | ((b >>> 16) & 0xff)) ^
      entry(t, b >>> 24)
  }
  for (; i < end; i++) crc = entry(t, (crc ^ view.getUint8(i)) & 0xff) ^ (crc >>> 8)
  return ~crc >>> 0
}

const MASK_DELTA = 0xa282ead8

/** Is `stored` the CRC-32C of these bytes, in the masked form that LevelDB stores (util/crc32c.h)? */
export function hasMaskedCrc(bytes: Uint8Array, start: number, end: number, stored: number): boolean {
  const crc = crc32c(bytes, start, end)
  return (((crc >>> 15) | (crc << 17)) + MASK_DELTA) >>> 0 === stored
}
