import { cutFixed } from '../chunker/fixed.js'
import { Gate } from '../gate.js'
import type { ChunkIndex } from '../index/chunk-index.js'
import type { PackCatalog } from '../pack/catalog.js'
import type { Crew } from '../pack/crew.js'
import type { EncodeJob, EncodeResult, HashResult } from '../pack/jobs.js'
import { PackBuilder } from '../pack/pack-builder.js'
import type { StoreWriter } from '../store/store.js'
import type { BaseDisk } from './base-disk.js'
import { Decider, type Decision, NEW, UNCHANGED } from './decide.js'
import { PackTable, ZEROS } from './extent-list.js'
import { PendingChunks } from './pending-chunks.js'
import type { WorkPins } from './pins.js'
import type { RunBuilder } from './run-builder.js'
import { writePack } from './write-pack.js'

export interface IngestSettings {
  readonly chunkSize: number
  /** Plain bytes that are compressed together, at most (or one chunk). */
  readonly frameSize: number
  /** Stored bytes after which a pack is closed. */
  readonly packSize: number
  readonly level: number
  readonly verify: boolean
  /** Plain bytes of a batch. */
  readonly batchBytes: number
}

export interface IngestParts {
  readonly store: StoreWriter
  readonly catalog: PackCatalog
  readonly index: ChunkIndex
  readonly crew: Crew
  readonly pins: WorkPins
  readonly settings: IngestSettings
}

/** What comes of one disk, and what it is compared with. */
export interface IngestDisk {
  readonly run: RunBuilder
  readonly contentDefined: boolean
  /** The previous point's disk when everything is read; what is equal to it is left out of the run. */
  readonly base: BaseDisk | undefined
}

/** Plain bytes of one disk, handed over for good. */
export interface Batch {
  readonly disk: IngestDisk
  readonly plain: ArrayBuffer
  /** Pieces lie one after the other from byte 0 of `plain`. Offsets on the disk and lengths, in bytes. */
  readonly pieces: readonly { readonly offset: number; readonly length: number }[]
  /** The last piece ends here. Else, where it is cut by content, it goes on in the next batch. */
  readonly final: boolean
}

export interface IngestCounts {
  changedBytes: number
  newBytes: number
  storedBytes: number
  newChunks: number
}

interface CutBatch {
  readonly plain: ArrayBuffer
  readonly lengths: Uint32Array
  readonly tail: Uint8Array
}

function cutOnGrid(batch: Batch, chunkSize: number): Promise<CutBatch> {
  const pieces = batch.pieces.map((piece) => cutFixed(piece.offset, piece.length, chunkSize))
  const lengths = new Uint32Array(pieces.reduce((sum, piece) => sum + piece.length, 0))
  let at = 0
  for (const piece of pieces) {
    lengths.set(piece, at)
    at += piece.length
  }
  return Promise.resolve({ plain: batch.plain, lengths, tail: NO_BYTES })
}

/** Packs that are being written to the store at once. */
const PACK_WRITES_MAX = 3
/** Plain bytes of a batch, by default. */
export const BATCH_BYTES = 4 * 1024 * 1024
const NO_BYTES = new Uint8Array(0)

/**
 * The way of the bytes: batches are hashed side by side, decided upon in order, compressed side by side and put into
 * packs in order. The number of batches and packs under way, and so memory, is bounded.
 */
export class Ingest {
  readonly packs = new PackTable()
  readonly counts: IngestCounts = { changedBytes: 0, newBytes: 0, storedBytes: 0, newChunks: 0 }
  readonly #parts: IngestParts
  readonly #decider: Decider
  readonly #pending: PendingChunks
  readonly #batches: Gate
  readonly #writes = new Gate(PACK_WRITES_MAX)
  readonly #idleBuffers: ArrayBuffer[] = []
  readonly #batchBytes: number
  #deciding: Promise<void> = Promise.resolve()
  #appending: Promise<void> = Promise.resolve()
  readonly #writing: Promise<void>[] = []
  #builder = new PackBuilder()
  #failure: { readonly error: unknown } | undefined

  constructor(parts: IngestParts) {
    this.#parts = parts
    this.#batchBytes = Math.max(parts.settings.batchBytes, parts.settings.chunkSize)
    this.#pending = new PendingChunks(this.packs)
    this.#decider = new Decider(parts.catalog, parts.index, this.packs, this.#pending, parts.pins)
    this.#batches = new Gate(parts.crew.size * 2 + 2)
  }

  /** An empty buffer to fill and {@link submit}. */
  takeBuffer(): ArrayBuffer {
    return this.#idleBuffers.pop() ?? new ArrayBuffer(this.#batchBytes)
  }

  /**
   * Takes a batch over, once there is room for it.
   * @returns for a disk that is cut by content, the tail in which no boundary was found yet: the next batch begins
   *          with it. Else nothing.
   * @throws what went wrong with this or any earlier batch
   */
  async submit(batch: Batch): Promise<Uint8Array> {
    await this.#batches.enter()
    if (this.#failure !== undefined) {
      this.#batches.leave()
      throw this.#failure.error
    }
    const cut = batch.disk.contentDefined
      ? this.#cutByContent(batch)
      : cutOnGrid(batch, this.#parts.settings.chunkSize)
    const hashed = cut.then(({ plain, lengths }) => this.#parts.crew.hash({ plain, lengths }))
    // Someone must listen from now on: it is awaited only when its turn to be decided upon comes.
    hashed.catch(() => undefined)
    this.#deciding = this.#deciding
      .then(() => this.#decide(batch, hashed))
      .catch((error: unknown) => {
        this.#fail(error)
        this.#batches.leave()
      })
    // Nothing is left of a batch that ends here: the next one need not wait.
    return batch.final ? NO_BYTES : (await cut).tail
  }

  async #cutByContent(batch: Batch): Promise<CutBatch> {
    const used = batch.pieces.reduce((sum, piece) => sum + piece.length, 0)
    const { plain, lengths } = await this.#parts.crew.cut({
      plain: batch.plain,
      pieces: Uint32Array.from(batch.pieces, (piece) => piece.length),
      chunkSize: this.#parts.settings.chunkSize,
      final: batch.final,
    })
    const consumed = lengths.reduce((sum, length) => sum + length, 0)
    // Copied now: the buffer goes on to be hashed.
    return { plain, lengths, tail: consumed < used ? new Uint8Array(plain.slice(consumed, used)) : NO_BYTES }
  }

