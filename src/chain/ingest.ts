import type { HashResult } from '../chunker/batch-jobs.js'
import type { ByteSource } from '../chunker/fill-batches.js'
import { cutFixed } from '../chunker/fixed.js'
import { copyBytes } from '../copy-bytes.js'
import type { IngestIndex } from '../index/index-to-come.js'
import type { PackCatalog } from '../pack/catalog.js'
import type { Crew } from '../pack/crew.js'
import type { EncodeResult } from '../pack/jobs.js'
import { PackBuilder } from '../pack/pack-builder.js'
import { packHeader } from '../pack/pack-format.js'
import type { StoreWriter } from '../store/store.js'
import type { BaseDisk } from './base-disk.js'
import { Decider, type Decision, NEW, UNCHANGED } from './decide.js'
import { EarlyPack } from './early-pack.js'
import { ZEROS } from './extent-list.js'
import { type IngestRoom, type Occupant, OwnRoom } from './ingest-room.js'
import { groupFrames, keepFrames, type NewChunks } from './new-chunks.js'
import { PackTable } from './pack-table.js'
import { PendingChunks } from './pending-chunks.js'
import type { WorkPins } from './pins.js'
import type { NamedChunks, ReceivedFrames } from './received-frames.js'
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
  /** Bytes of a pack that are written at once while it is not complete. */
  readonly earlyBytes?: number
}

export interface IngestParts {
  readonly store: StoreWriter
  readonly catalog: PackCatalog
  readonly index: IngestIndex
  readonly crew: Crew
  readonly pins: WorkPins
  readonly settings: IngestSettings
  /** Shared with others; its own without. */
  readonly room?: IngestRoom
}

/** What comes of one disk, and what it is compared with. */
export interface IngestDisk {
  readonly run: RunBuilder
  readonly contentDefined: boolean
  /** The previous point's disk when everything is read; what is equal to it is left out of the run. */
  readonly base: BaseDisk | undefined
  /** What is equal to `base` is not left out of the run, but marked as the same. */
  readonly marksSame?: boolean
}

/** Plain bytes of one disk, handed over for good. */
export interface Batch {
  readonly disk: IngestDisk
  readonly plain: ArrayBufferLike
  /** Where the first piece begins in `plain`: 0, unless it says so. */
  readonly start?: number
  /** Pieces lie one after the other. Offsets on the disk and lengths, in bytes. */
  readonly pieces: readonly { readonly offset: number; readonly length: number }[]
  /** The last piece ends here. Else, where it is cut by content, it goes on in the next batch. */
  readonly final: boolean
  /** The pieces are not in `plain` yet, and go there from its beginning; they are to be cut by content, and end here. */
  readonly unread?: ByteSource
  /** Pieces are chunks that came with their names, and maybe without their bytes. */
  readonly named?: boolean
}

export interface IngestCounts {
  changedBytes: number
  newBytes: number
  storedBytes: number
  newChunks: number
}

type Encode = (decision: Decision) => NewChunks | undefined | Promise<NewChunks | undefined>

class OpenPack implements Occupant {
  readonly #bytes: () => number
  readonly #close: () => void

  constructor(bytes: () => number, close: () => void) {
    this.#bytes = bytes
    this.#close = close
  }

  get openBytes(): number {
    return this.#bytes()
  }

  closeOpenPack(): void {
    this.#close()
  }
}

function batchOf(disk: IngestDisk, chunks: NamedChunks): Batch {
  const pieces = Array.from(chunks.lengths, (length, i) => ({ offset: chunks.offsets[i] ?? 0, length }))
  return { disk, plain: NO_BUFFER, pieces, final: true, named: true }
}

/** @returns bytes that are not as they were in the previous point */
function recordZeros(disk: IngestDisk, offset: number, length: number): number {
  let changed = 0
  const parts = disk.base?.zerosIn(offset, offset + length) ?? [{ offset, length, same: false }]
  for (const part of parts) {
    if (!part.same) {
      disk.run.zeros(part.offset, part.length)
      changed += part.length
    } else if (disk.marksSame === true) disk.run.same(part.offset, part.length)
  }
  return changed
}

