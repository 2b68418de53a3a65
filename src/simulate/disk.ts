import { EverfoldError } from '../errors.js'
import type { ByteExtent } from '../feed/byte-extents.js'
import type { DiskSource } from '../feed/disk-source.js'
import type { DiskTarget } from '../restore/restore.js'
import { Random } from './random.js'
import { someHoles } from './some-holes.js'

export const BLOCK_BYTES = 4096
/** Different blocks in the world: few, so that the same ones come again and again. */
const PALETTE_BLOCKS = 64

const palette = Array.from({ length: PALETTE_BLOCKS }, (_, i): Buffer => {
  const random = new Random(1000 + i)
  // One in three shrinks well when compressed.
  return i % 3 === 0 ? Buffer.alloc(BLOCK_BYTES, random.bytes(200)) : random.bytes(BLOCK_BYTES)
})

/** A disk that its owner writes to, and what was written since the last point that was acknowledged. */
export class SimulatedDisk {
  readonly id: string
  readonly chunker: 'fixed' | 'cdc'
  bytes: Buffer
  /** What a feed has to tell. */
  writes: ByteExtent[] = []
  /** Was it part of the last point that the owner knows of? Only then does the owner believe in a feed. */
  inLastPoint = false
  /** What it held at some times: it may come again. */
  readonly #past: Buffer[] = []

  constructor(id: string, random: Random) {
    this.id = id
    this.chunker = random.chance(0.5) ? 'fixed' : 'cdc'
    this.bytes = Buffer.alloc(random.chance(0.1) ? random.below(3) : random.below(30 * BLOCK_BYTES))
    for (let i = random.below(4); i > 0; i--) this.change(random, [this])
  }

  /** One change of any kind; data may come from `others`. */
  change(random: Random, others: readonly SimulatedDisk[]): void {
    if (random.chance(0.3)) this.#past.push(this.bytes)
    switch (random.below(11)) {
      case 0: {
        this.#zero(random)
        return
      }
      case 1: {
        this.#resize(random)
        return
      }
      case 2:
      case 3: {
        this.#copy(random, random.pick(others))
        return
      }
      case 4: {
        this.#insert(random)
        return
      }
      case 10: {
        this.bytes = random.pick([this.bytes, ...this.#past])
        this.writes.push({ offset: 0, length: this.bytes.length })
        return
      }
      case 5: {
        this.#write(random.below(this.bytes.length + 1), random.bytes(random.below(700)))
        return
      }
      default: {
        this.#writeBlocks(random)
        return
      }
    }
  }

  /** Blocks of the palette, in its order: as files that come again. */
  #writeBlocks(random: Random): void {
    const first = random.below(PALETTE_BLOCKS)
    const blocks = Array.from({ length: random.between(1, 12) }, (_, i) => first + i)
    const bytes = Buffer.concat(blocks.map((i) => palette[i % PALETTE_BLOCKS] ?? Buffer.alloc(0)))
    const offset = random.below(this.bytes.length + 1)
    this.#write(random.chance(0.8) ? offset - (offset % BLOCK_BYTES) : offset, bytes)
  }

  #zero(random: Random): void {
    const offset = random.below(this.bytes.length + 1)
    this.#write(offset, Buffer.alloc(random.below(8 * BLOCK_BYTES)))
  }

  #copy(random: Random, from: SimulatedDisk): void {
    const align = random.chance(0.6) ? BLOCK_BYTES : 1
    const start = random.below(from.bytes.length + 1)
    const source = start - (start % align)
    const offset = random.below(this.bytes.length + 1)
    const length = random.between(1, 8) * BLOCK_BYTES
    this.#write(offset - (offset % align), Buffer.from(from.bytes.subarray(source, source + length)))
  }

  /** Everything behind is shifted. */
  #insert(random: Random): void {
    const offset = random.below(this.bytes.length + 1)
    const rest = Buffer.concat([random.bytes(random.between(1, 300)), this.bytes.subarray(offset)])
    this.bytes = Buffer.concat([this.bytes.subarray(0, offset), rest])
    this.writes.push({ offset, length: rest.length })
  }

  #resize(random: Random): void {
    const before = this.bytes.length
    const size = random.chance(0.5) ? random.below(before + 1) : before + random.below(10 * BLOCK_BYTES)
    const grown = Buffer.alloc(Math.max(0, size - before))
    if (random.chance(0.5)) random.pick(palette).copy(grown)
    if (grown.length > 0) this.writes.push({ offset: before, length: grown.length })
    this.bytes = Buffer.concat([this.bytes.subarray(0, size), grown])
  }

  #write(offset: number, bytes: Buffer): void {
    const length = bytes.copy((this.bytes = Buffer.from(this.bytes)), offset)
    this.writes.push({ offset, length })
  }
}

/** How a disk is read. */
export interface Reading {
  /** What lies in the second half only after this. */
  readonly gate?: Promise<void> | undefined
  /** Where it ends by now: it shrank since it was opened. */
  readonly endsAt?: number | undefined
  /** By which threads read it. */
  readonly descriptor?: number | undefined
}

/** A source that reads from memory. */
export function sourceOf(bytes: Buffer, { gate, endsAt, descriptor }: Reading = {}): DiskSource {
  const end = endsAt ?? bytes.length
  const check = (needed: number): void => {
    if (needed > end) throw new EverfoldError('SOURCE_CHANGED', 'a simulated disk shrank')
  }
  return {
    name: 'a simulated disk',
    sizeBytes: bytes.length,
    ...(descriptor !== undefined && { descriptor }),
    read: async (into, offset) => {
      if (offset + into.length > bytes.length / 2) await gate
      check(offset + into.length)
      into.set(bytes.subarray(offset, offset + into.length))
    },
    holes: async (grid) => someHoles(bytes, grid),
    checkUnchanged: async () => {
      // An empty disk is not read.
      await gate
      check(bytes.length)
    },
    close: async () => undefined,
  }
}

/** Notices what was not written, written twice, or written beyond the end. */
export class SimulatedTarget implements DiskTarget {
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

  /** Is everything that was written the same as in `expected`? */
  agreesWith(expected: Buffer): boolean {
    if (expected.length !== this.bytes.length) return false
    for (let i = 0; i < expected.length; i++)
      if (this.#written[i] === 1 && this.bytes[i] !== expected[i]) return false
    return true
  }

  #note(offset: number, length: number): void {
    if (offset + length > this.bytes.length) throw new Error(`written beyond the end: ${offset}+${length}`)
    const range = this.#written.subarray(offset, offset + length)
    if (range.includes(1)) throw new Error(`written twice: ${offset}+${length}`)
    range.fill(1)
  }
}
