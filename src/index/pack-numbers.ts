/**
 * Packs ↔ the short numbers that entries name them by: 4 bytes instead of 32 in every entry.
 *
 * A new number is one above the highest that any 'n' key has, so it survives restarts without a counter of its
 * own. Numbers of forgotten packs are not given out again: within a process the counter only grows, and
 * forgetting the pack with the highest number leaves its 'n' key behind, as a tombstone. Should damage or a
 * power cut take that away, a number given out twice is still harmless: an entry's checksum begins with the id
 * of its pack, so an entry of the first owner reads as a miss, never as a chunk of the second.
 */

import { bytesToHex } from '../checksum.js'
import { IndexUnusable } from './index-unusable.js'
import { NUMBER_RANGE, numberKey, numberOfKey, packKey } from './keys.js'
import { type Database, getMany, type Write } from './level-database.js'
import { ID_BYTES, packSeedOf, sealed, sealedNumber, unsealed, unsealedNumber } from './records.js'

/** Packs kept in memory: about 20 MB. A store of 2 TiB of packs fits; beyond that, the oldest is read again. */
const CACHED_PACKS_MAX = 65_536
const NUMBER_MAX = 0xffff_ffff
/** In the place of a pack's id: this number is taken for ever. */
const TOMBSTONE = new Uint8Array(ID_BYTES)

export interface NumberedPack {
  readonly id: string
  readonly number: number
  /** What the checksums of the pack's entries start from. */
  readonly seed: number
}

export class PackNumbers {
  readonly #path: string
  #next: number
  // In order of insertion, so that the first is the oldest.
  readonly #byNumber = new Map<number, NumberedPack>()
  readonly #byId = new Map<string, NumberedPack>()
  /** Counts what was forgotten: a read that began before must not bring it back into memory. */
  #forgotten = 0

  private constructor(path: string, next: number) {
    this.#path = path
    this.#next = next
  }

  static async load(path: string, db: Database): Promise<PackNumbers> {
    const [last] = await db.keys({ ...NUMBER_RANGE, reverse: true, limit: 1 }).all()
    const highest = last === undefined ? -1 : numberOfKey(last)
    if (highest === undefined) throw new IndexUnusable(path, 'a key is not well formed')
    return new PackNumbers(path, highest + 1)
  }

  /** Packs of these numbers; a number that is not known, or whose record is damaged, is not in the answer. */
  async resolve(db: Database, numbers: ReadonlySet<number>): Promise<Map<number, NumberedPack>> {
    const found = new Map<number, NumberedPack>()
    const missing: number[] = []
    for (const number of numbers) {
      const pack = this.#byNumber.get(number)
      if (pack === undefined) missing.push(number)
      else found.set(number, pack)
    }
    if (missing.length === 0) return found
    const keys = missing.map(numberKey)
    const forgotten = this.#forgotten
    const values = await getMany(db, keys)
    for (const [i, number] of missing.entries()) {
      const key = keys[i]
      const id = key === undefined ? undefined : unsealed(key, values[i], ID_BYTES)
      if (id === undefined || id.equals(TOMBSTONE)) continue
      const pack = { id: bytesToHex(id), number, seed: packSeedOf(id) }
      found.set(number, pack)
      if (forgotten === this.#forgotten) this.keep(pack)
    }
    return found
  }

  /**
   * The pack's number, and what to write if it is new. Call `keep` once that is written.
   *
   * @throws IndexUnusable when all 2^32 numbers were given out: a rebuild starts from 0.
   */
  async numberFor(db: Database, packId: Uint8Array): Promise<{ pack: NumberedPack; writes: Write[] }> {
    const known = await this.find(db, packId)
    if (known !== undefined) return { pack: known, writes: [] }
    if (this.#next > NUMBER_MAX) throw new IndexUnusable(this.#path, 'no pack numbers are left')
    // Taken even if the write fails: whether it reached the log is not known then.
    const number = this.#next++
    const [forward, back] = [packKey(packId), numberKey(number)]
    const writes: Write[] = [
      { type: 'put', key: forward, value: sealedNumber(forward, number) },
      { type: 'put', key: back, value: sealed(back, packId) },
    ]
    return { pack: { id: bytesToHex(packId), number, seed: packSeedOf(packId) }, writes }
  }

  /** The pack, if both of its records are there and agree. */
  async find(db: Database, packId: Uint8Array): Promise<NumberedPack | undefined> {
    const id = bytesToHex(packId)
    const cached = this.#byId.get(id)
    if (cached !== undefined) return cached
    const key = packKey(packId)
    const [value] = await getMany(db, [key])
    const number = unsealedNumber(key, value)
    if (number === undefined) return undefined
    const pack = (await this.resolve(db, new Set([number]))).get(number)
    return pack?.id === id ? pack : undefined
  }

  /** What to write so that the pack is forgotten, and its number never given out again. Call `drop` afterwards. */
  async forgetting(db: Database, packId: Uint8Array): Promise<Write[]> {
    const writes: Write[] = [{ type: 'del', key: packKey(packId) }]
    const number = (await this.find(db, packId))?.number
    if (number === undefined) return writes
    const key = numberKey(number)
    if (number === this.#next - 1) writes.push({ type: 'put', key, value: sealed(key, TOMBSTONE) })
    else writes.push({ type: 'del', key })
    return writes
  }

  /** Keeps a pack in memory that is written now. */
  keep(pack: NumberedPack): void {
    this.#byNumber.set(pack.number, pack)
    this.#byId.set(pack.id, pack)
    if (this.#byNumber.size <= CACHED_PACKS_MAX) return
    const [oldest] = this.#byNumber.values()
    if (oldest !== undefined) this.#evict(oldest.id)
  }

  /** Lets go of a pack that is forgotten now. */
  drop(id: string): void {
    this.#forgotten++
    this.#evict(id)
  }

  #evict(id: string): void {
    const pack = this.#byId.get(id)
    this.#byId.delete(id)
    if (pack !== undefined) this.#byNumber.delete(pack.number)
  }
}
