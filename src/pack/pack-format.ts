import { BinaryReader, BinaryWriter, copyNumbers, MalformedError } from '../binary.js'
import { bytesToHex, crc32, sha256 } from '../checksum.js'
import { packKey } from '../store/keys.js'

/*
 * A pack, format 1. All numbers little-endian.
 *
 *   header     8   "EVFP", u8 version = 1, 3 zero bytes
 *   frames     …   stored bytes of each frame, one after the other
 *   directory  …   u32 frames, u32 chunks
 *                  frames × 16: u32 stored length, u32 plain length, u32 CRC-32 of the stored bytes,
 *                               u16 chunks numbered in this frame, u8 codec, u8 zero
 *                  chunks × 4:  u32 plain length
 *                  ⌈chunks/8⌉:  bit i (least significant first): chunk i's bytes are present
 *                  chunks × 32: SHA-256 of the plain bytes
 *   footer    56   u64 offset and u32 length of the directory, u32 generation, 32 SHA-256 of the directory,
 *                  u32 CRC-32 of the 48 bytes before it, "evfp"
 *
 * A frame's plain bytes are those of its present chunks, in order. A later generation leaves dead chunks' bytes out;
 * numbering, lengths and hashes stay, so that addresses and the pack's id never change.
 */

export const PACK_FORMAT_VERSION = 1
export const PACK_HEADER_BYTES = 8
export const PACK_FOOTER_BYTES = 56
const PACK_HEADER = Uint8Array.of(0x45, 0x56, 0x46, 0x50, PACK_FORMAT_VERSION, 0, 0, 0)
const FOOTER_MAGIC = 0x70667665
const FRAME_ENTRY_BYTES = 16
const FRAME_ENTRY_WORDS = 4
const HASH_BYTES = 32
/** Chunks that one pack numbers at most: keeps a directory under 3 MiB. */
export const PACK_CHUNKS_MAX = 0xffff
/** Plain bytes after which a pack is closed however small it is stored: positions in a pack fit into 32 bits. */
export const PACK_PLAIN_BYTES_MAX = 2 ** 30

export const CODEC_RAW = 0
export const CODEC_ZSTD = 1

const ID_DOMAIN = new TextEncoder().encode('everfold pack 1\0')

/** A pack's id: SHA-256 over the ordered list of its chunks' hashes (with a domain prefix), in hex. */
export function packIdOf(hashes: Uint8Array): string {
  const input = new Uint8Array(ID_DOMAIN.length + hashes.length)
  input.set(ID_DOMAIN)
  input.set(hashes, ID_DOMAIN.length)
  return bytesToHex(sha256(input))
}

/**
 * What a pack holds, by number. Arrays are parallel, and views of one piece of memory; bytes are plain lengths unless said otherwise.
 */
export interface PackDirectory {
  readonly id: string
  readonly generation: number
  /** The object that holds the pack, and where in it the pack begins: 0, but for a pack in a bundle. */
  readonly key: string
  readonly base: number
  /** Bytes of the whole pack. */
  readonly sizeBytes: number
  readonly frameCount: number
  readonly chunkCount: number
  /** Per frame, one more than frames: offset of its stored bytes in the object. */
  readonly frameOffset: Float64Array
  readonly framePlain: Uint32Array
  readonly frameCrc: Uint32Array
  readonly frameCodec: Uint8Array
  /** Per frame, one more than frames: number of its first chunk. */
  readonly frameFirst: Uint32Array
  readonly chunkLength: Uint32Array
  /** Per chunk, one more than chunks: plain bytes of all chunks before it, present or not. */
  readonly chunkStart: Float64Array
  /** Bitmap, least significant bit first. */
  readonly present: Uint8Array
  /** chunks × 32 bytes. */
  readonly hashes: Uint8Array
}

/** Of a directory, besides what its arrays hold: the object, its views, its names, and a place in a map. Measured. */
const DIRECTORY_OBJECT_BYTES = 2048