interface CutBatch {
  readonly plain: ArrayBufferLike
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

/** Plain bytes of a batch, at most and by default: with half of it a full takes 4 % more CPU time, for twice the messages between threads. */
export const BATCH_BYTES = 8 * 1024 * 1024
const BATCH_BYTES_MIN = 2 * 1024 * 1024
/** Batches that each thread has to have its share of, so that none waits long for the last. */
const BATCHES_PER_THREAD = 4

/** Plain bytes of a batch where so many are to be read, `most` at most. */
export function batchBytesFor(totalBytes: number, threads: number, most: number): number {
  const share = Math.ceil(totalBytes / (threads * BATCHES_PER_THREAD))
  return Math.min(most, Math.max(BATCH_BYTES_MIN, share))
}
const NO_BYTES = new Uint8Array(0)
const NO_BUFFER = new ArrayBuffer(0)

/**
 * The way of the bytes: batches are hashed side by side, decided upon in order, compressed side by side and put into
 * packs in order. The number of batches and packs under way, and so memory, is bounded.
 */
export class Ingest {
  /** Threads read what is to be cut by content. */
  readonly reads = true
  readonly packs = new PackTable()
  readonly counts: IngestCounts = { changedBytes: 0, newBytes: 0, storedBytes: 0, newChunks: 0 }
  readonly #parts: IngestParts
  readonly #decider: Decider
  readonly #pending: PendingChunks
  readonly #room: IngestRoom
  readonly #occupant: Occupant
  #deciding: Promise<void> = Promise.resolve()
  #appending: Promise<void> = Promise.resolve()
  readonly #writing: Promise<void>[] = []
  #builder = new PackBuilder()
  /** Of the open pack. Ingests that share their room have too many of them open. */
  #early: EarlyPack | undefined
  /** Memory that what is in the open pack takes, which may be more than its stored bytes. */
  #held = 0
  /** Room that small batches of the open pack share, as far as it is used. */
  #gathered: Uint8Array | undefined
  #failure: { readonly error: unknown } | undefined

  constructor(parts: IngestParts) {
    this.#parts = parts
    const { crew, settings } = parts
    this.#room =
      parts.room ??
      new OwnRoom(crew.size, Math.max(settings.batchBytes, settings.chunkSize) + settings.chunkSize)
    this.#occupant = new OpenPack(
      () => this.#held,
      () => this.#closeSoon(),
    )
    this.#room.enter(this.#occupant)
    this.#pending = new PendingChunks(this.packs)
    this.#decider = new Decider(parts.catalog, parts.index, this.packs, this.#pending, parts.pins)
  }

  /** An empty buffer to fill and {@link submit}. */
  takeBuffer(): ArrayBufferLike {
    return this.#room.takeBuffer()
  }

