import type { NamedChunks } from '../chain/received-frames.js'
import { crc32 } from '../checksum.js'
import { copyBytes } from '../copy-bytes.js'
import { joinedCrc32 } from '../crc.js'
import { EverfoldError } from '../errors.js'
import { HASH_BYTES } from '../index/chunk-index.js'
import { CODEC_RAW, CODEC_ZSTD } from '../pack/pack-format.js'

/*
 * The framed stream of extents, version 1: one way to send a disk. Numbers are little-endian; u64 at most 2^53 - 1.
 *
 *   header   8   "EVFX", u8 version = 1, u8 flags = 0, u16 reserved = 0
 *   record   8   u8 kind, u8 flags = 0, u16 reserved = 0, u32 length of the payload that follows
 *     1 DATA     u64 offset, then plain bytes
 *     2 ZEROS    u64 offset, u64 size
 *     3 KNOWN    n × { u64 offset, u32 size, 32 SHA-256 }
 *     4 CHUNKS   u8 codec, 3 × 0, u32 count, count × { u64 offset, u32 size, 32 SHA-256 }, then one frame of these chunks
 *    15 END      u32 records before it, u32 CRC-32 of all bytes before this record
 */

const MAGIC = 0x58465645
const VERSION = 1
const RECORD_BYTES = 8
const CHUNK_ENTRY_BYTES = 44
const CHUNKS_HEADER_BYTES = 8
/** Plain bytes of a DATA record. */
export const STREAM_DATA_MAX = 4 * 1024 * 1024
/** Chunks that a KNOWN and a CHUNKS record name. */
export const STREAM_KNOWN_MAX = 16_384
export const STREAM_CHUNKS_MAX = 4096
/** Chunks of a KNOWN record that are taken at once. */
const KNOWN_AT_ONCE = 2048

const DATA = 1
const ZEROS = 2
const KNOWN = 3
const CHUNKS = 4
const END = 15

/** Fills all of `into` with the bytes that come next. @returns their CRC-32 */
export type Fill = (into: Uint8Array) => Promise<number>

/** What a stream is for. */
export interface StreamTarget {
  /** Bytes of the disk. */
  readonly sizeBytes: number
  readonly chunkSize: number
  /** Plain bytes of a frame, or one chunk. */
  readonly frameSize: number
  /** Chunks lie in cells of a grid of `chunkSize`. */
  readonly onGrid: boolean
  /** The bytes hold only until the promise settles. */
  data(offset: number, bytes: Uint8Array): Promise<void>
  zeros(offset: number, length: number): Promise<void>
  known(chunks: NamedChunks): Promise<void>
  /** A frame of `length` bytes, which are to be taken with `fill`: once, before the promise settles. */
  frame(chunks: NamedChunks, codec: number, length: number, fill: Fill, record: number): Promise<void>
}

/**
 * Takes a stream apart as it comes, and hands what is in it on.
 * @throws STREAM_INVALID, and what the target and `body` throw
 */
export async function readExtentsStream(
  body: AsyncIterable<Uint8Array>,
  target: StreamTarget,
): Promise<void> {
  const input = new StreamInput(body)
  const header = viewOf(await input.exactly(8))
  if (header.getUint32(0, true) !== MAGIC) throw invalid('it does not begin with "EVFX"')
  if (header.getUint8(4) !== VERSION)
    throw invalid(`its version is ${header.getUint8(4)}; this service knows ${VERSION}`)
  if (header.getUint8(5) !== 0 || header.getUint16(6, true) !== 0)
    throw invalid('reserved bits of its header are set')
  for (let record = 0; ; record++) {
    const crc = input.crc
    const head = viewOf(await input.exactly(RECORD_BYTES, record))
    const kind = head.getUint8(0)
    const length = head.getUint32(4, true)
    if (head.getUint8(1) !== 0 || head.getUint16(2, true) !== 0)
      throw invalid('reserved bits are set', record)
    if (kind === END) {
      await readEnd(input, length, record, crc)
      return
    }
    await readRecord(input, target, { kind, length, number: record })
  }
}

