import { bytesToHex, hexToBytes, SHA256_BYTES } from '../checksum.js'

const CAPACITY_MIN = 16
/** 32-bit words of an id: what ids are compared by. */
const ID_WORDS = SHA256_BYTES / 4

/**
 * Interned pack ids: extents name packs by small numbers in a table shared by the lists that are worked on together. Ids are kept as
 * bytes, 32 each, and found by their first four: they are as good as random, being SHA-256. A run of a million scattered extents
 * names a hundred thousand packs, most of them often, and text would take five times as long.
 */
export class PackTable {
  #count = 0
  /** By slot. Words of a slot that is reserved are 0, and not looked for. Behind the last slot is room for ids that are looked for. */
  #words = new Uint32Array(CAPACITY_MIN * ID_WORDS)
  /** The same memory. */
  #bytes = new Uint8Array(this.#words.buffer)
  /** Open addressing: slot + 1, or 0 for none. At most half full. */
  #buckets = new Int32Array(CAPACITY_MIN * 2)
  /** Slots that are reserved, and not yet named. */
  readonly #unnamed = new Set<number>()
  /** By slot, once it was asked for. */
  readonly #text: (string | undefined)[] = []
  /** Those that were asked for as text. */
  readonly #slots = new Map<string, number>()

  get size(): number {
    return this.#count
  }

  /** The slot of a pack, added if it is new. @throws RangeError unless it is 64 hexadecimal digits */
  slotOf(packId: string): number {
    let slot = this.#slots.get(packId)
    if (slot === undefined) {
      slot = this.#add(this.#place(packId))
      this.#slots.set(packId, slot)
    }
    return slot
  }

  /** The slots of packs, added where they are new. @param ids  one after the other, 32 bytes each. They are copied. */
  slotsOf(ids: Uint8Array): Int32Array {
    const slots = new Int32Array(ids.length / SHA256_BYTES)
    this.#makeRoom(slots.length)
    const first = this.#count
    this.#bytes.set(ids, first * SHA256_BYTES)
    for (let i = 0; i < slots.length; i++) slots[i] = this.#add(first + i)
    return slots
  }

  /** The slot of a pack, if it has one. */
  find(packId: string): number | undefined {
    return this.#slots.get(packId) ?? this.#search(this.#place(packId))
  }

  /** A slot for a pack that is still being filled; {@link name} gives it its id once that is known. */
  reserve(): number {
    this.#makeRoom(1)
    const slot = this.#count++
    this.#words.fill(0, slot * ID_WORDS, (slot + 1) * ID_WORDS)
    this.#unnamed.add(slot)
    return slot
  }

  /** Names a reserved slot. @returns the slot to use from now on: another one, if the pack has a slot already. */
  name(reserved: number, packId: string): number {
    this.#bytes.set(checked(hexToBytes(packId)), reserved * SHA256_BYTES)
    this.#unnamed.delete(reserved)
    const known = this.#search(reserved)
    if (known !== undefined) return known
    this.#enter(reserved)
    return reserved
  }

  /** The slot to use for a slot's pack: another one, if the pack was named twice. */
  firstOf(slot: number): number {
    return this.#search(slot) ?? slot
  }

  /** @throws RangeError for a slot that was never handed out or not yet named: our own bug. */
  idOf(slot: number): string {
    return (this.#text[slot] ??= bytesToHex(this.idsOf([slot])))
  }

  /** The ids' bytes, one after the other. @throws as {@link idOf} */
  idsOf(slots: readonly number[]): Uint8Array {
    const ids = new Uint32Array(slots.length * ID_WORDS)
    const words = this.#words
    let at = 0
    for (const slot of slots) {
      this.#check(slot)
      for (let i = 0; i < ID_WORDS; i++) ids[at++] = words[slot * ID_WORDS + i] ?? 0
    }
    return new Uint8Array(ids.buffer)
  }

  /** Do slots of two tables stand for the same pack? @throws as {@link idOf} */
  isSame(slot: number, others: PackTable, other: number): boolean {
    this.#check(slot)
    others.#check(other)
    return areEqual(this.#words, slot, others.#words, other)
  }

  #check(slot: number): void {
    if (!(slot >= 0 && slot < this.#count) || (this.#unnamed.size > 0 && this.#unnamed.has(slot)))
      throw new RangeError(`no pack has slot ${slot}`)
  }

  /** Puts an id behind the last slot. @returns where, counted as slots are */
  #place(packId: string): number {
    const id = checked(hexToBytes(packId))
    this.#makeRoom(1)
    this.#bytes.set(id, this.#count * SHA256_BYTES)
    return this.#count
  }

  /** The slot of an id that lies behind the last slot: it moves down to the next one, if it has none. */
  #add(at: number): number {
    const found = this.#search(at)
    if (found !== undefined) return found
    const slot = this.#count++
    if (at !== slot) this.#words.copyWithin(slot * ID_WORDS, at * ID_WORDS, (at + 1) * ID_WORDS)
    this.#enter(slot)
    return slot
  }

  #makeRoom(ids: number): void {
    let capacity = this.#words.length / ID_WORDS
    if (this.#count + ids <= capacity) return
    while (capacity < this.#count + ids) capacity *= 2
    const words = new Uint32Array(capacity * ID_WORDS)
    words.set(this.#words)
    this.#words = words
    this.#bytes = new Uint8Array(words.buffer)
    const before = this.#buckets
    this.#buckets = new Int32Array(capacity * 2)
    for (const bucket of before) if (bucket !== 0) this.#enter(bucket - 1)
  }

  #enter(slot: number): void {
    const mask = this.#buckets.length - 1
    let bucket = (this.#words[slot * ID_WORDS] ?? 0) & mask
    while (this.#buckets[bucket] !== 0) bucket = (bucket + 1) & mask
    this.#buckets[bucket] = slot + 1
  }

  /** @param at  where the id lies, counted as slots are */
  #search(at: number): number | undefined {
    const mask = this.#buckets.length - 1
    for (let bucket = (this.#words[at * ID_WORDS] ?? 0) & mask; ; bucket = (bucket + 1) & mask) {
      const slot = (this.#buckets[bucket] ?? 0) - 1
      if (slot < 0) return undefined
      if (areEqual(this.#words, slot, this.#words, at)) return slot
    }
  }
}

function areEqual(some: Uint32Array, slot: number, others: Uint32Array, other: number): boolean {
  for (let i = 0; i < ID_WORDS; i++)
    if (some[slot * ID_WORDS + i] !== others[other * ID_WORDS + i]) return false
  return true
}

function checked(id: Uint8Array): Uint8Array {
  if (id.length !== SHA256_BYTES)
    throw new RangeError(`a pack id has ${SHA256_BYTES} bytes, not ${id.length}`)
  return id
}
