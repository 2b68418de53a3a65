import type { BatchChunk, CutBatch } from './cut-batch.js'
import { DATA_BYTES_MAX, KNOWN_MAX, type NamedChunk, type StreamRecord } from './framed-stream.js'

/** Plain bytes that one request brings, about: compressed they fill most of a pack. */
export const PARCEL_BYTES = 32 * 1024 * 1024
/** The same where they are sent as they are, and so lie in memory several times. */
export const PLAIN_PARCEL_BYTES = 16 * 1024 * 1024
/** Chunks that one request names, about: the service records what it got after as many. */
const PARCEL_CHUNKS = 16 * 1024

/** Zeros that are told apart from data which the service cuts: it cuts at their ends as well, where it would not have to. */
const ZEROS_MIN_BYTES = 1024 * 1024

/** What one request brings: bytes first, then names, then zeros, each in the order of the disk, as the service likes it best. */
export class Parcel {
  /** Names of the chunks whose bytes it brings. */
  readonly brings = new Set<string>()
  /** Chunks that may be named once this has been answered: they are among those that it brings. */
  readonly dependents: NamedChunk[] = []
  /** What its bytes lie in: to be given back once it has been delivered. */
  readonly memory: ArrayBufferLike[] = []
  readonly #bytes: Promise<readonly StreamRecord[]>[] = []
  readonly #known: NamedChunk[] = []
  readonly #zeros: { kind: 'zeros'; offset: number; size: number }[] = []
  readonly #limitBytes: number
  #plainBytes = 0

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes
  }

  get isFull(): boolean {
    return (
      this.#plainBytes >= this.#limitBytes ||
      this.brings.size + this.#known.length >= PARCEL_CHUNKS ||
      this.#zeros.length >= PARCEL_CHUNKS
    )
  }

  /** Chunks that are being compressed. */
  bring(chunks: readonly BatchChunk[], frames: Promise<readonly StreamRecord[]>): void {
    for (const { name, size } of chunks) {
      this.brings.add(name)
      this.#plainBytes += size
    }
    // Someone must listen from now on: it is awaited only when its turn comes.
    frames.catch(() => undefined)
    this.#bytes.push(frames)
  }

  /** What the cells of a batch hold, as it is. */
  bringPlain({ chunks, plain }: CutBatch): void {
    const records: StreamRecord[] = []
    this.memory.push(plain)
    for (const { offset, from, length, zero } of stretchesOf(chunks)) {
      if (zero) this.zeros(offset, length)
      else this.#plainBytes += length
      for (let at = 0; at < length && !zero; at += DATA_BYTES_MAX) {
        const bytes = new Uint8Array(plain, from + at, Math.min(DATA_BYTES_MAX, length - at))
        records.push({ kind: 'data', offset: offset + at, bytes })
      }
    }
    this.#bytes.push(Promise.resolve(records))
  }

  /** A chunk that the service has, or that comes with this. */
  name(chunk: NamedChunk): void {
    this.#known.push(chunk)
  }

  zeros(offset: number, size: number): void {
    const last = this.#zeros.at(-1)
    if (last !== undefined && last.offset + last.size === offset) last.size += size
    else this.#zeros.push({ kind: 'zeros', offset, size })
  }

  /** @throws what went wrong with compressing */
  async records(): Promise<readonly StreamRecord[]> {
    return [...(await Promise.all(this.#bytes)).flat(), ...knownRecords(this.#known), ...this.#zeros]
  }
}

export function knownRecords(chunks: readonly NamedChunk[]): StreamRecord[] {
  const records: StreamRecord[] = []
  for (let at = 0; at < chunks.length; at += KNOWN_MAX)
    records.push({ kind: 'known', chunks: chunks.slice(at, at + KNOWN_MAX) })
  return records
}

interface Stretch {
  readonly offset: number
  readonly from: number
  length: number
  readonly zero: boolean
}

/** Neighbouring cells together: those with data, and long stretches of zeros. Short ones are data like what is around them. */
function stretchesOf(cells: readonly BatchChunk[]): Stretch[] {
  const ofOneKind: Stretch[] = []
  for (const { offset, from, size, zero } of cells)
    if (!extend(ofOneKind, { offset, from, length: size, zero }))
      ofOneKind.push({ offset, from, length: size, zero })
  const stretches: Stretch[] = []
  for (const one of ofOneKind) {
    const stretch = { ...one, zero: one.zero && one.length >= ZEROS_MIN_BYTES }
    if (!extend(stretches, stretch)) stretches.push(stretch)
  }
  return stretches
}

/** @returns whether it continues the last one, and so was put to it */
function extend(stretches: readonly Stretch[], { offset, from, length, zero }: Stretch): boolean {
  const last = stretches.at(-1)
  if (last === undefined || last.zero !== zero) return false
  if (last.offset + last.length !== offset || last.from + last.length !== from) return false
  last.length += length
  return true
}
