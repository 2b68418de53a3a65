import { HASH_BYTES } from '../index/chunk-index.js'
import type { PackDirectory } from '../pack/pack-format.js'
import type { PackTable } from './pack-table.js'

/**
 * New chunks of a session that the index does not know yet, so that a session finds its own repetitions. Each new chunk gets
 * a serial number in the order of arrival; packs take them in that order, so a pack is a range of serials.
 */
export class PendingChunks {
  readonly #packs: PackTable
  readonly #serials = new Map<string, { readonly serial: number; readonly length: number }>()
  /** Packs so far: first serial of each, and slot in the table. Ascending. */
  readonly #first: number[] = []
  readonly #slot: number[] = []
  #next = 0

  constructor(packs: PackTable) {
    this.#packs = packs
  }

  get nextSerial(): number {
    return this.#next
  }

  /** The serial of a chunk with this hash and length that is on its way into a pack. */
  find(hashes: Uint8Array, index: number, length: number): number | undefined {
    const found = this.#serials.get(keyOf(hashes, index))
    return found?.length === length ? found.serial : undefined
  }

  add(hashes: Uint8Array, index: number, length: number): number {
    const serial = this.#next++
    this.#serials.set(keyOf(hashes, index), { serial, length })
    return serial
  }

  /** A new pack takes chunks from `firstSerial` on. */
  beginPack(firstSerial: number): void {
    this.#first.push(firstSerial)
    this.#slot.push(this.#packs.reserve())
  }

  /** The open pack is complete. @returns a function that forgets its chunks: to be called once the index has them. */
  endPack(directory: PackDirectory): () => void {
    const slot = this.#slot.at(-1)
    const first = this.#first.at(-1)
    if (slot === undefined || first === undefined) throw new RangeError('no pack is open')
    this.#packs.name(slot, directory.id)
    return () => {
      for (let i = 0; i < directory.chunkCount; i++) {
        const key = keyOf(directory.hashes, i)
        if (this.#serials.get(key)?.serial === first + i) this.#serials.delete(key)
      }
    }
  }

  /** Where a chunk is, or will be once its pack is written. */
  addressOf(serial: number): { readonly slot: number; readonly chunk: number } {
    let i = this.#first.length - 1
    while (i >= 0 && (this.#first[i] ?? 0) > serial) i--
    const slot = this.#slot[i]
    if (slot === undefined) throw new RangeError(`no pack holds serial ${serial}`)
    return { slot, chunk: serial - (this.#first[i] ?? 0) }
  }
}

/** 16 bytes tell chunks of one session apart as well as 32 do; confirmed against nothing, so SHA-256's own strength. */
function keyOf(hashes: Uint8Array, index: number): string {
  const at = hashes.byteOffset + index * HASH_BYTES
  return Buffer.from(hashes.buffer, at, HASH_BYTES).toString('latin1')
}
