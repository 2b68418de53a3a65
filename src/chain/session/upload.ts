import { bytesToHex } from '../../checksum.js'
import { copyBytes } from '../../copy-bytes.js'
import { EverfoldError } from '../../errors.js'
import { type ChunkIndex, HASH_BYTES } from '../../index/chunk-index.js'
import type { BaseDisk } from '../base-disk.js'
import type { Ingest, IngestDisk } from '../ingest.js'
import type { SharedRoom } from '../ingest-room.js'
import { openIngest } from '../open-ingest.js'
import type { WorkPins } from '../pins.js'
import { type NamedChunks, type ReceivedFrame, ReceivedFrames } from '../received-frames.js'
import type { Repository } from '../repository.js'
import { RunBuilder } from '../run-builder.js'
import type { Session } from './session.js'

/** What a request sends is recorded after about as many bytes of its body, or when it has as many extents as there is room for. */
const PART_BYTES = 64 * 1024 * 1024
/** Pieces of a batch at most: each makes at least one chunk, and all chunks of a batch go into one pack. */
const UPLOAD_PIECES_MAX = 4096
/** Chunks that an error names. */
const UNKNOWN_NAMED_MAX = 100
const NO_BYTES = new Uint8Array(0)

export interface UploadResult {
  /** Bytes of the disk. */
  readonly receivedBytes: number
  /** Of chunks that were new, before and after compression. */
  readonly newBytes: number
  readonly storedBytes: number
}

/** What a data request works with. */
export interface UploadParts {
  readonly repository: Repository
  readonly index: ChunkIndex
  readonly room: SharedRoom
  readonly session: Session
  /** The disk's number in the session. */
  readonly disk: number
  readonly base: BaseDisk | undefined
  /** Called when something was recorded. */
  readonly onRecorded: () => void
  /** Held until the upload ended. */
  readonly pins: WorkPins
  /** What a request sends is recorded after about as many bytes of its body; undefined: 64 MiB. */
  readonly partBytes?: number | undefined
}

interface OpenPart {
  readonly ingest: Ingest
  readonly disk: IngestDisk
}

/**
 * One data request: takes what comes, in order (the later wins), and records it in parts. Calls must not overlap. What was taken is
 * durable when {@link finish} resolves, and up to some part before that whatever becomes of the request.
 */
export class Upload {
  readonly #parts: UploadParts
  readonly #chunkSize: number
  readonly #open = new Set<Ingest>()
  #part: OpenPart
  /** Bytes that are not handed over yet. Pieces lie in it one after the other. */
  #buffer: ArrayBufferLike | undefined
  #used = 0
  #pieces: { offset: number; length: number }[] = []
  /** Frames that are not handed over yet. There are never both, bytes and frames. */
  #frames: ReceivedFrames | undefined
  /** Of the open part: bytes of the body, and records that are no data. */
  #partBytes = 0
  #partRecords = 0
  #partReceived = 0
  #closing: Promise<void> = Promise.resolve()
  #result = { receivedBytes: 0, newBytes: 0, storedBytes: 0 }
  #ended = false
  #hasRecorded = false

  constructor(parts: UploadParts) {
    this.#parts = parts
    this.#chunkSize = parts.repository.config.chunkSize
    this.#part = this.#openPart()
    parts.room.receive(1)
  }

  /** Was anything of it written down yet? It stays, whatever comes of the rest. */
  get hasRecorded(): boolean {
    return this.#hasRecorded
  }