/** The memory that a directory takes, about. */
export function memoryBytesOf({ hashes }: Pick<PackDirectory, 'hashes'>): number {
  return hashes.buffer.byteLength + DIRECTORY_OBJECT_BYTES
}

/** What the writer of a pack knows of each frame. */
export interface FrameEntry {
  readonly storedLength: number
  readonly plainLength: number
  readonly crc: number
  readonly codec: number
  readonly chunks: number
}

export function isPresent(directory: Pick<PackDirectory, 'present'>, chunk: number): boolean {
  return ((directory.present[chunk >> 3] ?? 0) & (1 << (chunk & 7))) !== 0
}

/** The number of the frame that chunk number `chunk` belongs to. */
export function frameOfChunk(directory: PackDirectory, chunk: number): number {
  return lastAtMost(directory.frameFirst, chunk, directory.frameCount)
}

/** The number of the chunk that holds plain byte `position` of the pack, counted over all its chunks. */
export function chunkAt(
  directory: Pick<PackDirectory, 'chunkStart' | 'chunkCount'>,
  position: number,
): number {
  return lastAtMost(directory.chunkStart, position, directory.chunkCount)
}

/**
 * Where `length` bytes, `skip` after the beginning of a chunk, lie in the pack's plain bytes, counted over all its chunks.
 * @returns undefined if the pack does not have as many: the run that says so does not fit it
 */
export function plainPosition(
  directory: Pick<PackDirectory, 'chunkStart' | 'chunkCount'>,
  chunk: number,
  skip: number,
  length: number,
): number | undefined {
  if (chunk >= directory.chunkCount) return undefined
  const position = (directory.chunkStart[chunk] ?? 0) + skip
  return position + length > (directory.chunkStart[directory.chunkCount] ?? 0) ? undefined : position
}

/** Largest i below `count` with values[i] <= wanted, for ascending values with values[0] <= wanted. */
function lastAtMost(values: ArrayLike<number>, wanted: number, count: number): number {
  let low = 0
  let high = count - 1
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if ((values[middle] ?? Infinity) <= wanted) low = middle
    else high = middle - 1
  }
  return low
}

export function packHeader(): Uint8Array {
  return PACK_HEADER
}

/** The directory and the footer that close a pack whose frames take `framesBytes` stored bytes. */
export function encodePackTail(
  frames: readonly FrameEntry[],
  chunkLengths: ArrayLike<number>,
  present: Uint8Array,
  hashes: Uint8Array,
  generation: number,
): Uint8Array {
  const chunks = hashes.length / HASH_BYTES
  const out = new BinaryWriter(64 + frames.length * FRAME_ENTRY_BYTES + chunks * (HASH_BYTES + 5))
  out.u32(frames.length)
  out.u32(chunks)
  let framesBytes = 0
  for (const frame of frames) {
    out.u32(frame.storedLength)
    out.u32(frame.plainLength)
    out.u32(frame.crc)
    out.u16(frame.chunks)
    out.u8(frame.codec)
    out.u8(0)
    framesBytes += frame.storedLength
  }
  for (let i = 0; i < chunks; i++) out.u32(chunkLengths[i] ?? 0)
  out.bytes(present.subarray(0, Math.ceil(chunks / 8)))
  out.bytes(hashes)
  const directoryLength = out.length
  const footer = new BinaryWriter(PACK_FOOTER_BYTES)
  footer.u64(PACK_HEADER_BYTES + framesBytes)
  footer.u32(directoryLength)
  footer.u32(generation)
  footer.bytes(sha256(out.view()))
  footer.u32(crc32(footer.view()))
  footer.u32(FOOTER_MAGIC)
  out.bytes(footer.view())
  return out.view()
}

export interface PackFooter {
  readonly directoryOffset: number
  readonly directoryLength: number
  readonly generation: number
  readonly directorySha256: Uint8Array
}

