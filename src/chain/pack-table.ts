import { bytesToHex, hexToBytes, SHA256_BYTES } from '../checksum.js'

const CAPACITY_MIN = 16

/**
 * Interned pack ids: extents name packs by small numbers in a table shared by the lists that are worked on together. Ids are kept as
 * bytes, 32 each, and found by their first four: they are as good as random, being SHA-256. A run of a million scattered extents
 * names a hundred thousand packs, most of them often, and text would take five times as long.
 */
export class PackTable {
  #count = 0
  /** By slot. Bytes of a slot that is reserved are 0, and not looked for. */
  #bytes = new Uint8Array(CAPACITY_MIN * SHA256_BYTES)
  /** Open addressing: slot + 1, or 0 for none. At most half full. */
  #buckets = new Int32Array(CAPACITY_MIN * 2)
  /** By slot, once it was asked for; '' where the slot is reserved. */
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
      slot = this.slotOfBytes(hexToBytes(packId))
      this.#slots.set(packId, slot)
    }
    return slot
  }

  /** The same for the bytes of an id: 32. They are copied. */
  slotOfBytes(id: Uint8Array): number {
    const found = this.#search(id, 0)
    if (found !== undefined) return found
    const slot = this.#grow()
    this.#bytes.set(checked(id), slot * SHA256_BYTES)
    this.#enter(slot)
    return slot
  }

  /** The slot of a pack, if it has one. */
  find(packId: string): number | undefined {
    return this.#slots.get(packId) ?? this.#search(hexToBytes(packId), 0)
  }

  /** A slot for a pack that is still being filled; {@link name} gives it its id once that is known. */
  reserve(): number {
    const slot = this.#grow()
    this.#text[slot] = ''
    return slot
  }

  /** Names a reserved slot. @returns the slot to use from now on: another one, if the pack has a slot already. */
  name(reserved: number, packId: string): number {
    const id = checked(hexToBytes(packId))
    this.#bytes.set(id, reserved * SHA256_BYTES)
    this.#text[reserved] = packId
    const known = this.#search(id, 0)
    if (known !== undefined) return known
    this.#enter(reserved)
    return reserved
  }

  /** The slot to use for a slot's pack: another one, if the pack was named twice. */
  firstOf(slot: number): number {
    return this.#search(this.#bytes, slot * SHA256_BYTES) ?? slot
  }

  /** @throws RangeError for a slot that was never handed out or not yet named: our own bug. */
  idOf(slot: number): string {
    const text = (this.#text[slot] ??= bytesToHex(this.bytesOf(slot)))
    return text === '' ? fail(slot) : text
  }

  /** The id's bytes: a view, until the table grows. @throws as {@link idOf} */
  bytesOf(slot: number): Uint8Array {
    if (!(slot >= 0 && slot < this.#count) || this.#text[slot] === '') fail(slot)
    return this.#bytes.subarray(slot * SHA256_BYTES, (slot + 1) * SHA256_BYTES)
  }

  #grow(): number {
    const slot = this.#count++
    if (slot * SHA256_BYTES < this.#bytes.length) return slot
    const bytes = new Uint8Array(this.#bytes.length * 2)
    bytes.set(this.#bytes)
    this.#bytes = bytes
    const before = this.#buckets
    this.#buckets = new Int32Array(before.length * 2)
    for (const bucket of before) if (bucket !== 0) this.#enter(bucket - 1)
    return slot
  }

  #enter(slot: number): void {
    const mask = this.#buckets.length - 1
    let bucket = startOf(this.#bytes, slot * SHA256_BYTES) & mask
    while (this.#buckets[bucket] !== 0) bucket = (bucket + 1) & mask
    this.#buckets[bucket] = slot + 1
  }

  /** @param at  where in `bytes` the id lies */
  #search(bytes: Uint8Array, at: number): number | undefined {
    const mask = this.#buckets.length - 1
    for (let bucket = startOf(bytes, at) & mask; ; bucket = (bucket + 1) & mask) {
      const slot = (this.#buckets[bucket] ?? 0) - 1
      if (slot < 0) return undefined
      const own = slot * SHA256_BYTES
      let i = 0
      while (i < SHA256_BYTES && this.#bytes[own + i] === bytes[at + i]) i++
      if (i === SHA256_BYTES) return slot
    }
  }
}

/** The first four bytes, as a number. */
function startOf(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] ?? 0) |
    ((bytes[at + 1] ?? 0) << 8) |
    ((bytes[at + 2] ?? 0) << 16) |
    ((bytes[at + 3] ?? 0) << 24)
  )
}

function checked(id: Uint8Array): Uint8Array {
  if (id.length !== SHA256_BYTES)
    throw new RangeError(`a pack id has ${SHA256_BYTES} bytes, not ${id.length}`)
  return id
}

function fail(slot: number): never {
  throw new RangeError(`no pack has slot ${slot}`)
}
