/**
 * Every key of the index is built here. A prefix is never given a second meaning: what an older program wrote
 * under it must never be read as something else.
 *
 *     'c' ‖ first 16 bytes of the chunk's hash   17 bytes   → entry: where the chunk is
 *     'p' ‖ pack id                              33 bytes   → the pack's number
 *     'n' ‖ pack number, u32 big-endian           5 bytes   → the pack's id. Big-endian, so that the highest is the last
 *     'm' ‖ name in UTF-8                                   → note
 *     's'                                         1 byte    → schema of the index
 *
 * Half a hash is enough to find an entry (two of 2^40 chunks share one with a probability of 2^-49) and keeps
 * the index a third smaller. The entry's checksum covers the whole hash, and the pack's directory has the last
 * word.
 */

import { ID_BYTES } from './records.js'

const CHUNK_PREFIX = 0x63
const PACK_PREFIX = 0x70
const NUMBER_PREFIX = 0x6e
const NOTE_PREFIX = 0x6d

/** Bytes of the hash that are in the key. */
export const KEY_HASH_BYTES = 16
const CHUNK_KEY_BYTES = 1 + KEY_HASH_BYTES

export const SCHEMA_KEY: Uint8Array = Uint8Array.of(0x73)

/** All pack keys, for an iterator: first ≤ key < end. */
export const PACK_RANGE = { gte: Uint8Array.of(PACK_PREFIX), lt: Uint8Array.of(PACK_PREFIX + 1) } as const
/** All number keys, likewise. */
export const NUMBER_RANGE = {
  gte: Uint8Array.of(NUMBER_PREFIX),
  lt: Uint8Array.of(NUMBER_PREFIX + 1),
} as const

/** Keys of chunks: `hashes` is n × 32 bytes; the n keys are views of one allocation. */
export function chunkKeys(hashes: Uint8Array): Uint8Array[] {
  const count = hashes.length / ID_BYTES
  const all = new Uint8Array(count * CHUNK_KEY_BYTES)
  const keys = new Array<Uint8Array>(count)
  for (let i = 0; i < count; i++) {
    const start = i * CHUNK_KEY_BYTES
    all[start] = CHUNK_PREFIX
    all.set(hashes.subarray(i * ID_BYTES, i * ID_BYTES + KEY_HASH_BYTES), start + 1)
    keys[i] = all.subarray(start, start + CHUNK_KEY_BYTES)
  }
  return keys
}

/** @param packId  32 bytes. */
export function packKey(packId: Uint8Array): Uint8Array {
  const key = new Uint8Array(1 + packId.length)
  key[0] = PACK_PREFIX
  key.set(packId, 1)
  return key
}

/** The pack id (32 bytes) in a pack's key, or undefined if no `packKey` made it. */
export function packIdOfKey(key: Uint8Array): Uint8Array | undefined {
  return key.length === 1 + ID_BYTES && key[0] === PACK_PREFIX ? key.subarray(1) : undefined
}

export function numberKey(number: number): Uint8Array {
  const key = new Uint8Array(5)
  key[0] = NUMBER_PREFIX
  new DataView(key.buffer).setUint32(1, number)
  return key
}

/** The pack number in a number's key, or undefined if no `numberKey` made it. */
export function numberOfKey(key: Uint8Array): number | undefined {
  if (key.length !== 5 || key[0] !== NUMBER_PREFIX) return undefined
  return new DataView(key.buffer, key.byteOffset, key.byteLength).getUint32(1)
}

export function noteKey(name: string): Uint8Array {
  const text = Buffer.from(name, 'utf8')
  const key = new Uint8Array(1 + text.length)
  key[0] = NOTE_PREFIX
  key.set(text, 1)
  return key
}