/** @throws MalformedError */
export function decodePackFooter(tail: Uint8Array, objectBytes: number): PackFooter {
  if (tail.length < PACK_FOOTER_BYTES) throw new MalformedError('it is shorter than a footer')
  const bytes = tail.subarray(tail.length - PACK_FOOTER_BYTES)
  const reader = new BinaryReader(bytes)
  const directoryOffset = reader.u64()
  const directoryLength = reader.u32()
  const generation = reader.u32()
  const directorySha256 = reader.bytes(HASH_BYTES)
  const crc = reader.u32()
  if (reader.u32() !== FOOTER_MAGIC) throw new MalformedError('its footer does not end as a pack does')
  if (crc !== crc32(bytes.subarray(0, 48))) throw new MalformedError("its footer's checksum is wrong")
  if (
    directoryOffset < PACK_HEADER_BYTES ||
    directoryOffset + directoryLength + PACK_FOOTER_BYTES !== objectBytes
  )
    throw new MalformedError('its footer points outside the object')
  return { directoryOffset, directoryLength, generation, directorySha256 }
}

/**
 * @param place  Where the pack lies; by default an object of its own.
 * @throws MalformedError if the bytes are not a directory that a writer of this format could have made
 */
export function decodePackDirectory(
  bytes: Uint8Array,
  footer: PackFooter,
  packBytes: number,
  place?: { readonly key: string; readonly base: number },
): PackDirectory {
  if (Buffer.compare(sha256(bytes), footer.directorySha256) !== 0)
    throw new MalformedError("its directory's checksum is wrong")
  const reader = new BinaryReader(bytes)
  const frameCount = reader.u32()
  const chunkCount = reader.u32()
  const expected =
    8 + frameCount * FRAME_ENTRY_BYTES + chunkCount * (4 + HASH_BYTES) + Math.ceil(chunkCount / 8)
  if (bytes.length !== expected || chunkCount === 0 || chunkCount > PACK_CHUNKS_MAX)
    throw new MalformedError('its directory has the wrong length')
  const base = place?.base ?? 0
  const arrays = makeArrays(frameCount, chunkCount)
  const { chunkLength, chunkStart, present, hashes } = arrays
  readFrames(reader.bytes(frameCount * FRAME_ENTRY_BYTES), frameCount, base, arrays)
  if (
    arrays.frameFirst[frameCount] !== chunkCount ||
    arrays.frameOffset[frameCount] !== base + footer.directoryOffset
  )
    throw new MalformedError('its frames do not add up')
  copyNumbers(chunkLength, reader.bytes(chunkCount * 4))
  addUp(chunkLength, chunkStart)
  present.set(reader.bytes(present.length))
  if ((present[chunkCount >> 3] ?? 0) >> (chunkCount & 7) !== 0)
    throw new MalformedError('chunks beyond its last are present')
  hashes.set(reader.bytes(hashes.length))
  reader.end()
  const id = packIdOf(hashes)
  const directory: PackDirectory = {
    id,
    generation: footer.generation,
    key: place?.key ?? packKey(id, footer.generation),
    base,
    sizeBytes: packBytes,
    frameCount,
    chunkCount,
    ...arrays,
  }
  checkFramePlain(directory)
  return directory
}

type DirectoryArrays = Pick<
  PackDirectory,
  | 'frameOffset'
  | 'framePlain'
  | 'frameCrc'
  | 'frameCodec'
  | 'frameFirst'
  | 'chunkLength'
  | 'chunkStart'
  | 'present'
  | 'hashes'
>

