import type { ByteRange } from '../byte-range.js'
import { type BatchSink, fillBatches, type PlainBatch } from '../chunker/fill-batches.js'
import { Gate } from '../gate.js'
import { settleAll } from '../settle-all.js'
import type { BatchMemory } from './batch-memory.js'
import { hashesOf, isSet } from './chunk-names.js'
import {
  type BatchChunk,
  type CutBatch,
  cellsWithoutNames,
  cutBatch,
  encodeChunks,
  placeChunks,
  type UploadSource,
} from './cut-batch.js'
import type { NamedChunk } from './framed-stream.js'
import { PARCEL_BYTES, Parcel, PLAIN_PARCEL_BYTES } from './parcel.js'
import type { Patience } from './patience.js'
import { REQUEST_BYTES_MAX, type Sending, sendRecords } from './send-records.js'
import type { UploadSession } from './sessions.js'
import type { HashResult, Workers } from './workers.js'

/** Batches whose chunks are offered together. */
const WINDOW_BATCHES = 8
/** Windows that are offered at once: the way to the service and back is long. */
const WINDOWS_MAX = 3
/** Requests that bring data at once. */
export const REQUESTS_DEFAULT = 4
/** Chunks that wait until another request has brought their bytes. */
const DEPENDENTS_MAX = 100_000
/** Chunks that were brought, remembered: some 100 bytes each. What is forgotten is sent again if it was offered before that. */
const REMEMBERED_MAX = 100_000
const NO_BYTES = new Uint8Array(0)

/** `offers`: only chunks that the service lacks, compressed. `stream`: all bytes but zeros, and the service cuts them. */
export type Transfer = 'offers' | 'stream'

/** A disk that is sent. */
export interface SentDisk {
  readonly id: string
  readonly source: UploadSource
  readonly contentDefined: boolean
  /** What of it is read and sent: sorted, apart. */
  readonly ranges: Iterable<ByteRange>
  /** What is zeros without being read. */
  readonly holes: Iterable<ByteRange>
}

export interface UploadParts {
  readonly session: UploadSession
  readonly workers: Workers
  readonly memory: BatchMemory
  readonly transfer: Transfer
  /** Requests that bring data at once. */
  readonly requests: number
  /** How long to go on without anything arriving. */
  readonly patience: Patience
  /** Ends all requests that are running: something went wrong. */
  giveUp(): void
}

/** Batches, and which of their chunks the service lacks. */
interface Offered {
  readonly batches: readonly CutBatch[]
  readonly lacking: ReadonlySet<string>
}

/**
 * One disk on its way: read, cut and named batch by batch; offered some batches at a time; what is lacking compressed and put into
 * parcels, of which several are sent side by side. Memory: some 30 batches of 4 MiB and `requests` parcels of 32 MiB (or 12 and of 16 MiB,
 * where they are sent as they are), at most.
 */
export class DiskUpload implements BatchSink<SentDisk> {
  readonly #parts: UploadParts
  readonly #sending: Sending
  readonly #batches: Gate
  readonly #parcels: Gate
  #window: Promise<CutBatch>[] = []
  #planning: Promise<void> = Promise.resolve()
  #open: Parcel | undefined
  readonly #underWay = new Set<Promise<void>>()
  /** Chunks on their way, and what brings them. */
  readonly #onTheirWay = new Map<string, Parcel>()
  readonly #arrived = new Set<string>()
  /** Can be named from now on. */
  readonly #late: NamedChunk[] = []
  #dependents = 0
  #failure: { readonly error: unknown } | undefined

  constructor(parts: UploadParts, disk: SentDisk) {
    this.#parts = parts
    this.#sending = { ...parts, disk: disk.id, source: disk.source, limitBytes: REQUEST_BYTES_MAX }
    // Sent as they are, they wait for nobody's answer.
    const windows = parts.transfer === 'stream' ? 1 : WINDOWS_MAX
    this.#batches = new Gate(WINDOW_BATCHES * windows + parts.workers.size * 2)
    this.#parcels = new Gate(parts.requests)
  }

  takeBuffer(): ArrayBufferLike {
    return this.#parts.memory.takeBuffer()
  }

