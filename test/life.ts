/** Machines with random lives, for properties of the engine: small disks of plain bytes, changed in all ways that disks are. */

import type { SeededBytes } from '../bench/seeded-bytes.js'
import { EverfoldError } from '../src/errors.js'
import type { ByteExtent } from '../src/feed/byte-extents.js'
import type { DiskSource } from '../src/feed/disk-source.js'
import type { DiskTarget } from '../src/restore/restore.js'
import { someHoles } from '../src/simulate/some-holes.js'

const DISK_BYTES_MAX = 300_000

/** A disk of a machine, and what changed on it since the last point. */
export class LivingDisk {
  readonly id: string
  readonly chunker: 'fixed' | 'cdc'
  bytes: Buffer
  changes: ByteExtent[] = []
  readonly #random: SeededBytes

  constructor(id: string, chunker: 'fixed' | 'cdc', random: SeededBytes) {
    this.id = id
    this.chunker = chunker
    this.#random = random
    this.bytes = Buffer.alloc(random.below(5) === 0 ? random.below(3) : random.below(DISK_BYTES_MAX))
    if (random.below(4) > 0) random.next(this.bytes.length).copy(this.bytes)
    for (let i = random.below(4); i > 0; i--) this.change([this])
  }

  /** One change, of which the feed will tell. `others` are where data may come from. */
  change(others: readonly LivingDisk[]): void {
    const random = this.#random
    const { offset, length } = this.#range()
    switch (random.below(7)) {
      case 0:
        this.bytes.fill(0, offset, offset + length)
        this.changes.push({ offset, length })
        break
      case 1: // moved from elsewhere, perhaps aligned as it was, perhaps not
      case 2: {
        const from = others[random.below(others.length)] ?? this
        const start = random.below(2) === 0 ? offset : random.below(from.bytes.length + 1)
        const copied = Buffer.from(from.bytes.subarray(start, start + length)).copy(this.bytes, offset)
        this.changes.push({ offset, length: copied })
        break
      }
      case 3: // everything behind is shifted
        this.bytes = Buffer.concat([
          this.bytes.subarray(0, offset),
          random.next(1 + random.below(500)),
          this.bytes.subarray(offset),
        ])
        this.changes.push({ offset, length: this.bytes.length - offset })
        break
      case 4:
        this.#resize()
        break
      default:
        random.next(length).copy(this.bytes, offset)
        this.changes.push({ offset, length })
    }
  }

  /** A feed of everything that changed, and of some that did not: overlapping, unsorted, in either shape. */
  feed(): Buffer {
    const size = this.bytes.length
    const random = this.#random
    const extents: ByteExtent[] = []
    for (const { offset, length } of this.changes) {
      const end = Math.min(size, offset + length)
      if (offset >= end) continue
      const cut = offset + random.below(end - offset + 1)
      extents.push({ offset, length: cut - offset })
      const back = random.below(Math.min(cut, 5000) + 1)
      extents.push({ offset: cut - back, length: end - cut + back })
    }
    for (let i = random.below(3); i > 0; i--) extents.push(this.#range())
    extents.sort(() => random.below(3) - 1)
    if (random.below(2) === 0) return Buffer.from(JSON.stringify(extents))
    const changedArea = extents.map(({ offset, length }) => ({ start: offset, length }))
    return Buffer.from(JSON.stringify({ startOffset: 0, length: size, changedArea }))
  }

  #range(): ByteExtent {
    const random = this.#random
    const offset = random.below(this.bytes.length + 1)
    const most = random.below(3) === 0 ? 100 : 60_000
    const length = Math.min(random.below(most), this.bytes.length - offset)
    if (random.below(2) === 0) return { offset, length }
    const aligned = offset - (offset % 4096)
    return { offset: aligned, length: Math.min(this.bytes.length - aligned, length - (length % 4096) + 4096) }
  }

  #resize(): void {
    const random = this.#random
    const size =
      random.below(3) === 0 ? random.below(this.bytes.length + 1) : this.bytes.length + random.below(40_000)
    const grown = Buffer.alloc(Math.max(0, size - this.bytes.length))
    if (random.below(2) === 0) random.next(grown.length).copy(grown)
    // What lies beyond the previous point's end need not be told, but it may have shrunk before.
    if (grown.length > 0) this.changes.push({ offset: this.bytes.length, length: grown.length })
    this.bytes = Buffer.concat([this.bytes.subarray(0, size), grown])
  }
}

/** A source that reads from memory. */
export function sourceOf(bytes: Uint8Array, name = 'memory'): DiskSource {
  return {
    name,
    sizeBytes: bytes.length,
    read: async (into, offset) => {
      if (offset + into.length > bytes.length)
        throw new EverfoldError('SOURCE_CHANGED', 'read beyond the end')
      into.set(bytes.subarray(offset, offset + into.length))
    },
    holes: async (grid) => someHoles(bytes, grid),
    checkUnchanged: async () => {},
    close: async () => {},
  }
}

/** A target in memory that notices what was left out, written twice or written beyond the end. */
export class MemoryTarget implements DiskTarget {
  readonly bytes: Buffer
  readonly #written: Uint8Array

  constructor(sizeBytes: number) {
    this.bytes = Buffer.alloc(sizeBytes, 0xa5)
    this.#written = new Uint8Array(sizeBytes)
  }

  async write(bytes: Uint8Array, offset: number): Promise<void> {
    this.#note(offset, bytes.length)
    this.bytes.set(bytes, offset)
  }

  async zeros(offset: number, length: number): Promise<void> {
    this.#note(offset, length)
    this.bytes.fill(0, offset, offset + length)
  }

  get isWhole(): boolean {
    return !this.#written.includes(0)
  }

  #note(offset: number, length: number): void {
    if (offset + length > this.bytes.length) throw new Error(`written beyond the end: ${offset}+${length}`)
    const range = this.#written.subarray(offset, offset + length)
    if (range.includes(1)) throw new Error(`written twice: ${offset}+${length}`)
    range.fill(1)
  }
}