/** In one piece of memory, since each piece costs some 300 bytes more than what is in it: most packs of a service have few chunks. */
function makeArrays(frames: number, chunks: number): DirectoryArrays {
  const presentBytes = Math.ceil(chunks / 8)
  const doubles = frames + 1 + chunks + 1
  const words = 3 * frames + 1 + chunks
  const memory = new ArrayBuffer(doubles * 8 + words * 4 + frames + presentBytes + chunks * HASH_BYTES)
  let at = 0
  const take = (bytes: number): number => {
    at += bytes
    return at - bytes
  }
  // The widest first, so that all of them are aligned.
  return {
    frameOffset: new Float64Array(memory, take((frames + 1) * 8), frames + 1),
    chunkStart: new Float64Array(memory, take((chunks + 1) * 8), chunks + 1),
    framePlain: new Uint32Array(memory, take(frames * 4), frames),
    frameCrc: new Uint32Array(memory, take(frames * 4), frames),
    frameFirst: new Uint32Array(memory, take((frames + 1) * 4), frames + 1),
    chunkLength: new Uint32Array(memory, take(chunks * 4), chunks),
    frameCodec: new Uint8Array(memory, take(frames), frames),
    present: new Uint8Array(memory, take(presentBytes), presentBytes),
    hashes: new Uint8Array(memory, take(chunks * HASH_BYTES), chunks * HASH_BYTES),
  }
}

function readFrames(
  bytes: Uint8Array,
  frameCount: number,
  base: number,
  { frameOffset, framePlain, frameCrc, frameCodec, frameFirst }: DirectoryArrays,
): void {
  const words = new Uint32Array(frameCount * FRAME_ENTRY_WORDS)
  copyNumbers(words, bytes)
  let offset = base + PACK_HEADER_BYTES
  let first = 0
  frameOffset[0] = offset
  for (let i = 0, at = 0; i < frameCount; i++, at += FRAME_ENTRY_WORDS) {
    offset += words[at] ?? 0
    framePlain[i] = words[at + 1] ?? 0
    frameCrc[i] = words[at + 2] ?? 0
    const last = words[at + 3] ?? 0
    const chunks = last & 0xffff
    const codec = last >>> 16
    // The codec's byte, and the one after it, which is zero.
    if (chunks === 0 || codec > CODEC_ZSTD) throw new MalformedError('a frame entry is wrong')
    first += chunks
    frameOffset[i + 1] = offset
    frameFirst[i + 1] = first
    frameCodec[i] = codec
  }
}

function addUp(lengths: Uint32Array, starts: Float64Array): void {
  let start = 0
  for (let i = 0; i < lengths.length; i++) {
    const length = lengths[i] ?? 0
    if (length === 0) throw new MalformedError('a chunk is empty')
    start += length
    starts[i + 1] = start
  }
}

function checkFramePlain(directory: PackDirectory): void {
  const { chunkStart, frameFirst } = directory
  const isWhole = isAllPresent(directory)
  for (let frame = 0; frame < directory.frameCount; frame++) {
    const first = frameFirst[frame] ?? 0
    const end = frameFirst[frame + 1] ?? 0
    const plain = isWhole
      ? (chunkStart[end] ?? 0) - (chunkStart[first] ?? 0)
      : presentBytes(directory, first, end)
    if (plain !== directory.framePlain[frame]) throw new MalformedError("a frame's length does not add up")
    const stored = (directory.frameOffset[frame + 1] ?? 0) - (directory.frameOffset[frame] ?? 0)
    if (plain === 0 ? stored !== 0 : stored === 0) throw new MalformedError('a frame is empty')
    if (directory.frameCodec[frame] === CODEC_RAW && stored !== plain)
      throw new MalformedError('an uncompressed frame has the wrong length')
  }
}

/** As of a pack that nothing was taken out of. */
function isAllPresent({ present, chunkCount }: PackDirectory): boolean {
  for (let i = 0; i < chunkCount >> 3; i++) if (present[i] !== 0xff) return false
  const rest = (1 << (chunkCount & 7)) - 1
  return ((present[chunkCount >> 3] ?? 0) & rest) === rest
}

function presentBytes(directory: PackDirectory, first: number, end: number): number {
  let bytes = 0
  for (let chunk = first; chunk < end; chunk++)
    if (isPresent(directory, chunk)) bytes += directory.chunkLength[chunk] ?? 0
  return bytes
}