  async submit(batch: PlainBatch<SentDisk>): Promise<Uint8Array> {
    await this.#batches.enter()
    this.#check()
    const { workers, session, transfer } = this.#parts
    if (transfer === 'stream') {
      this.#add(batch, Promise.resolve(cellsWithoutNames(batch, session.chunkSize)))
      return NO_BYTES
    }
    const { start = 0 } = batch
    const cut = cutBatch(workers, batch, session.chunkSize)
    this.#add(
      batch,
      cut.then(({ plain, lengths }) => workers.hash({ plain, start, lengths })),
    )
    return (await cut).tail
  }

  /** Sends a range of zeros. */
  async zeros({ offset, length }: ByteRange): Promise<void> {
    const parcel = await this.#openParcel()
    parcel.zeros(offset, length)
    if (parcel.isFull) this.#seal()
  }

  /** Waits until all of it has been acknowledged. @throws what went wrong */
  async finish(): Promise<void> {
    this.#closeWindow()
    await this.#planning
    for (;;) {
      this.#check()
      if (this.#late.length > 0) await this.#openParcel()
      this.#seal()
      if (this.#underWay.size === 0) return
      await Promise.all(this.#underWay)
    }
  }

  /** Waits until nothing is under way any more, whatever came of it. */
  async settle(): Promise<void> {
    await Promise.allSettled(this.#window)
    await this.#planning
    await Promise.all(this.#underWay)
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure.error
  }

  #fail(error: unknown): void {
    if (this.#failure !== undefined) return
    this.#failure = { error }
    this.#parts.giveUp()
    // Whoever waits for room hears of it: there is one of each at most.
    this.#batches.leave()
    this.#parcels.leave()
  }

  #add({ pieces, start }: PlainBatch<SentDisk>, named: Promise<HashResult>): void {
    const placed = named.then((result) => placeChunks(pieces, result, start))
    placed.catch((error: unknown) => this.#fail(error))
    this.#window.push(placed)
    if (this.#window.length === WINDOW_BATCHES) this.#closeWindow()
  }

  /** Offers what was read so far, and has it planned in its turn. */
  #closeWindow(): void {
    const window = this.#window
    this.#window = []
    const offered = this.#offer(window)
    offered.catch((error: unknown) => this.#fail(error))
    this.#planning = this.#planning
      .then(async () => {
        const { batches, lacking } = await offered
        for (const batch of batches) await this.#plan(batch, lacking)
      })
      .catch((error: unknown) => this.#fail(error))
  }

  async #offer(window: readonly Promise<CutBatch>[]): Promise<Offered> {
    const batches = await settleAll(window)
    const asked = new Set<string>()
    if (this.#parts.transfer === 'offers')
      for (const { chunks } of batches) for (const { name, zero } of chunks) if (!zero) asked.add(name)
    if (asked.size === 0) return { batches, lacking: asked }
    const bitmap = await this.#parts.session.offers(hashesOf([...asked]))
    return { batches, lacking: new Set([...asked].filter((_, i) => isSet(bitmap, i))) }
  }

  /** Puts a batch into the open parcel. Batches come one after the other, in the order of the disk. */
  async #plan(batch: CutBatch, lacking: ReadonlySet<string>): Promise<void> {
    const parcel = await this.#openParcel()
    if (this.#parts.transfer === 'stream') {
      parcel.bringPlain(batch)
      this.#batches.leave()
    } else {
      for (const { zero, offset, size } of batch.chunks) if (zero) parcel.zeros(offset, size)
      const bring = this.#lackingOf(batch, lacking, parcel)
      parcel.bring(bring, this.#encode(batch.plain, bring, parcel))
    }
    if (parcel.isFull) this.#seal()
  }

  /** @returns chunks that this parcel has to bring; the others are named, now or once the parcel that brings them has arrived */
  #lackingOf({ chunks }: CutBatch, lacking: ReadonlySet<string>, parcel: Parcel): readonly BatchChunk[] {
    const bring: BatchChunk[] = []
    for (const chunk of chunks) {
      if (chunk.zero) continue
      const { name } = chunk
      const bringer = this.#onTheirWay.get(name)
      if (bringer !== undefined && bringer !== parcel) {
        bringer.dependents.push(chunk)
        this.#dependents++
      } else if (bringer === parcel || !lacking.has(name) || this.#arrived.has(name)) parcel.name(chunk)
      else {
        this.#onTheirWay.set(name, parcel)
        bring.push(chunk)
      }
    }
    return bring
  }

  async #encode(
    plain: ArrayBufferLike,
    bring: readonly BatchChunk[],
    parcel: Parcel,
  ): ReturnType<Parcel['records']> {
    const { workers, session, memory } = this.#parts
    try {
      const room = bring.length === 0 ? undefined : memory.takeRoom()
      const encoded = await encodeChunks(workers, plain, bring, session.encoding, room)
      memory.giveBack(encoded.plain)
      const { records, held } = memory.compacted(encoded.records, room, encoded.storedBytes)
      if (held !== undefined) parcel.memory.push(held)
      return records
    } finally {
      this.#batches.leave()
    }
  }

  async #openParcel(): Promise<Parcel> {
    // Before it waits for room, too: once something failed, nobody makes any.
    this.#check()
    while (this.#dependents > DEPENDENTS_MAX && this.#failure === undefined)
      await Promise.race(this.#underWay)
    if (this.#open === undefined) await this.#parcels.enter()
    this.#check()
    this.#open ??= new Parcel(this.#parts.transfer === 'stream' ? PLAIN_PARCEL_BYTES : PARCEL_BYTES)
    for (const chunk of this.#late.splice(0)) this.#open.name(chunk)
    return this.#open
  }

  /** Sends the open parcel. */
  #seal(): void {
    const parcel = this.#open
    if (parcel === undefined) return
    this.#open = undefined
    const delivered = this.#deliver(parcel)
      .catch((error: unknown) => this.#fail(error))
      .finally(() => this.#underWay.delete(delivered))
    this.#underWay.add(delivered)
  }

  async #deliver(parcel: Parcel): Promise<void> {
    await sendRecords(this.#sending, await parcel.records())
    for (const memory of parcel.memory) this.#parts.memory.giveBack(memory)
    for (const name of parcel.brings) {
      this.#onTheirWay.delete(name)
      this.#arrived.add(name)
    }
    for (const name of this.#arrived) {
      if (this.#arrived.size <= REMEMBERED_MAX) break
      this.#arrived.delete(name)
    }
    this.#dependents -= parcel.dependents.length
    this.#late.push(...parcel.dependents)
    this.#parcels.leave()
  }
}

/** Sends a disk. @returns once the service has acknowledged all of it @throws what trying again does not help against */
export async function sendDisk(
  parts: UploadParts,
  disk: SentDisk,
  onRead: (doneBytes: number) => void,
): Promise<void> {
  const upload = new DiskUpload(parts, disk)
  const asCut = parts.transfer === 'stream' ? { ...disk, contentDefined: false } : disk
  try {
    for (const hole of disk.holes) await upload.zeros(hole)
    await fillBatches(upload, asCut, disk.source, disk.ranges, parts.session.chunkSize, onRead)
    await upload.finish()
  } catch (error) {
    // Not the other way round: that would be told as the reason.
    parts.giveUp()
    await upload.settle()
    throw error
  }
}
