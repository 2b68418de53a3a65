import { Gate } from '../gate.js'

/** Packs that are being written to the store at once. */
const PACK_WRITES_MAX = 3

/** One ingest, as its room sees it. */
export interface Occupant {
  /** Memory of its open pack. */
  readonly openBytes: number
  /** Closes the open pack as soon as its turn comes. */
  closeOpenPack(): void
}

/** What ingests share: how much may be under way, and so how much memory it takes. */
export interface IngestRoom {
  /** Batches under way. */
  readonly batches: Gate
  /** Packs being written. */
  readonly writes: Gate
  takeBuffer(): ArrayBufferLike
  /** Memory for the stored bytes of a batch; without it each has its own, just as much as it needs. */
  takeStoredRoom?(): SharedArrayBuffer
  /** Takes memory back that is no longer needed. */
  giveBack(buffer: ArrayBufferLike): void
  enter(occupant: Occupant): void
  leave(occupant: Occupant): void
  /** Stored bytes after which a pack is closed now. */
  packSize(wanted: number): number
  /** An open pack takes so many bytes of memory more, or (negative) a pack became durable. */
  count(bytes: number): void
}

/** All of it for one ingest: as many batches as keep the threads busy, and packs of their full size. */
export class OwnRoom implements IngestRoom {
  readonly batches: Gate
  readonly writes = new Gate(PACK_WRITES_MAX)
  readonly #idle: ArrayBufferLike[] = []
  readonly #idleStored: SharedArrayBuffer[] = []
  readonly #bufferBytes: number
  readonly #storedRoomBytes: number

  /** @param threads  how many jobs are worked on at once */
  constructor(threads: number, bufferBytes: number) {
    // More of them make it no faster (2 threads: 5 as fast as 6), and each takes memory.
    this.batches = new Gate(threads + Math.ceil(threads / 2) + 2)
    this.#bufferBytes = bufferBytes
    // A frame that does not shrink grows by a 256th before that is seen (zstd.h, ZSTD_COMPRESSBOUND).
    this.#storedRoomBytes = bufferBytes + bufferBytes / 128 + 65_536
  }

  /** Shared with the threads: what is handed over counts as garbage with each step, and one in ten seconds went into collecting it. */
  takeBuffer(): ArrayBufferLike {
    return this.#idle.pop() ?? new SharedArrayBuffer(this.#bufferBytes)
  }

  giveBack(buffer: ArrayBufferLike): void {
    if (buffer.byteLength === this.#bufferBytes) this.#idle.push(buffer)
    else if (buffer instanceof SharedArrayBuffer) this.#idleStored.push(buffer)
  }

  /** Pages of it that were never written take no memory. */
  takeStoredRoom(): SharedArrayBuffer {
    return this.#idleStored.pop() ?? new SharedArrayBuffer(this.#storedRoomBytes)
  }

  enter(): void {}

  leave(): void {}

  packSize(wanted: number): number {
    return wanted
  }

  count(): void {}
}

/** Plain bytes that all requests together are being sent, and have not handed over yet. */
const RECEIVE_BYTES_MAX = 64 * 1024 * 1024
/** Of them for one request, at most. */
const RECEIVE_BUFFER_MAX = 1024 * 1024
const RECEIVE_BUFFER_MIN = 64 * 1024
/** Extents that all requests together have brought and not recorded yet (32 bytes each), and of them one request, at most. */
const RECEIVE_EXTENTS_MAX = 1024 * 1024
const PART_EXTENTS_MAX = 16 * 1024
const PART_EXTENTS_MIN = 1024
/**
 * Idle buffers that are kept for the next request. Bytes. V8 does not count memory that threads share: what is dropped stays until V8 collects
 * all garbage for another reason, which under load came to hundreds of megabytes.
 */
const IDLE_BUFFERS_BYTES_MAX = 96 * 1024 * 1024
/** Memory of packs that are open or being written, of all requests together. */
const OPEN_PACKS_BYTES_MAX = 96 * 1024 * 1024
/** What a pack may have however many are open. */
const OPEN_PACK_BYTES_MIN = 256 * 1024

/** Divided among the requests of a service: the more there are, the less each may hold, and all together never more than this. */
export class SharedRoom implements IngestRoom {
  readonly batches: Gate
  readonly writes = new Gate(PACK_WRITES_MAX)
  readonly #occupants = new Set<Occupant>()
  readonly #idle: SharedArrayBuffer[] = []
  readonly #bufferMin: number
  readonly #openPacksMax: number
  #idleBytes = 0
  #packBytes = 0
  #receivers = 0

  /**
   * @param threads  how many jobs are worked on at once
   * @param openPacksMax  bytes of memory of packs that are open or being written, about
   */
  constructor(threads: number, chunkSize: number, openPacksMax = OPEN_PACKS_BYTES_MAX) {
    this.batches = new Gate(threads * 4 + 2)
    this.#openPacksMax = openPacksMax
    this.#bufferMin = Math.max(RECEIVE_BUFFER_MIN, 2 * chunkSize)
  }

  /** Memory of packs that are not durable yet. */
  get packBytes(): number {
    return this.#packBytes
  }

  /** A request begins, or (-1) ends, that may take buffers. */
  receive(change: 1 | -1): void {
    this.#receivers += change
  }

  /** How many extents a request may have brought before it records them. */
  get partExtents(): number {
    const share = RECEIVE_EXTENTS_MAX / Math.max(1, this.#receivers)
    return Math.max(PART_EXTENTS_MIN, Math.min(PART_EXTENTS_MAX, share))
  }

  /**
   * For plain bytes, and for frames as they come. Shared with the threads, like those of {@link OwnRoom}.
   * @param least  bytes that it has to have, however many requests there are
   */
  takeBuffer(least = 0): SharedArrayBuffer {
    const share = RECEIVE_BYTES_MAX / Math.max(1, this.#receivers)
    let bytes = RECEIVE_BUFFER_MAX
    while (bytes > share) bytes /= 2
    bytes = Math.max(bytes, this.#bufferMin)
    while (bytes < least) bytes *= 2
    const found = this.#idle.findIndex((buffer) => buffer.byteLength === bytes)
    const [buffer] = found < 0 ? [] : this.#idle.splice(found, 1)
    if (buffer === undefined) return new SharedArrayBuffer(bytes)
    this.#idleBytes -= bytes
    return buffer
  }

  giveBack(buffer: ArrayBufferLike): void {
    if (!(buffer instanceof SharedArrayBuffer) || buffer.byteLength < this.#bufferMin) return
    this.#idle.push(buffer)
    this.#idleBytes += buffer.byteLength
    while (this.#idleBytes > IDLE_BUFFERS_BYTES_MAX) this.#idleBytes -= this.#idle.shift()?.byteLength ?? 0
  }

  enter(occupant: Occupant): void {
    this.#occupants.add(occupant)
  }

  leave(occupant: Occupant): void {
    this.#occupants.delete(occupant)
  }

  packSize(wanted: number): number {
    if (this.#packBytes > this.#openPacksMax) return 0
    const share = this.#openPacksMax / 2 / Math.max(1, this.#occupants.size)
    return Math.min(wanted, Math.max(OPEN_PACK_BYTES_MIN, share))
  }

  count(bytes: number): void {
    this.#packBytes += bytes
    if (bytes < 0 || this.#packBytes <= this.#openPacksMax) return
    // Who began when there was room, and sends nothing now, gives it back.
    let largest: Occupant | undefined
    for (const occupant of this.#occupants)
      if (occupant.openBytes > (largest?.openBytes ?? 0)) largest = occupant
    largest?.closeOpenPack()
  }
}