interface RecordHead {
  readonly kind: number
  /** Of its payload. Bytes. */
  readonly length: number
  readonly number: number
}

function readRecord(input: StreamInput, target: StreamTarget, head: RecordHead): Promise<void> {
  if (head.kind === DATA) return readData(input, target, head)
  if (head.kind === ZEROS) return readZeros(input, target, head)
  if (head.kind === KNOWN) return readKnown(input, target, head)
  if (head.kind === CHUNKS) return readChunks(input, target, head)
  throw invalid(`there is no kind ${head.kind}`, head.number)
}

async function readEnd(input: StreamInput, length: number, record: number, crc: number): Promise<void> {
  if (length !== 8) throw invalid('END has 8 bytes', record)
  const end = viewOf(await input.exactly(8, record))
  if (end.getUint32(0, true) !== record) throw invalid(`END counts ${end.getUint32(0, true)} records`, record)
  if (end.getUint32(4, true) !== crc) throw invalid('the checksum of the stream is wrong', record)
  if (await input.hasMore()) throw invalid('something follows END', record)
}

async function readData(
  input: StreamInput,
  target: StreamTarget,
  { length, number }: RecordHead,
): Promise<void> {
  const plain = length - 8
  if (plain < 1 || plain > STREAM_DATA_MAX) throw invalid(`DATA has 1 to ${STREAM_DATA_MAX} bytes`, number)
  let offset = offsetAt(viewOf(await input.exactly(8, number)), 0, number)
  checkRange(target, offset, plain, number)
  for (let left = plain; left > 0; ) {
    const bytes = await input.some(left, number)
    await target.data(offset, bytes)
    offset += bytes.length
    left -= bytes.length
  }
}

async function readZeros(
  input: StreamInput,
  target: StreamTarget,
  { length, number }: RecordHead,
): Promise<void> {
  if (length !== 16) throw invalid('ZEROS has 16 bytes', number)
  const view = viewOf(await input.exactly(16, number))
  const offset = offsetAt(view, 0, number)
  const size = offsetAt(view, 8, number)
  if (size < 1) throw invalid('ZEROS of no bytes', number)
  checkRange(target, offset, size, number)
  await target.zeros(offset, size)
}

async function readKnown(
  input: StreamInput,
  target: StreamTarget,
  { length, number }: RecordHead,
): Promise<void> {
  const count = length / CHUNK_ENTRY_BYTES
  if (!Number.isInteger(count) || count < 1 || count > STREAM_KNOWN_MAX)
    throw invalid(`KNOWN has 1 to ${STREAM_KNOWN_MAX} chunks of ${CHUNK_ENTRY_BYTES} bytes`, number)
  for (let done = 0; done < count; done += KNOWN_AT_ONCE)
    await target.known(await readNamed(input, target, Math.min(KNOWN_AT_ONCE, count - done), number))
}

async function readChunks(
  input: StreamInput,
  target: StreamTarget,
  { length, number }: RecordHead,
): Promise<void> {
  if (length < CHUNKS_HEADER_BYTES) throw invalid('CHUNKS is too short', number)
  const head = viewOf(await input.exactly(CHUNKS_HEADER_BYTES, number))
  const codec = head.getUint8(0)
  const count = head.getUint32(4, true)
  if ((codec !== CODEC_RAW && codec !== CODEC_ZSTD) || (head.getUint32(0, true) & 0xffffff00) !== 0)
    throw invalid('CHUNKS has an unknown codec', number)
  if (count < 1 || count > STREAM_CHUNKS_MAX)
    throw invalid(`CHUNKS has 1 to ${STREAM_CHUNKS_MAX} chunks`, number)
  const stored = length - CHUNKS_HEADER_BYTES - count * CHUNK_ENTRY_BYTES
  // Before anything of that size is made room for.
  if (stored < 1 || stored > Math.max(target.frameSize, target.chunkSize))
    throw invalid('the frame of CHUNKS is empty or too long', number)
  const chunks = await readNamed(input, target, count, number)
  const plain = chunks.lengths.reduce((sum, size) => sum + size, 0)
  if (count > 1 && plain > Math.max(target.frameSize, target.chunkSize))
    throw invalid(`a frame of several chunks may have ${target.frameSize} plain bytes`, number)
  if (stored > plain || (codec === CODEC_RAW && stored !== plain))
    throw invalid('the frame of CHUNKS does not have the length of its chunks', number)
  await target.frame(chunks, codec, stored, (into) => input.fill(into, number), number)
}

