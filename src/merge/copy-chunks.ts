import { stopIfCancelled } from '../cancellation.js'
import type { WorkPins } from '../chain/pins.js'
import type { Repository } from '../chain/repository.js'
import { writePack } from '../chain/write-pack.js'
import { SHA256_BYTES } from '../checksum.js'
import { copyBytes } from '../copy-bytes.js'
import { isEverfoldError } from '../errors.js'
import { inOrder } from '../in-order.js'
import { planTasks, type ReadTask, type Span } from '../pack/chunk-reader.js'
import type { EncodeResult } from '../pack/jobs.js'
import { PackBuilder } from '../pack/pack-builder.js'
import type { DiskOrder, PlacedChunk } from './disk-order.js'
import { Moves } from './moves.js'
import type { SurveyedPack } from './survey.js'

/** Plain bytes that are read together, each frame that they lie in once, and then written in their new order. */
export const COPY_WINDOW_BYTES = 64 * 1024 * 1024

export interface CopiedChunks {
  readonly moves: Moves
  readonly writtenBytes: number
}

/**
 * Copies chunks into new packs, in the order given. Each is checked against its hash; what cannot be read is left out, and stays where it is.
 * @param pins  hold the new packs
 * @returns once the packs are durable and indexed
 * @throws STORE_FULL, STORE_FAILED, CANCELLED
 */
export async function copyChunks(
  repository: Repository,
  packs: readonly SurveyedPack[],
  order: DiskOrder,
  pins: WorkPins,
  signal?: AbortSignal,
): Promise<CopiedChunks> {
  const copier = new Copier(repository, packs, order, pins)
  return copier.copy(signal)
}

/** A chunk in the window. */
interface HeldChunk extends PlacedChunk {
  readonly length: number
  /** Where in the window it is. */
  readonly at: number
}

/** Frames that are compressed at once. */
interface Batch {
  readonly chunks: readonly HeldChunk[]
  readonly frameChunks: readonly number[]
}

class Copier {
  readonly #repository: Repository
  readonly #packs: readonly SurveyedPack[]
  readonly #order: DiskOrder
  readonly #pins: WorkPins
  readonly #moves: Moves
  readonly #window: SharedArrayBuffer
  #builder = new PackBuilder()
  #inBuilder: PlacedChunk[] = []
  #writtenBytes = 0

