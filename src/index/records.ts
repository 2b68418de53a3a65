/**
 * Values of the index. Integers are little-endian; every value ends with a CRC-32.
 *
 *     entry    pack number u32 │ position u32 │ crc u32     12 bytes   crc of: pack id ‖ whole hash ‖ first 8 bytes
 *     number   pack number u32 │ crc u32                     8 bytes   crc of: key ‖ first 4 bytes
 *     pack id  pack id, 32 bytes │ crc u32                  36 bytes   crc of: key ‖ first 32 bytes
 *     note     UTF-8 │ crc u32                                         crc of: key ‖ text
 *     schema   schema u32 │ crc u32                          8 bytes   crc of: key ‖ first 4 bytes
 *
 * LevelDB does not check its blocks when it reads them (classic-level cannot ask for it), so a flipped bit
 * arrives here. An entry's checksum covers what it does not hold as well: the pack's id and the other half of
 * the hash. So an entry only ever means the pack that it was written for, even if damage made a pack's number
 * be given out twice.
 */

import { crc32 } from '../checksum.js'

/** Bytes of a chunk hash and of a pack id. */
export const ID_BYTES = 32
export const ENTRY_BYTES = 12
const CRC_BYTES = 4
const NUMBER_BYTES = 4 + CRC_BYTES

export interface Entry {
  readonly packNumber: number
  /** The chunk's place in the pack's directory. */
  readonly position: number
}

// Used within one synchronous call only.
const scratch = new Uint8Array(ID_BYTES + 8)
const scratchView = new DataView(scratch.buffer)

function entryChecksum(
  packSeed: number,
  hashes: Uint8Array,
  hashAt: number,
  packNumber: number,
  position: number,
): number {
  scratch.set(hashes.subarray(hashAt, hashAt + ID_BYTES))
  scratchView.setUint32(ID_BYTES, packNumber, true)
  scratchView.setUint32(ID_BYTES + 4, position, true)
  return crc32(scratch, packSeed)
}

/** What entries of this pack start their checksum from. */
export function packSeedOf(packId: Uint8Array): number {
  return crc32(packId)
}

/** Writes an entry for the hash at byte `hashAt` of `hashes` into `target` at `at`. */
export function writeEntry(
  target: DataView,
  at: number,
  entry: Entry,
  packSeed: number,
  hashes: Uint8Array,
  hashAt: number,
): void {
  const { packNumber, position } = entry
  target.setUint32(at, packNumber, true)
  target.setUint32(at + 4, position, true)
  target.setUint32(at + 8, entryChecksum(packSeed, hashes, hashAt, packNumber, position), true)
}

/** The pack number that an entry claims, before anything is checked; undefined if it cannot be an entry. */
export function claimedPackNumber(value: Buffer): number | undefined {
  return value.length === ENTRY_BYTES ? value.readUInt32LE(0) : undefined
}

/** The position in an entry of that pack for that hash, or -1 if the entry's checksum says that it is not one. */
export function readPosition(value: Buffer, packSeed: number, hashes: Uint8Array, hashAt: number): number {
  const position = value.readUInt32LE(4)
  const expected = entryChecksum(packSeed, hashes, hashAt, value.readUInt32LE(0), position)
  return value.readUInt32LE(8) === expected ? position : -1
}

/** `body` with a checksum of `key` and itself behind it. */
export function sealed(key: Uint8Array, body: Uint8Array): Buffer {
  const value = Buffer.alloc(body.length + CRC_BYTES)
  value.set(body)
  value.writeUInt32LE(crc32(body, crc32(key)), body.length)
  return value
}

/** The body of a sealed value, or undefined if the checksum does not fit, or the length (in bytes, when given). */
export function unsealed(key: Uint8Array, value: Buffer | undefined, bodyBytes?: number): Buffer | undefined {
  if (value === undefined || value.length < CRC_BYTES) return undefined
  const body = value.subarray(0, value.length - CRC_BYTES)
  if (bodyBytes !== undefined && body.length !== bodyBytes) return undefined
  return value.readUInt32LE(body.length) === crc32(body, crc32(key)) ? body : undefined
}

export function sealedNumber(key: Uint8Array, number: number): Buffer {
  const body = Buffer.alloc(NUMBER_BYTES - CRC_BYTES)
  body.writeUInt32LE(number)
  return sealed(key, body)
}

export function unsealedNumber(key: Uint8Array, value: Buffer | undefined): number | undefined {
  return unsealed(key, value, NUMBER_BYTES - CRC_BYTES)?.readUInt32LE(0)
}