  /**
   * Takes a batch over, once there is room for it.
   * @returns for a disk that is cut by content, the tail in which no boundary was found yet: the next batch begins
   *          with it. Else nothing.
   * @throws what went wrong with this or any earlier batch
   */
  async submit(batch: Batch): Promise<Uint8Array> {
    await this.#enter()
    if (batch.unread !== undefined) {
      this.#inTurn(batch, this.#scan(batch, batch.unread), (decision) => this.#encode(decision))
      return NO_BYTES
    }
    const cut = batch.disk.contentDefined
      ? this.#cutByContent(batch)
      : cutOnGrid(batch, this.#parts.settings.chunkSize)
    const { start = 0 } = batch
    const hashed = cut.then(({ plain, lengths }) => this.#parts.crew.hash({ plain, start, lengths }))
    this.#inTurn(batch, hashed, (decision) => this.#encode(decision))
    // Nothing is left of a batch that ends here: the next one need not wait.
    return batch.final ? NO_BYTES : (await cut).tail
  }

  /**
   * Takes chunks over that somebody else compressed into frames, once there is room for them. Each is compared with its hash; a frame
   * is kept as it came if all of its chunks are new.
   * @throws what went wrong with anything earlier. HASH_MISMATCH comes with {@link finish} or whatever is called next
   */
  async frames(disk: IngestDisk, frames: ReceivedFrames): Promise<void> {
    await this.#enter()
    const chunks = frames.chunks()
    const { lengths, hashes } = chunks
    const job = frames.checkJob(chunks)
    const checked = this.#parts.crew.check(job).then((result) => {
      if (result.bad === undefined) return result
      throw frames.complaint(result.bad.frame, result.bad.chunk)
    })
    const hashed = checked.then(({ zeros }) => ({ plain: NO_BUFFER, lengths, hashes, zeros }))
    this.#inTurn(batchOf(disk, chunks), hashed, async (decision) => {
      const { settings, crew } = this.#parts
      const kept = keepFrames(decision, job, frames.crcs(), await checked, settings, crew)
      if (kept === undefined) this.#room.giveBack(frames.room)
      return kept
    })
  }

  /**
   * Takes chunks over by name, all or none of them.
   * @returns which of them are not here (then nothing was taken)
   * @throws what went wrong with anything earlier
   */
  async known(disk: IngestDisk, chunks: NamedChunks): Promise<readonly number[]> {
    const { lengths, hashes } = chunks
    const zeros = new Uint8Array(Math.ceil(lengths.length / 8))
    const turn = this.#deciding.then(async () => {
      this.#check()
      const result = { plain: NO_BUFFER, lengths, hashes, zeros }
      const decision = await this.#decider.decide(batchOf(disk, chunks), result, true)
      const missing = decision.undecided()
      if (missing.length === 0) this.#recordInTurn(() => this.#record(disk, decision))
      return missing
    })
    this.#deciding = turn.then(
      () => undefined,
      (error: unknown) => this.#fail(error),
    )
    return turn
  }

  /** Takes a range of zeros over. Costs nothing but its extents, so nothing is waited for. */
  zeros(disk: IngestDisk, offset: number, length: number): void {
    this.#deciding = this.#deciding.then(() => {
      this.#recordInTurn(() => {
        this.counts.changedBytes += recordZeros(disk, offset, length)
      })
    })
  }

  async #enter(): Promise<void> {
    await this.#room.batches.enter()
    if (this.#failure === undefined) return
    this.#room.batches.leave()
    throw this.#failure.error
  }

  /** Decides upon a batch when those before it are decided upon, and appends what is new when they are appended. */
  #inTurn(batch: Batch, hashed: Promise<HashResult>, encode: Encode): void {
    // Someone must listen from now on: it is awaited only when its turn to be decided upon comes.
    hashed.catch(() => undefined)
    this.#deciding = this.#deciding
      .then(() => this.#decide(batch, hashed, encode))
      .catch((error: unknown) => {
        this.#fail(error)
        this.#room.batches.leave()
      })
  }

  #recordInTurn(record: () => void): void {
    this.#appending = this.#appending.then(() => {
      if (this.#failure === undefined) record()
    })
  }

  async #scan(batch: Batch, source: ByteSource): Promise<HashResult> {
    const { crew, settings } = this.#parts
    const { descriptor } = source
    let { plain } = batch
    if (descriptor !== undefined) {
      const scanned = await crew.scan({
        plain,
        descriptor,
        offsets: Float64Array.from(batch.pieces, (piece) => piece.offset),
        lengths: Uint32Array.from(batch.pieces, (piece) => piece.length),
        chunkSize: settings.chunkSize,
      })
      if (scanned.named !== undefined) return scanned.named
      plain = scanned.plain
    }
    // The threads could not read it: the source says why.
    let at = 0
    for (const { offset, length } of batch.pieces) {
      await source.read(new Uint8Array(plain, at, length), offset)
      at += length
    }
    return crew.hash(await this.#cutByContent({ ...batch, plain }))
  }

  async #cutByContent(batch: Batch): Promise<CutBatch> {
    const used = batch.pieces.reduce((sum, piece) => sum + piece.length, 0)
    const { start = 0 } = batch
    const { plain, lengths } = await this.#parts.crew.cut({
      plain: batch.plain,
      start,
      offsets: Float64Array.from(batch.pieces, (piece) => piece.offset),
      pieces: Uint32Array.from(batch.pieces, (piece) => piece.length),
      chunkSize: this.#parts.settings.chunkSize,
      final: batch.final,
    })
    const consumed = lengths.reduce((sum, length) => sum + length, 0)
    // Copied now: the buffer goes on to be hashed.
    return {
      plain,
      lengths,
      tail: consumed < used ? new Uint8Array(plain, start, used).slice(consumed) : NO_BYTES,
    }
  }

  /** Waits until everything submitted is in packs that are durable and indexed. @throws what went wrong */
  async finish(): Promise<void> {
    await this.#deciding
    await this.#appending
    this.#check()
    if (this.#builder.chunkCount > 0) await this.#closePack()
    await Promise.all(this.#writing)
    this.#check()
    this.#room.leave(this.#occupant)
  }

  /** Waits until nothing is under way any more, whatever came of it. Nothing may be submitted after that. */
  async settle(): Promise<void> {
    await this.#deciding
    await this.#appending
    await Promise.allSettled(this.#writing)
    await this.#early?.discard()
    this.#room.leave(this.#occupant)
    this.#room.count(-this.#held)
    this.#held = 0
    this.#gathered = undefined
    this.#builder = new PackBuilder()
  }

  async #decide(batch: Batch, hashed: Promise<HashResult>, encode: Encode): Promise<void> {
    const result = await hashed
    this.#check()
    const decision = await this.#decider.decide(batch, result)
    const chunks = await encode(decision)
    if (chunks === undefined) this.#room.giveBack(result.plain)
    // Someone must listen from now on: it is awaited only when its turn to be appended comes.
    chunks?.encoded.catch(() => undefined)
    this.#appending = this.#appending.then(async () => {
      try {
        this.#check()
        await this.#append(batch.disk, decision, chunks)
      } catch (error) {
        this.#fail(error)
      } finally {
        this.#room.batches.leave()
      }
    })
  }

  #encode(decision: Decision): NewChunks | undefined {
    const job = groupFrames(decision, this.#parts.settings)
    if (job === undefined) return undefined
    const room = this.#room.takeStoredRoom?.()
    return {
      frameChunks: job.frameChunks,
      lengths: job.lengths,
      encoded: this.#parts.crew.encode({ ...job, room }),
    }
  }

  async #append(disk: IngestDisk, decision: Decision, chunks: NewChunks | undefined): Promise<void> {
    if (chunks !== undefined) {
      const { lengths } = chunks
      if (!this.#builder.hasRoomFor(lengths.length)) await this.#closePack()
      const { result, held } = this.#compact(await chunks.encoded)
      if (this.#builder.chunkCount === 0) this.#pending.beginPack(decision.firstSerial)
      this.#builder.append(result, chunks.frameChunks, lengths, decision.newHashes())
      this.#writeEarly(result.stored)
      this.counts.newBytes += lengths.reduce((sum, length) => sum + length, 0)
      this.counts.newChunks += lengths.length
      this.#room.giveBack(result.plain)
      this.#held += held
      this.#room.count(held)
    }
    this.#record(disk, decision)
    await this.#closeFullPack()
  }

  #writeEarly(stored: Uint8Array): void {
    if (this.#parts.room !== undefined) return
    if (this.#early === undefined) {
      this.#early = new EarlyPack(this.#parts.store, this.#parts.settings.earlyBytes)
      this.#early.append(packHeader())
    }
    this.#early.append(stored)
  }

  /** A pack of many small batches would keep much memory for little: those are copied. @returns memory that is held for it, too */
  #compact(result: EncodeResult): { readonly result: EncodeResult; readonly held: number } {
    const { stored } = result
    const room = stored.buffer
    if (!(room instanceof SharedArrayBuffer)) return { result, held: stored.length }
    if (stored.length >= room.byteLength / 4) return { result, held: room.byteLength }
    const { copy, held } = this.#gather(stored)
    this.#room.giveBack(room)
    return { result: { ...result, stored: copy }, held }
  }

  /** Copies side by side into a room that is used again: fresh memory for each is garbage that takes a tenth of this thread's time to collect. */
  #gather(stored: Uint8Array): { readonly copy: Uint8Array; readonly held: number } {
    const { buffer, length } = this.#gathered ?? NO_BYTES
    const isNew = buffer.byteLength - length < stored.length
    const room = isNew ? this.#room.takeStoredRoom?.() : buffer
    if (room === undefined) return { copy: stored.slice(), held: stored.length }
    const from = isNew ? 0 : length
    const copy = new Uint8Array(room, from, stored.length)
    copyBytes(copy, 0, stored)
    this.#gathered = new Uint8Array(room, 0, from + stored.length)
    return { copy, held: isNew ? room.byteLength : 0 }
  }

  async #closeFullPack(): Promise<void> {
    if (this.#builder.chunkCount === 0) return
    if (this.#builder.isFull(this.#room.packSize(this.#parts.settings.packSize))) await this.#closePack()
  }

  /** Asked for by the room: it is crowded. */
  #closeSoon(): void {
    this.#appending = this.#appending
      .then(() => this.#closeFullPack())
      .catch((error: unknown) => this.#fail(error))
  }

  /** Adds the batch's chunks to the disk's run, now that each has an address. */
  #record(disk: IngestDisk, decision: Decision): void {
    const { run } = disk
    for (let i = 0; i < decision.count; i++) {
      const pack = decision.pack[i] ?? ZEROS
      const offset = decision.offset[i] ?? 0
      const length = decision.length[i] ?? 0
      if (pack === UNCHANGED) {
        if (disk.marksSame === true) run.same(offset, length)
        continue
      }
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
    const held = this.#held
    const early = this.#early
    // If it cannot be sealed, it is still the open pack, and settle() removes what was written of it.
    const forget = this.#pending.endPack(builder.seal().directory)
    this.#builder = new PackBuilder()
    this.#early = undefined
    this.#held = 0
    this.#gathered = undefined
    await this.#room.writes.enter()
    const write = async (): Promise<void> => {
      try {
        this.#check()
        const { directory, writtenBytes } = await writePack(this.#parts, builder, early)
        this.counts.storedBytes += writtenBytes
        await this.#parts.index.addPack(directory.id, directory.hashes)
        forget()
      } catch (error) {
        this.#fail(error)
      } finally {
        await early?.discard()
        this.#room.writes.leave()
        this.#room.count(-held)
        for (const buffer of builder.rooms()) this.#room.giveBack(buffer)
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
