import { packKey } from '../store/keys.js'
import type { EncodeResult } from './jobs.js'
import {
  decodePackDirectory,
  decodePackFooter,
  encodePackTail,
  type FrameEntry,
  PACK_CHUNKS_MAX,
  PACK_FOOTER_BYTES,
  PACK_HEADER_BYTES,
  PACK_PLAIN_BYTES_MAX,
  type PackDirectory,
  packHeader,
} from './pack-format.js'

/** A pack that is ready to be written: its parts in order, and the directory that readers will find in it. */
export interface SealedPack {
  readonly key: string
  readonly parts: readonly Uint8Array[]
  readonly directory: PackDirectory
}

/** Collects encoded frames until they make a pack. */
export class PackBuilder {
  readonly #frames: FrameEntry[] = []
  readonly #stored: Uint8Array[] = []
  readonly #lengths: number[] = []
  readonly #hashes: Uint8Array[] = []
  #storedBytes = 0
  #plainBytes = 0

  get chunkCount(): number {
    return this.#lengths.length
  }

  get plainBytes(): number {
    return this.#plainBytes
  }

  get storedBytes(): number {
    return this.#storedBytes
  }

  /** Shared memory that what was appended lies in: it can be used again once the pack is written. */
  rooms(): Iterable<SharedArrayBuffer> {
    const rooms = new Set<SharedArrayBuffer>()
    for (const { buffer } of this.#stored) if (buffer instanceof SharedArrayBuffer) rooms.add(buffer)
    return rooms
  }

  /** Is it time to close it? */
  isFull(packSize: number): boolean {
    return this.#storedBytes >= packSize || this.#plainBytes >= PACK_PLAIN_BYTES_MAX
  }

  /** Would `chunks` more chunks exceed what one pack can number? */
  hasRoomFor(chunks: number): boolean {
    return this.#lengths.length + chunks <= PACK_CHUNKS_MAX
  }

  /** Appends encoded frames; `hashes` (32 bytes each) and `lengths` are those of their chunks, in order. */
  append(result: EncodeResult, frameChunks: Uint32Array, lengths: Uint32Array, hashes: Uint8Array): void {
    for (let i = 0; i < frameChunks.length; i++)
      this.#frames.push({
        storedLength: result.storedLength[i] ?? 0,
        plainLength: result.plainLength[i] ?? 0,
        crc: result.crc[i] ?? 0,
        codec: result.codec[i] ?? 0,
        chunks: frameChunks[i] ?? 0,
      })
    for (const length of lengths) {
      this.#lengths.push(length)
      this.#plainBytes += length
    }
    this.#hashes.push(hashes)
    this.#stored.push(result.stored)
    this.#storedBytes += result.stored.length
  }

  /** The pack as it is now, as the given generation. Its tail is decoded again before anyone may write it (invariant 8). */
  seal(generation = 0): SealedPack {
    const hashes = Buffer.concat(this.#hashes)
    const present = new Uint8Array(Math.ceil(this.#lengths.length / 8))
    for (let i = 0; i < this.#lengths.length; i++) present[i >> 3] = (present[i >> 3] ?? 0) | (1 << (i & 7))
    const tail = encodePackTail(this.#frames, this.#lengths, present, hashes, generation)
    const sizeBytes = PACK_HEADER_BYTES + this.#storedBytes + tail.length
    const footer = decodePackFooter(tail, sizeBytes)
    const directory = decodePackDirectory(
      tail.subarray(0, tail.length - PACK_FOOTER_BYTES),
      footer,
      sizeBytes,
    )
    if (Buffer.compare(directory.hashes, hashes) !== 0)
      throw new Error('a pack did not decode to what was encoded')
    return { key: packKey(directory.id, generation), parts: [packHeader(), ...this.#stored, tail], directory }
  }
}
