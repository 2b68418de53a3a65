import { SHA256_BYTES } from '../checksum.js'
import type { HeldObject, StoreReader } from '../store/store.js'
import type { Crew } from './crew.js'
import { CODEC_RAW, isPresent, type PackDirectory } from './pack-format.js'
import { PICK_CHUNK_NUMBERS, PICK_NUMBERS, PICKS_MAX, type PickJob } from './pick.js'
import { type Place, ReadRoom } from './read-room.js'

/** Reads that another thread is given: handing over and back takes as long as a third of a read. */
const WORTH_A_THREAD = 4

/** Consecutive plain bytes of one frame. */
export interface FramePart {
  readonly directory: PackDirectory
  readonly frame: number
  /** The chunk that the first of them is in. */
  readonly chunk: number
  /** See PackDirectory.chunkStart. */
  readonly position: number
  readonly length: number
}

/** One read on its way to a thread. */
interface Pick {
  readonly held: HeldObject
  readonly numbers: readonly number[]
  readonly directory: PackDirectory
  readonly firstChunk: number
  readonly settle: (good: boolean) => void
}

/**
 * Small reads on a short way: a thread reads, decompresses and checks them, into memory that is shared; those that come together go in one
 * message. It succeeds or does nothing: whatever is in the way (a store that is no folder, a chunk that is gone or damaged, a read that fails),
 * ChunkReader finds out what it is.
 */
export class QuickReads {
  readonly #store: StoreReader
  readonly #crew: Crew
  readonly #room = new ReadRoom()
  #waiting: Pick[] = []
  #running = 0
  #scheduled = false
  #done = 0

  constructor(store: StoreReader, crew: Crew) {
    this.#store = store
    this.#crew = crew
  }

  /** Parts that were read so, ever. */
  get done(): number {
    return this.#done
  }

  /** Memory for an answer. Nobody else has it until it is released. */
  take(length: number): Place | undefined {
    return this.#store.hold === undefined ? undefined : this.#room.take(length)
  }

  /**
   * Reads a part of a frame to byte `target` of the room, verified.
   * @returns false if it could not; the bytes there are not to be used then. Never rejects
   */
  async read(part: FramePart, target: number): Promise<boolean> {
    const numbers = numbersOf(part, target)
    if (numbers === undefined) return false
    const holding = this.#store.hold?.(part.directory.key)
    const held = holding instanceof Promise ? await holding : holding
    if (held === undefined) return false
    numbers[0] = held.fd
    const good = await new Promise<boolean>((settle) => {
      this.#waiting.push({ held, numbers, directory: part.directory, firstChunk: part.chunk, settle })
      this.#schedule()
    })
    const closing = held.release()
    if (closing !== undefined) await closing
    if (good) this.#done++
    return good
  }

  /** At the end of this turn: what came with the same turn goes together. */
  #schedule(): void {
    if (this.#scheduled || this.#waiting.length === 0 || this.#running >= this.#crew.size) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#dispatch()
    })
  }

  /** Shares out what waits among the threads that may be had. While one is at it, another is not woken for a few. */
  #dispatch(): void {
    while (this.#waiting.length > 0 && this.#running < this.#crew.size) {
      if (this.#running > 0 && this.#waiting.length < WORTH_A_THREAD) return
      const share = Math.ceil(this.#waiting.length / (this.#crew.size - this.#running))
      const picks = this.#waiting.splice(0, Math.min(share, PICKS_MAX))
      this.#running++
      this.#crew.pick(this.#jobOf(picks)).then(
        (good) => this.#settle(picks, good),
        () => this.#settle(picks, 0),
      )
    }
  }

  #settle(picks: readonly Pick[], good: number): void {
    this.#running--
    this.#schedule()
    for (const [i, pick] of picks.entries()) pick.settle((good & (1 << i)) !== 0)
  }

  #jobOf(picks: readonly Pick[]): PickJob {
    const numbers = new Float64Array(picks.reduce((sum, pick) => sum + pick.numbers.length, 0))
    const counts = picks.map((pick) => (pick.numbers.length - PICK_NUMBERS) / PICK_CHUNK_NUMBERS)
    const hashes = new Uint8Array(counts.reduce((sum, count) => sum + count, 0) * SHA256_BYTES)
    let at = 0
    let hashAt = 0
    for (const [i, { numbers: own, directory, firstChunk }] of picks.entries()) {
      numbers.set(own, at)
      at += own.length
      const end = firstChunk + (counts[i] ?? 0)
      hashes.set(directory.hashes.subarray(firstChunk * SHA256_BYTES, end * SHA256_BYTES), hashAt)
      hashAt += (end - firstChunk) * SHA256_BYTES
    }
    return { numbers, hashes, room: this.#room.memory }
  }
}

/** As pick.ts wants them, without the descriptor. @returns undefined if the generation does not hold all of it */
function numbersOf(
  { directory, frame, chunk, position, length }: FramePart,
  target: number,
): number[] | undefined {
  const storedFrom = directory.frameOffset[frame] ?? 0
  const storedLength = (directory.frameOffset[frame + 1] ?? 0) - storedFrom
  const codec = directory.frameCodec[frame] ?? 0
  let before = 0
  for (let other = directory.frameFirst[frame] ?? 0; other < chunk; other++)
    if (isPresent(directory, other)) before += directory.chunkLength[other] ?? 0
  const skip = position - (directory.chunkStart[chunk] ?? 0)
  const chunks: number[] = []
  const isRaw = codec === CODEC_RAW
  // What is stored as it is need not be read from its beginning.
  const origin = isRaw ? before : 0
  let end = before - origin
  for (let other = chunk; (directory.chunkStart[other] ?? Infinity) < position + length; other++) {
    if (!isPresent(directory, other)) return undefined
    const size = directory.chunkLength[other] ?? 0
    chunks.push(end, size)
    end += size
  }
  const offset = storedFrom + origin
  const plainLength = isRaw ? end : (directory.framePlain[frame] ?? 0)
  const from = before - origin + skip
  const count = chunks.length / PICK_CHUNK_NUMBERS
  return [0, offset, storedLength, codec, plainLength, from, length, target, count, ...chunks]
}
