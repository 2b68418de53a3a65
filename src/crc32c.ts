/** CRC-32C (Castagnoli), which LevelDB seals its blocks with, and uploads end with. node:zlib has only the other polynomial. */

const POLYNOMIAL = 0x82f63b78
const WIDTH = 8

/** `TABLES[256 * k + b]`: byte b, k bytes before the end of a step ("slicing by 8", Kounavis and Berry 2005). */
const TABLES = makeTables()

function makeTables(): Int32Array {
  const tables = new Int32Array(256 * WIDTH)
  for (let byte = 0; byte < 256; byte++) {
    let value = byte
    for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? POLYNOMIAL : 0)
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

/** CRC-32C of bytes that follow those with the checksum `seed`, unsigned. */
export function crc32cOf(bytes: Uint8Array, seed = 0): number {
  return crc32c(bytes, 0, bytes.length, seed)
}

/** CRC-32C of `bytes` from `start` to before `end`, unsigned. About 1 GB/s. */
export function crc32c(bytes: Uint8Array, start: number, end: number, seed = 0): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const t = TABLES
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
