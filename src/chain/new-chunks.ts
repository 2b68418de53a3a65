import { SHA256_BYTES } from '../checksum.js'
import type { Crew } from '../pack/crew.js'
import type { CheckJob, CheckResult, EncodeJob, EncodeResult } from '../pack/jobs.js'
import { type Decision, NEW } from './decide.js'

export interface FrameSettings {
  /** Plain bytes that are compressed together, at most (or one chunk). */
  readonly frameSize: number
  readonly level: number
  readonly verify: boolean
}

/** What is to be put into a pack. */
export interface NewChunks {
  /** Chunks in each frame. */
  readonly frameChunks: Uint32Array
  /** Plain bytes of each chunk. */
  readonly lengths: Uint32Array
  readonly encoded: Promise<EncodeResult>
}

/**
 * Groups new chunks of a batch into frames.
 * @param first, end  chunks that are looked at: from `first` to before `end`
 * @returns undefined if none of them are new
 */
export function groupFrames(
  decision: Decision,
  { frameSize, level, verify }: FrameSettings,
  first = 0,
  end = decision.count,
): EncodeJob | undefined {
  const offsets: number[] = []
  const lengths: number[] = []
  const frameChunks: number[] = []
  let framePlain = Infinity
  for (let i = first; i < end; i++) {
    if (decision.pack[i] !== NEW || decision.isRepeat(i)) continue
    const length = decision.length[i] ?? 0
    if (framePlain + length > frameSize) {
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
    level,
    verify,
  }
}

/** A frame that came, and where its chunks and its stored bytes begin among those of all. */
interface CheckedFrame {
  readonly codec: number
  readonly crc: number
  readonly storedFrom: number
  readonly storedLength: number
  readonly first: number
  readonly end: number
}

const NO_BUFFER = new ArrayBuffer(0)

/**
 * Keeps frames as they came, if all of their chunks are new; of the others, the chunks that are new are compressed anew.
 * @param job  what was checked, with this result
 * @param crcs  of each frame
 * @returns undefined if no chunk is new. `plain` of the result is memory that is no longer needed
 */
export function keepFrames(
  decision: Decision,
  job: CheckJob,
  crcs: Uint32Array,
  checked: CheckResult,
  settings: FrameSettings,
  crew: Crew,
): NewChunks | undefined {
  const frameChunks: number[] = []
  const lengths: number[] = []
  const parts: Promise<EncodeResult>[] = []
  let isAllKept = true
  for (const frame of framesOf(job, crcs)) {
    const again = groupFrames(decision, settings, frame.first, frame.end)
    const isKept = again?.lengths.length === frame.end - frame.first
    isAllKept &&= isKept
    if (again === undefined) continue
    if (isKept) frameChunks.push(again.lengths.length)
    else for (const count of again.frameChunks) frameChunks.push(count)
    for (const length of again.lengths) lengths.push(length)
    parts.push(
      isKept
        ? Promise.resolve(asItCame(decision, checked, frame))
        : encodeAgain(decision, checked, frame, again, crew),
    )
  }
  if (parts.length === 0) return undefined
  const encoded = Promise.all(parts).then((results) =>
    isAllKept ? joined(results, checked.stored) : copied(results, checked.stored),
  )
  return { frameChunks: Uint32Array.from(frameChunks), lengths: Uint32Array.from(lengths), encoded }
}

function* framesOf(job: CheckJob, crcs: Uint32Array): Generator<CheckedFrame> {
  let storedFrom = 0
  let first = 0
  for (const [i, storedLength] of job.storedLength.entries()) {
    const end = first + (job.frameChunks[i] ?? 0)
    yield { codec: job.codec[i] ?? 0, crc: crcs[i] ?? 0, storedFrom, storedLength, first, end }
    storedFrom += storedLength
    first = end
  }
}

function asItCame(decision: Decision, { stored }: CheckResult, frame: CheckedFrame): EncodeResult {
  return {
    plain: NO_BUFFER,
    stored: new Uint8Array(stored, frame.storedFrom, frame.storedLength),
    storedLength: Uint32Array.of(frame.storedLength),
    plainLength: Uint32Array.of(plainLengthOf(decision, frame)),
    crc: Uint32Array.of(frame.crc),
    codec: Uint8Array.of(frame.codec),
  }
}

function plainLengthOf({ length }: Decision, { first, end }: CheckedFrame): number {
  return length.subarray(first, end).reduce((sum, one) => sum + one, 0)
}

async function encodeAgain(
  decision: Decision,
  { stored }: CheckResult,
  frame: CheckedFrame,
  again: EncodeJob,
  crew: Crew,
): Promise<EncodeResult> {
  const { first, end } = frame
  const start = decision.from[first] ?? 0
  const { plain } = await crew.decode({
    // Its own: the memory of all frames is lent to one thread at a time.
    stored: new Uint8Array(stored, frame.storedFrom, frame.storedLength).slice().buffer,
    storedOffset: Uint32Array.of(0),
    storedLength: Uint32Array.of(frame.storedLength),
    plainLength: Uint32Array.of(plainLengthOf(decision, frame)),
    crc: Uint32Array.of(frame.crc),
    codec: Uint8Array.of(frame.codec),
    wanted: Uint32Array.of(end - first),
    chunkOffset: decision.from.slice(first, end).map((from) => from - start),
    chunkLength: decision.length.slice(first, end),
    hashes: decision.hashes.slice(first * SHA256_BYTES, end * SHA256_BYTES),
  })
  return crew.encode({ ...again, plain: plain.buffer, offsets: again.offsets.map((from) => from - start) })
}

/** Frames that lie one after the other already, from the beginning of `stored`. */
function joined(parts: readonly EncodeResult[], stored: ArrayBufferLike): EncodeResult {
  const bytes = parts.reduce((sum, part) => sum + part.stored.length, 0)
  return { ...figuresOf(parts), plain: NO_BUFFER, stored: new Uint8Array(stored, 0, bytes) }
}

function copied(parts: readonly EncodeResult[], room: ArrayBufferLike): EncodeResult {
  const stored = new Uint8Array(parts.reduce((sum, part) => sum + part.stored.length, 0))
  let at = 0
  for (const part of parts) {
    stored.set(part.stored, at)
    at += part.stored.length
  }
  return { ...figuresOf(parts), plain: room, stored }
}

function figuresOf(
  parts: readonly EncodeResult[],
): Pick<EncodeResult, 'storedLength' | 'plainLength' | 'crc' | 'codec'> {
  return {
    storedLength: Uint32Array.from(parts.flatMap((part) => [...part.storedLength])),
    plainLength: Uint32Array.from(parts.flatMap((part) => [...part.plainLength])),
    crc: Uint32Array.from(parts.flatMap((part) => [...part.crc])),
    codec: Uint8Array.from(parts.flatMap((part) => [...part.codec])),
  }
}