  /** Waits until everything submitted is in packs that are durable and indexed. @throws what went wrong */
  async finish(): Promise<void> {
    await this.#deciding
    await this.#appending
    this.#check()
    if (this.#builder.chunkCount > 0) await this.#closePack()
    await Promise.all(this.#writing)
    this.#check()
  }

  /** Waits until nothing is under way any more, whatever came of it. */
  async settle(): Promise<void> {
    await this.#deciding
    await this.#appending
    await Promise.allSettled(this.#writing)
  }

  async #decide(batch: Batch, hashed: Promise<HashResult>): Promise<void> {
    const result = await hashed
    this.#check()
    const decision = await this.#decider.decide(batch, result)
    const frames = this.#groupFrames(decision)
    const encoded = frames === undefined ? undefined : this.#parts.crew.encode(frames)
    if (encoded === undefined) this.#idleBuffers.push(result.plain)
    // Someone must listen from now on: it is awaited only when its turn to be appended comes.
    encoded?.catch(() => undefined)
    this.#appending = this.#appending.then(async () => {
      try {
        this.#check()
        await this.#append(batch, decision, frames, encoded)
      } catch (error) {
        this.#fail(error)
      } finally {
        this.#batches.leave()
      }
    })
  }

  /** Groups the batch's new chunks into frames, or gives undefined if there are none. */
  #groupFrames(decision: Decision): EncodeJob | undefined {
    const { settings } = this.#parts
    const offsets: number[] = []
    const lengths: number[] = []
    const frameChunks: number[] = []
    let framePlain = Infinity
    for (let i = 0; i < decision.count; i++) {
      if (decision.pack[i] !== NEW || decision.isRepeat(i)) continue
      const length = decision.length[i] ?? 0
      if (framePlain + length > settings.frameSize) {
        frameChunks.push(0)
        framePlain = 0
      }
      frameChunks[frameChunks.length - 1] = (frameChunks.at(-1) ?? 0) + 1
      framePlain += length
      offsets.push(decision.from[i] ?? 0)
      lengths.push(length)
    }
    if (offsets.length === 0) return undefined
    return {
      plain: decision.plain,
      offsets: Uint32Array.from(offsets),
      lengths: Uint32Array.from(lengths),
      frameChunks: Uint32Array.from(frameChunks),
      level: settings.level,
      verify: settings.verify,
    }
  }

  async #append(
    batch: Batch,
    decision: Decision,
    frames: EncodeJob | undefined,
    encoded: Promise<EncodeResult> | undefined,
  ): Promise<void> {
    if (frames !== undefined && encoded !== undefined) {
      if (!this.#builder.hasRoomFor(frames.lengths.length)) await this.#closePack()
      const result = await encoded
      if (this.#builder.chunkCount === 0) this.#pending.beginPack(decision.firstSerial)
      this.#builder.append(result, frames.frameChunks, frames.lengths, decision.newHashes())
      this.counts.newBytes += frames.lengths.reduce((sum, length) => sum + length, 0)
      this.counts.newChunks += frames.lengths.length
      this.#idleBuffers.push(result.plain)
    }
    this.#record(batch.disk.run, decision)
    if (this.#builder.isFull(this.#parts.settings.packSize)) await this.#closePack()
  }

  /** Adds the batch's chunks to the disk's run, now that each has an address. */
  #record(run: RunBuilder, decision: Decision): void {
    for (let i = 0; i < decision.count; i++) {
      const pack = decision.pack[i] ?? ZEROS
      if (pack === UNCHANGED) continue
      const offset = decision.offset[i] ?? 0
      const length = decision.length[i] ?? 0
      this.counts.changedBytes += length
      if (pack === ZEROS) run.zeros(offset, length)
      else if (pack === NEW) {
        const address = this.#pending.addressOf(decision.serial[i] ?? 0)
        run.chunk(offset, length, address.slot, address.chunk)
      } else run.chunk(offset, length, pack, decision.chunk[i] ?? 0)
    }
  }

  /** Closes the open pack and writes it, indexing it once it is durable; waits if too many are being written. */
  async #closePack(): Promise<void> {
    const builder = this.#builder
    this.#builder = new PackBuilder()
    const forget = this.#pending.endPack(builder.seal().directory)
    await this.#writes.enter()
    const write = async (): Promise<void> => {
      try {
        this.#check()
        const { directory, writtenBytes } = await writePack(this.#parts, builder)
        this.counts.storedBytes += writtenBytes
        await this.#parts.index.addPack(directory.id, directory.hashes)
        forget()
      } catch (error) {
        this.#fail(error)
      } finally {
        this.#writes.leave()
      }
    }
    this.#writing.push(write())
  }

  #fail(error: unknown): void {
    this.#failure ??= { error }
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure.error
  }
}