async function readNamed(
  input: StreamInput,
  target: StreamTarget,
  count: number,
  record: number,
): Promise<NamedChunks> {
  const bytes = new Uint8Array(count * CHUNK_ENTRY_BYTES)
  await input.fill(bytes, record)
  const view = viewOf(bytes)
  const offsets = new Float64Array(count)
  const lengths = new Uint32Array(count)
  const hashes = new Uint8Array(count * HASH_BYTES)
  for (let i = 0; i < count; i++) {
    const at = i * CHUNK_ENTRY_BYTES
    const offset = offsetAt(view, at, record)
    const size = view.getUint32(at + 8, true)
    if (size < 1 || size > target.chunkSize)
      throw invalid(`a chunk has 1 to ${target.chunkSize} bytes; number ${i} has ${size}`, record)
    checkRange(target, offset, size, record)
    if (target.onGrid && (offset % target.chunkSize) + size > target.chunkSize)
      throw invalid(
        `chunk ${i} reaches over the grid of ${target.chunkSize} bytes, on which this disk is cut`,
        record,
      )
    offsets[i] = offset
    lengths[i] = size
    hashes.set(bytes.subarray(at + 12, at + CHUNK_ENTRY_BYTES), i * HASH_BYTES)
  }
  return { offsets, lengths, hashes }
}

function checkRange({ sizeBytes }: StreamTarget, offset: number, length: number, record: number): void {
  if (offset + length > sizeBytes)
    throw invalid(`it reaches beyond the end of the disk, byte ${sizeBytes}`, record)
}

function offsetAt(view: DataView, at: number, record: number): number {
  const value = view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32
  if (!Number.isSafeInteger(value)) throw invalid('a number is over 2^53', record)
  return value
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function invalid(why: string, record?: number): EverfoldError {
  const where = record === undefined ? 'The stream' : `Record ${record} of the stream`
  return new EverfoldError('STREAM_INVALID', `${where} is not as it should be: ${why}.`, {
    details: record === undefined ? {} : { record },
  })
}

/** Bytes as they come, counted into a checksum as they are taken. */
class StreamInput {
  crc = 0
  readonly #body: AsyncIterator<Uint8Array>
  #piece: Uint8Array = new Uint8Array(0)

  constructor(body: AsyncIterable<Uint8Array>) {
    this.#body = body[Symbol.asyncIterator]()
  }

  async hasMore(): Promise<boolean> {
    while (this.#piece.length === 0) {
      const next = await this.#body.next()
      if (next.done === true) return false
      this.#piece = next.value
    }
    return true
  }

  /** Some bytes, 1 to `max`, where they lie. */
  async some(max: number, record: number | undefined): Promise<Uint8Array> {
    const bytes = await this.#next(max, record)
    this.crc = crc32(bytes, this.crc)
    return bytes
  }

  /** @returns the CRC-32 of these bytes */
  async fill(into: Uint8Array, record: number | undefined): Promise<number> {
    let crc = 0
    for (let at = 0; at < into.length; ) {
      const bytes = await this.#next(into.length - at, record)
      crc = crc32(bytes, crc)
      copyBytes(into, at, bytes)
      at += bytes.length
    }
    this.crc = joinedCrc32(this.crc, crc, into.length)
    return crc
  }

  async #next(max: number, record: number | undefined): Promise<Uint8Array> {
    if (!(await this.hasMore())) throw invalid('the stream ends without END', record)
    const bytes = this.#piece.subarray(0, max)
    this.#piece = this.#piece.subarray(bytes.length)
    return bytes
  }

  /** A few bytes. */
  async exactly(count: number, record?: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(count)
    await this.fill(bytes, record)
    return bytes
  }
}