  /** Plain bytes at an offset of the disk. They are copied. @throws what went wrong with anything so far */
  async data(offset: number, bytes: Uint8Array): Promise<void> {
    await this.#submitFrames()
    for (let at = 0; at < bytes.length; ) {
      const last = this.#pieces.at(-1)
      const continues = last !== undefined && last.offset + last.length === offset + at
      if (!continues && this.#pieces.length >= UPLOAD_PIECES_MAX) await this.#submit(true)
      this.#buffer ??= this.#parts.room.takeBuffer()
      const length = Math.min(bytes.length - at, this.#buffer.byteLength - this.#used)
      if (length === 0) {
        await this.#submit(!continues)
        continue
      }
      copyBytes(new Uint8Array(this.#buffer), this.#used, bytes.subarray(at, at + length))
      this.#used += length
      if (continues) last.length += length
      else this.#pieces.push({ offset: offset + at, length })
      at += length
      this.#partBytes += length
      this.#received(length)
    }
  }

  /** A range of zeros. @throws what went wrong with anything so far */
  async zeros(offset: number, length: number): Promise<void> {
    const overlaps = this.#pieces.some(
      (piece) => piece.offset < offset + length && offset < piece.offset + piece.length,
    )
    if (overlaps) await this.#submit(true)
    await this.#submitFrames()
    this.#part.ingest.zeros(this.#part.disk, offset, length)
    this.#received(length)
    await this.#noteRecord(1)
  }

  /** Chunks that are here already. @throws CHUNK_UNKNOWN if some are not; what went wrong with anything so far */
  async known(chunks: NamedChunks): Promise<void> {
    await this.#submit(true)
    await this.#submitFrames()
    let missing = await this.#part.ingest.known(this.#part.disk, chunks)
    if (missing.length > 0) {
      // They may have come with the part that is just being written.
      await this.#closing
      missing = await this.#part.ingest.known(this.#part.disk, chunks)
    }
    if (missing.length > 0) throw chunksUnknown(chunks, missing)
    this.#received(chunks.lengths.reduce((sum, length) => sum + length, 0))
    await this.#noteRecord(chunks.lengths.length)
  }

  /** Chunks compressed into a frame. @throws what went wrong with anything so far, or with getting its bytes */
  async frame(chunks: NamedChunks, frame: ReceivedFrame): Promise<void> {
    await this.#submit(true)
    if (this.#frames?.hasRoomFor(frame, chunks) !== true) {
      await this.#submitFrames()
      this.#frames = new ReceivedFrames(this.#parts.room.takeBuffer(frame.length))
    }
    await this.#frames.add(frame, chunks)
    this.#partBytes += frame.length
    this.#received(chunks.lengths.reduce((sum, length) => sum + length, 0))
    await this.#noteRecord(chunks.lengths.length)
  }

  /** Makes everything durable, and ends. @throws what went wrong, having ended */
  async finish(): Promise<UploadResult> {
    try {
      await this.#submit(true)
      await this.#submitFrames()
      await this.#closing
      await this.#close(this.#part)
      return this.#result
    } finally {
      await this.abandon()
    }
  }

  /** Ends; what was not recorded yet is lost. Once it has ended, nothing happens. */
  async abandon(): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    await this.#closing.catch(() => undefined)
    for (const ingest of this.#open) await ingest.settle()
    if (this.#buffer !== undefined) this.#parts.room.giveBack(this.#buffer)
    if (this.#frames !== undefined) this.#parts.room.giveBack(this.#frames.room)
    this.#parts.room.receive(-1)
  }

  #received(length: number): void {
    this.#partReceived += length
    this.#result.receivedBytes += length
  }

  async #noteRecord(extents: number): Promise<void> {
    this.#partRecords += extents
    await this.#checkpointIfDue()
  }

  /** Hands the buffer over. @param final  nothing follows the last piece: its end is cut, decided or not */
  async #submit(final: boolean): Promise<void> {
    const plain = this.#buffer
    const last = this.#pieces.at(-1)
    if (plain === undefined || last === undefined) return
    const pieces = this.#pieces
    const end = last.offset + last.length
    const { ingest, disk } = this.#part
    this.#buffer = undefined
    this.#pieces = []
    let tail: Uint8Array = NO_BYTES
    // On the grid, no chunk is divided between two batches.
    const rest = Math.min(last.length, end % this.#chunkSize)
    if (!final && !disk.contentDefined && rest > 0 && rest < this.#used) {
      tail = new Uint8Array(plain.slice(this.#used - rest, this.#used))
      last.length -= rest
      if (last.length === 0) pieces.pop()
    }
    this.#used = 0
    const undecided = await ingest.submit({ disk, plain, pieces, final: final || !disk.contentDefined })
    if (disk.contentDefined) tail = undecided
    if (tail.length > 0) {
      this.#buffer = this.#parts.room.takeBuffer()
      new Uint8Array(this.#buffer).set(tail)
      this.#used = tail.length
      this.#pieces.push({ offset: end - tail.length, length: tail.length })
    }
    await this.#checkpointIfDue()
  }

  async #submitFrames(): Promise<void> {
    const frames = this.#frames
    if (frames === undefined) return
    this.#frames = undefined
    await this.#part.ingest.frames(this.#part.disk, frames)
  }

  /** Records what came so far, beside what comes next; one such part at a time. */
  async #checkpointIfDue(): Promise<void> {
    const extents = this.#part.disk.run.extents + this.#partRecords
    if (this.#partBytes < (this.#parts.partBytes ?? PART_BYTES) && extents < this.#parts.room.partExtents)
      return
    await this.#submitFrames()
    await this.#closing
    const part = this.#part
    const closing = this.#close(part)
    // Whoever is next to wait for it hears of it.
    closing.catch(() => undefined)
    this.#closing = closing
    this.#part = this.#openPart()
  }

  #openPart(): OpenPart {
    const { repository, index, room, session, disk, base, pins } = this.#parts
    const ingest = openIngest(repository, index, pins, { room })
    this.#open.add(ingest)
    const { about } = session.disk(disk)
    const run = new RunBuilder(session.strideOf(about), ingest.packs)
    const marksSame = about.content === 'whole'
    return { ingest, disk: { run, contentDefined: about.chunker === 'cdc', base, marksSame } }
  }

  async #close({ ingest, disk }: OpenPart): Promise<void> {
    const receivedBytes = this.#partReceived
    this.#partReceived = 0
    this.#partBytes = 0
    this.#partRecords = 0
    await ingest.finish()
    const { changedBytes, newBytes, storedBytes } = ingest.counts
    const figures = { receivedBytes, changedBytes, newBytes, storedBytes }
    const extents = disk.run.finish()
    if (extents.length > 0) {
      await this.#parts.session.addPart(this.#parts.disk, figures, extents, () => !this.#ended)
      this.#hasRecorded = true
      this.#parts.onRecorded()
    }
    this.#open.delete(ingest)
    this.#result.newBytes += newBytes
    this.#result.storedBytes += storedBytes
  }
}

function chunksUnknown({ hashes }: NamedChunks, missing: readonly number[]): EverfoldError {
  const named = missing
    .slice(0, UNKNOWN_NAMED_MAX)
    .map((i) => bytesToHex(hashes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES)))
  return new EverfoldError(
    'CHUNK_UNKNOWN',
    `${missing.length} chunks that were named are not here. Offer them again, and send what the answer asks for.`,
    { details: { chunks: named, count: missing.length } },
  )
}
