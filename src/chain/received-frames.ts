import { HASH_BYTES } from '../index/chunk-index.js'
import type { CheckJob } from '../pack/jobs.js'

/** Chunks that came with their names. Arrays are parallel; offsets on the disk. */
export interface NamedChunks {
  readonly offsets: Float64Array
  readonly lengths: Uint32Array
  /** n × 32 bytes. */
  readonly hashes: Uint8Array
}

/** A frame that somebody else made. */
export interface ReceivedFrame {
  readonly codec: number
  /** Stored bytes. */
  readonly length: number
  /** Fills all of `into` with them. @returns their CRC-32, as they came */
  fill(into: Uint8Array): Promise<number>
  /** What to throw for a chunk that does not have its hash; without one: the frame cannot be decoded. */
  complain(chunk: number | undefined): Error
}

/** Chunks of all frames together: that many a pack can number, and one frame may have. */
const CHUNKS_MAX = 4096

/** Frames as they come, one after the other in one piece of memory: looked at together, they take one trip to the threads. */
export class ReceivedFrames {
  readonly #room: SharedArrayBuffer
  readonly #frames: ReceivedFrame[] = []
  readonly #chunks: NamedChunks[] = []
  readonly #crcs: number[] = []
  #used = 0
  #count = 0

  constructor(room: SharedArrayBuffer) {
    this.#room = room
  }

  get room(): SharedArrayBuffer {
    return this.#room
  }

  hasRoomFor(frame: ReceivedFrame, chunks: NamedChunks): boolean {
    return (
      this.#used + frame.length <= this.#room.byteLength && this.#count + chunks.lengths.length <= CHUNKS_MAX
    )
  }

  /** Takes one more; if its bytes do not come, nothing of it. @throws what its `fill` throws */
  async add(frame: ReceivedFrame, chunks: NamedChunks): Promise<void> {
    this.#crcs.push(await frame.fill(new Uint8Array(this.#room, this.#used, frame.length)))
    this.#frames.push(frame)
    this.#chunks.push(chunks)
    this.#used += frame.length
    this.#count += chunks.lengths.length
  }

  /** The chunks of all frames. */
  chunks(): NamedChunks {
    const offsets = new Float64Array(this.#count)
    const lengths = new Uint32Array(this.#count)
    const hashes = new Uint8Array(this.#count * HASH_BYTES)
    let at = 0
    for (const chunks of this.#chunks) {
      offsets.set(chunks.offsets, at)
      lengths.set(chunks.lengths, at)
      hashes.set(chunks.hashes, at * HASH_BYTES)
      at += chunks.lengths.length
    }
    return { offsets, lengths, hashes }
  }

  /** Of each frame: CRC-32 of its stored bytes. */
  crcs(): Uint32Array {
    return Uint32Array.from(this.#crcs)
  }

  /** @param chunks  what {@link chunks} gave */
  checkJob({ lengths, hashes }: NamedChunks): CheckJob {
    return {
      stored: this.#room,
      storedLength: Uint32Array.from(this.#frames, ({ length }) => length),
      codec: Uint8Array.from(this.#frames, ({ codec }) => codec),
      frameChunks: Uint32Array.from(this.#chunks, (chunks) => chunks.lengths.length),
      lengths,
      hashes,
    }
  }

  /** What to throw for a frame: see {@link ReceivedFrame}. */
  complaint(frame: number, chunk: number | undefined): Error {
    return this.#frames[frame]?.complain(chunk) ?? new RangeError(`there is no frame ${frame}`)
  }
}
