/** Entries of many chunks at a time: read and checked, or made for writing. */

import { bitAt } from './bitmap.js'
import { chunkKeys } from './keys.js'
import { type Database, getMany, type Write } from './level-database.js'
import type { NumberedPack, PackNumbers } from './pack-numbers.js'
import { claimedPackNumber, ENTRY_BYTES, ID_BYTES, readPosition, writeEntry } from './records.js'

export interface EntryReading {
  /** Packs that `packOf` points into. */
  readonly packs: readonly NumberedPack[]
  /** One per hash: index into `packs`, or -1: not known, or not to be believed. */
  readonly packOf: Int32Array
  /** One per hash. */
  readonly position: Uint32Array
  /** What the database holds, one per hash, believed or not. */
  readonly values: readonly (Buffer | undefined)[]
}

/** @param hashes  n × 32 bytes. */
export async function readEntries(
  { db, numbers }: { readonly db: Database; readonly numbers: PackNumbers },
  hashes: Uint8Array,
): Promise<EntryReading> {
  const values = await getMany(db, chunkKeys(hashes))
  const claimed = new Set<number>()
  for (const value of values) {
    const number = value === undefined ? undefined : claimedPackNumber(value)
    if (number !== undefined) claimed.add(number)
  }
  const known = await numbers.resolve(db, claimed)

  const packs: NumberedPack[] = []
  const placeOf = new Map<number, number>()
  const packOf = new Int32Array(values.length).fill(-1)
  const position = new Uint32Array(values.length)
  for (const [i, value] of values.entries()) {
    const number = value === undefined ? undefined : claimedPackNumber(value)
    const pack = number === undefined ? undefined : known.get(number)
    if (value === undefined || pack === undefined) continue
    const at = readPosition(value, pack.seed, hashes, i * ID_BYTES)
    if (at === -1) continue
    let place = placeOf.get(pack.number)
    if (place === undefined) {
      place = packs.push(pack) - 1
      placeOf.set(pack.number, place)
    }
    packOf[i] = place
    position[i] = at
  }
  return { packs, packOf, position, values }
}

/** Writes that make hash i chunk i of the pack, for each i whose bit is not set in `except`. */
export function writeEntries(
  pack: NumberedPack,
  hashes: Uint8Array,
  except: Uint8Array | undefined,
): Write[] {
  const keys = chunkKeys(hashes)
  const values = Buffer.alloc(keys.length * ENTRY_BYTES)
  const view = new DataView(values.buffer, values.byteOffset, values.length)
  const writes: Write[] = []
  for (const [i, key] of keys.entries()) {
    if (except !== undefined && bitAt(except, i)) continue
    const at = i * ENTRY_BYTES
    writeEntry(view, at, { packNumber: pack.number, position: i }, pack.seed, hashes, i * ID_BYTES)
    writes.push({ type: 'put', key, value: values.subarray(at, at + ENTRY_BYTES) })
  }
  return writes
}