  constructor(repository: Repository, packs: readonly SurveyedPack[], order: DiskOrder, pins: WorkPins) {
    this.#repository = repository
    this.#packs = packs
    this.#order = order
    this.#pins = pins
    this.#moves = new Moves(packs.map((pack) => pack.directory))
    const lengths = order.chunks.map((chunk) => this.#lengthOf(chunk))
    const total = lengths.reduce((sum, length) => sum + length, 0)
    const largest = lengths.reduce((most, length) => Math.max(most, length), 0)
    this.#window = new SharedArrayBuffer(Math.max(largest, Math.min(total, COPY_WINDOW_BYTES)))
  }

  async copy(signal: AbortSignal | undefined): Promise<CopiedChunks> {
    for (let next = 0; next < this.#order.chunks.length; ) {
      stopIfCancelled(signal)
      const held: HeldChunk[] = []
      const from = next
      for (let at = 0; next < this.#order.chunks.length; next++) {
        const chunk = this.#order.chunks[next] ?? { pack: 0, chunk: 0 }
        const length = this.#lengthOf(chunk)
        if (at + length > this.#window.byteLength) break
        held.push({ ...chunk, length, at })
        at += length
      }
      const lost = await this.#read(held)
      const boundary = this.#order.newest - from
      const encoded = inOrder(
        this.#batches(held, lost, boundary),
        this.#repository.crew.size + 1,
        async (batch) => ({ batch, result: await this.#encode(batch) }),
      )
      for await (const { batch, result } of encoded) await this.#append(batch, result)
    }
    if (this.#inBuilder.length > 0) await this.#closePack()
    return { moves: this.#moves, writtenBytes: this.#writtenBytes }
  }

  #lengthOf({ pack, chunk }: PlacedChunk): number {
    return this.#packs[pack]?.directory.chunkLength[chunk] ?? 0
  }

  /** Fills the window. @returns what could not be read */
  async #read(held: readonly HeldChunk[]): Promise<ReadonlySet<string>> {
    const spans: Span[] = []
    for (const { pack, chunk, length, at } of held) {
      const directory = this.#packs[pack]?.directory
      if (directory !== undefined)
        spans.push({ directory, position: directory.chunkStart[chunk] ?? 0, length, target: at })
    }
    const lost = new Set<string>()
    const window = new Uint8Array(this.#window)
    const results = inOrder(planTasks(spans), this.#repository.crew.size * 2, async (task) => {
      for (const name of await this.#readTask(task, window)) lost.add(name)
    })
    for await (const _ of results);
    return lost
  }

  /** @returns what could not be read */
  async #readTask(task: ReadTask, window: Uint8Array): Promise<string[]> {
    try {
      const { plain, damaged } = await this.#repository.reader.run(task)
      for (const { from, length, target } of task.pieces)
        copyBytes(window, target, plain.subarray(from, from + length))
      return damaged.map(({ chunk }) => nameOf(task.packId, chunk))
    } catch (error) {
      if (!isEverfoldError(error, 'DATA_DAMAGED', 'OBJECT_NOT_FOUND', 'OBJECT_ARCHIVED')) throw error
      return task.chunks.map((chunk) => nameOf(task.packId, chunk))
    }
  }

  /** @param boundary  where the chunks of the newest points end: what comes after shares no frame with them */
  *#batches(
    held: readonly HeldChunk[],
    lost: ReadonlySet<string>,
    boundary: number,
  ): Generator<Batch, void, undefined> {
    const { frameSize } = this.#repository.config
    let chunks: HeldChunk[] = []
    let frameChunks: number[] = []
    let framePlain = Infinity
    let plain = 0
    for (const [i, chunk] of held.entries()) {
      if (lost.has(nameOf(this.#packs[chunk.pack]?.place.packId ?? '', chunk.chunk))) continue
      if (framePlain + chunk.length > frameSize || i === boundary) {
        if (plain >= this.#repository.batchBytes) {
          yield { chunks, frameChunks }
          chunks = []
          frameChunks = []
          plain = 0
        }
        frameChunks.push(0)
        framePlain = 0
      }
      frameChunks[frameChunks.length - 1] = (frameChunks.at(-1) ?? 0) + 1
      framePlain += chunk.length
      plain += chunk.length
      chunks.push(chunk)
    }
    if (chunks.length > 0) yield { chunks, frameChunks }
  }

  #encode({ chunks, frameChunks }: Batch): Promise<EncodeResult> {
    return this.#repository.crew.encode({
      plain: this.#window,
      offsets: Uint32Array.from(chunks, (chunk) => chunk.at),
      lengths: Uint32Array.from(chunks, (chunk) => chunk.length),
      frameChunks: Uint32Array.from(frameChunks),
      level: this.#repository.config.compression.level,
      verify: true,
    })
  }

  async #append({ chunks, frameChunks }: Batch, result: EncodeResult): Promise<void> {
    if (!this.#builder.hasRoomFor(chunks.length)) await this.#closePack()
    const hashes = new Uint8Array(chunks.length * SHA256_BYTES)
    for (const [i, { pack, chunk }] of chunks.entries()) {
      const own = this.#packs[pack]?.directory.hashes.subarray(
        chunk * SHA256_BYTES,
        (chunk + 1) * SHA256_BYTES,
      )
      if (own !== undefined) hashes.set(own, i * SHA256_BYTES)
    }
    const lengths = Uint32Array.from(chunks, (chunk) => chunk.length)
    this.#builder.append(result, Uint32Array.from(frameChunks), lengths, hashes)
    this.#inBuilder.push(...chunks)
    if (this.#builder.isFull(this.#repository.config.packSize)) await this.#closePack()
  }

  async #closePack(): Promise<void> {
    const builder = this.#builder
    const chunks = this.#inBuilder
    this.#builder = new PackBuilder()
    this.#inBuilder = []
    const { catalog, store } = this.#repository
    const { id } = builder.seal().directory
    // Just the chunks of one of the packs, as they lay; or of one that is on its way out, which only the end of the round would open again.
    if (this.#moves.of(id) !== undefined || catalog.isClosed(id)) return
    const index = await this.#repository.index()
    const { directory, writtenBytes } = await writePack({ store, catalog, index, pins: this.#pins }, builder)
    await index.addPack(directory.id, directory.hashes)
    this.#writtenBytes += writtenBytes
    this.#moves.add(
      directory.id,
      chunks.map(({ pack, chunk }) => ({ packId: this.#packs[pack]?.place.packId ?? '', chunk })),
    )
  }
}

function nameOf(packId: string, chunk: number): string {
  return `${packId}/${chunk}`
}
