import binding from 'zstd-napi/binding.js'
import { crc32, isEqualHash, sha256 } from '../checksum.js'
import type { HashJob, HashResult } from '../chunker/batch-jobs.js'
import { hashChunks } from '../chunker/hash.js'
import { isZero } from '../chunker/zero.js'
import { copyBytes } from '../copy-bytes.js'
import { CHUNK_FRAME_DAMAGED, CHUNK_GOOD, CHUNK_HASH_WRONG } from './chunk-state.js'
import { looksRandom } from './looks-random.js'
import { CODEC_RAW, CODEC_ZSTD } from './pack-format.js'

/*
 * The heavy work, as plain functions over batches of chunks. They run on worker threads (see crew.ts) or inline. Every
 * buffer in a job or result is handed over, also one that is shared memory: whoever sent it may not touch it again.
 */

export function runHash(job: HashJob): HashResult {
  const used = job.lengths.reduce((sum, length) => sum + length, 0)
  const { hashes, zeros } = hashChunks(new Uint8Array(job.plain, job.start ?? 0, used), job.lengths)
  return { plain: job.plain, lengths: job.lengths, hashes, zeros }
}

/** Compress chunks of a batch, grouped into frames. */
export interface EncodeJob {
  readonly plain: ArrayBufferLike
  /** Per chosen chunk: where it lies in `plain`, ascending, and its length. */
  readonly offsets: Uint32Array
  readonly lengths: Uint32Array
  /** Chunks per frame; they add up to the number of chosen chunks. */
  readonly frameChunks: Uint32Array
  /** zstd level; 0 stores everything as it is. */
  readonly level: number
  /** Decompress each frame again and compare before its source is dropped (invariant 8). */
  readonly verify: boolean
  /** Where the stored bytes go, at least as large as all of it and a little more; without it, or if it is too small, memory of their own. */
  readonly room?: SharedArrayBuffer | undefined
}

export interface EncodeResult {
  readonly plain: ArrayBufferLike
  /** Exactly the stored bytes of all frames, one after the other. */
  readonly stored: Uint8Array
  /** Per frame. */
  readonly storedLength: Uint32Array
  readonly plainLength: Uint32Array
  readonly crc: Uint32Array
  readonly codec: Uint8Array
}

/** A frame must shrink by at least this share to be worth decompressing on every read. */
const WORTH_SAVING = 1 / 32

interface Compressors {
  readonly level: number
  readonly usual: binding.CCtx
  /** For what looks random. */
  readonly random: binding.CCtx
}

interface Contexts {
  compress: Compressors | undefined
  readonly decompress: binding.DCtx
  /** Of frames of which only the beginning is wanted. */
  readonly stream: binding.DCtx
  /** Scratch space for gathering, compressed bytes and decompressed bytes. */
  gather: Uint8Array
  packed: Uint8Array
  unpacked: Uint8Array
}

let contexts: Contexts | undefined

function context(): Contexts {
  contexts ??= {
    compress: undefined,
    decompress: new binding.DCtx(),
    stream: startDecompressor(),
    gather: new Uint8Array(0),
    packed: new Uint8Array(0),
    unpacked: new Uint8Array(0),
  }
  return contexts
}

/** Of windows, in powers of two: 4 MiB, as much as the largest chunk. */
const WINDOW_LOG_MAX = 22

function startDecompressor(): binding.DCtx {
  const made = new binding.DCtx()
  made.setParameter(binding.DParameter.windowLogMax, WINDOW_LOG_MAX)
  return made
}

/** Scratch space of at least `bytes`, kept for the next job. */
export function scratch(kind: 'gather' | 'packed' | 'unpacked', bytes: number): Uint8Array {
  const own = context()
  if (own[kind].length < bytes) own[kind] = new Uint8Array(Math.ceil(bytes / 65536) * 65536)
  return own[kind]
}

export function runEncode(job: EncodeJob): EncodeResult {
  const frames = job.frameChunks.length
  const plain = new Uint8Array(job.plain)
  const storedLength = new Uint32Array(frames)
  const plainLength = new Uint32Array(frames)
  const crc = new Uint32Array(frames)
  const codec = new Uint8Array(frames)
  const total = job.lengths.reduce((sum, length) => sum + length, 0)
  // One frame may grow: what does not shrink is then written over it as it is.
  const needed = total + binding.compressBound(job.plain.byteLength) - job.plain.byteLength
  const room = job.room !== undefined && job.room.byteLength >= needed ? job.room : undefined
  const out = room === undefined ? scratch('packed', needed) : new Uint8Array(room)
  let at = 0
  let chunk = 0
  for (let frame = 0; frame < frames; frame++) {
    const count = job.frameChunks[frame] ?? 0
    const source = gather(plain, job, chunk, count)
    chunk += count
    const size = job.level === 0 ? 0 : tryCompress(source, out.subarray(at), job.level)
    if (size === 0) copyBytes(out, at, source)
    else if (job.verify) assertDecompresses(out.subarray(at, at + size), source)
    const stored = size === 0 ? source.length : size
    storedLength[frame] = stored
    plainLength[frame] = source.length
    codec[frame] = size === 0 ? CODEC_RAW : CODEC_ZSTD
    crc[frame] = crc32(out.subarray(at, at + stored))
    at += stored
  }
  // Without room of its own a copy of just the stored bytes: packs in flight then hold no unused memory.
  const stored = room === undefined ? out.slice(0, at) : out.subarray(0, at)
  return { plain: job.plain, stored, storedLength, plainLength, crc, codec }
}

/** The frame's plain bytes in one piece: a view where its chunks are neighbours, else gathered in scratch space. */
function gather(plain: Uint8Array, job: EncodeJob, first: number, count: number): Uint8Array {
  let length = 0
  let contiguous = true
  const start = job.offsets[first] ?? 0
  for (let i = first; i < first + count; i++) {
    if (job.offsets[i] !== start + length) contiguous = false
    length += job.lengths[i] ?? 0
  }
  if (contiguous) return plain.subarray(start, start + length)
  const into = scratch('gather', length).subarray(0, length)
  let at = 0
  for (let i = first; i < first + count; i++) {
    const offset = job.offsets[i] ?? 0
    const size = job.lengths[i] ?? 0
    copyBytes(into, at, plain.subarray(offset, offset + size))
    at += size
  }
  return into
}

type Parameters = Readonly<Partial<Record<keyof typeof binding.CParameter, number>>>

/**
 * Level 3 with tables a quarter of the size: they stay in a core's cache. Frames of 512 KiB of an ext4 image of program files: 20 % less
 * time, 1 % more bytes; with half the size 8 % and 0.3 %.
 */
const LEVEL_3: Parameters = { hashLog: 15, chainLog: 14 }

/**
 * For what looks random, such as files that are compressed already: less than half the time of {@link LEVEL_3}, and 0.2 % more bytes of
 * those frames. Most of what is to be gained there are bytes that are not quite equally frequent.
 */
const LEVEL_3_RANDOM: Parameters = { strategy: binding.Strategy.fast, minMatch: 4, hashLog: 14 }

/** Compresses `source` into `room`. @returns the compressed size, or 0 when it is not worth it. */
function tryCompress(source: Uint8Array, room: Uint8Array, level: number): number {
  const own = context()
  if (own.compress?.level !== level) own.compress = compressors(level)
  const { usual, random } = own.compress
  const size = (looksRandom(source) ? random : usual).compress2(room, source)
  return size > source.length * (1 - WORTH_SAVING) ? 0 : size
}

function compressors(level: number): Compressors {
  const usual = compressor(level, level === 3 ? LEVEL_3 : {})
  return { level, usual, random: level === 3 ? compressor(level, LEVEL_3_RANDOM) : usual }
}

function compressor(level: number, parameters: Parameters): binding.CCtx {
  const made = new binding.CCtx()
  made.setParameter(binding.CParameter.compressionLevel, level)
  for (const [name, value] of Object.entries(parameters))
    made.setParameter(binding.CParameter[name as keyof Parameters], value)
  return made
}

function assertDecompresses(packed: Uint8Array, source: Uint8Array): void {
  const back = scratch('unpacked', source.length)
  const length = context().decompress.decompress(back.subarray(0, source.length), packed)
  if (length !== source.length || Buffer.compare(back.subarray(0, length), source) !== 0)
    throw new Error(
      'a compressed frame did not decompress to its source: the compressor or the memory is faulty',
    )
}

/** Check frames that somebody else made: each is one zstd frame, or plain bytes, whose chunks have these hashes. */
export interface CheckJob {
  /** The frames, one after the other from byte 0 on. */
  readonly stored: ArrayBufferLike
  /** Per frame. */
  readonly storedLength: Uint32Array
  readonly codec: Uint8Array
  /** Chunks per frame. */
  readonly frameChunks: Uint32Array
  /** Plain bytes of each chunk of all frames, one after the other. */
  readonly lengths: Uint32Array
  /** n × 32 bytes. */
  readonly hashes: Uint8Array
}

export interface CheckResult {
  readonly stored: ArrayBufferLike
  /** What is wrong first; undefined if all is well. The frame cannot be decoded where no chunk is named; chunks count within their frame. */
  readonly bad: { readonly frame: number; readonly chunk: number | undefined } | undefined
  /** Bitmap, least significant bit first: the chunk is all zeros. */
  readonly zeros: Uint8Array
}

export function runCheck(job: CheckJob): CheckResult {
  const zeros = new Uint8Array(Math.ceil(job.lengths.length / 8))
  const answer = { stored: job.stored, zeros }
  let from = 0
  let first = 0
  for (let frame = 0; frame < job.storedLength.length; frame++) {
    const stored = new Uint8Array(job.stored, from, job.storedLength[frame])
    const end = first + (job.frameChunks[frame] ?? 0)
    const bad = checkFrame(job, stored, job.codec[frame] ?? 0, first, end, zeros)
    if (bad >= 0) return { ...answer, bad: { frame, chunk: bad < end ? bad - first : undefined } }
    from += stored.length
    first = end
  }
  return { ...answer, bad: undefined }
}

/** Checks chunks `first` to before `end`. @returns the first without its hash; `end` if the frame cannot be decoded; -1 if all is well */
function checkFrame(
  { lengths, hashes }: CheckJob,
  stored: Uint8Array,
  codec: number,
  first: number,
  end: number,
  zeros: Uint8Array,
): number {
  let total = 0
  for (let i = first; i < end; i++) total += lengths[i] ?? 0
  const plain = scratch('unpacked', total).subarray(0, total)
  if (!isOneFrame(stored, codec) || !open(stored, codec, plain)) return end
  let at = 0
  for (let i = first; i < end; i++) {
    const chunk = plain.subarray(at, at + (lengths[i] ?? 0))
    at += chunk.length
    if (!hashMatches(chunk, hashes, i)) return i
    if (isZero(chunk)) zeros[i >> 3] = (zeros[i >> 3] ?? 0) | (1 << (i & 7))
  }
  return -1
}

/** The decompressor takes several in a row as well; the format does not. */
function isOneFrame(stored: Uint8Array, codec: number): boolean {
  if (codec !== CODEC_ZSTD) return true
  try {
    return binding.findFrameCompressedSize(stored) === stored.length
  } catch {
    // It refuses what is no frame by throwing.
    return false
  }
}

/** Decompress frames and give back the wanted chunks, each checked against its hash. */
export interface DecodeJob {
  /** Bytes of the pack that hold the frames; may have other bytes between them. */
  readonly stored: ArrayBufferLike
  /** Per frame. */
  readonly storedOffset: Uint32Array
  readonly storedLength: Uint32Array
  readonly plainLength: Uint32Array
  /** CRC-32 of the stored bytes; without it only the chunks are checked, against their hashes. */
  readonly crc?: Uint32Array | undefined
  readonly codec: Uint8Array
  /** Wanted chunks per frame. */
  readonly wanted: Uint32Array
  /** Per wanted chunk: offset in its frame's plain bytes, and length. */
  readonly chunkOffset: Uint32Array
  readonly chunkLength: Uint32Array
  /** n × 32 bytes. */
  readonly hashes: Uint8Array
  /** Shared memory that the plain bytes go to, handed over as well; without it, or if it is too small, memory of their own. */
  readonly room?: Uint8Array | undefined
}

export interface DecodeResult {
  /** The wanted chunks' plain bytes, one after the other. Those of a bad chunk are zeros and must not be used. */
  readonly plain: Uint8Array
  /** Per wanted chunk: CHUNK_GOOD or what is wrong. */
  readonly state: Uint8Array
  /** Per frame: 1 if its CRC is given and wrong (its chunks may be good all the same, when the CRC itself was hit). */
  readonly crcWrong: Uint8Array
}

export function runDecode(job: DecodeJob): DecodeResult {
  const result = decode(job, false)
  // A frame that somebody else made may need all of it for its beginning: see openStart.
  return result.state.every((state) => state === CHUNK_GOOD) ? result : decode(job, true)
}

/** @param wholly  all of each frame is decompressed, however little of it is wanted */
function decode(job: DecodeJob, wholly: boolean): DecodeResult {
  const stored = new Uint8Array(job.stored)
  const total = job.chunkLength.reduce((sum, length) => sum + length, 0)
  const hasRoom = job.room !== undefined && job.room.length >= total
  const plain = hasRoom ? job.room.subarray(0, total) : new Uint8Array(total)
  const state = new Uint8Array(job.chunkLength.length)
  const crcWrong = new Uint8Array(job.wanted.length)
  let at = 0
  let chunk = 0
  for (let frame = 0; frame < job.wanted.length; frame++) {
    const from = job.storedOffset[frame] ?? 0
    const bytes = stored.subarray(from, from + (job.storedLength[frame] ?? 0))
    if (job.crc !== undefined && crc32(bytes) !== job.crc[frame]) crcWrong[frame] = 1
    const end = chunk + (job.wanted[frame] ?? 0)
    const length = job.plainLength[frame] ?? 0
    // The usual case, all of a frame is wanted: decompress straight to where it goes.
    const direct = isWhole(job, chunk, end, length)
    const needed = direct || wholly ? length : neededOf(job, chunk, end, length)
    const into = direct ? plain.subarray(at, at + length) : scratch('gather', length).subarray(0, needed)
    const opened = open(bytes, job.codec[frame] ?? 0, into, length)
    for (; chunk < end; chunk++) {
      const size = job.chunkLength[chunk] ?? 0
      const offset = job.chunkOffset[chunk] ?? 0
      const place = plain.subarray(at, at + size)
      if (opened && !direct) copyBytes(place, 0, into.subarray(offset, offset + size))
      state[chunk] = !opened
        ? CHUNK_FRAME_DAMAGED
        : hashMatches(place, job.hashes, chunk)
          ? CHUNK_GOOD
          : CHUNK_HASH_WRONG
      if (state[chunk] !== CHUNK_GOOD) place.fill(0)
      at += size
    }
  }
  return { plain, state, crcWrong }
}

function isWhole(job: DecodeJob, first: number, end: number, plainLength: number): boolean {
  let length = 0
  for (let i = first; i < end; i++) {
    if (job.chunkOffset[i] !== length) return false
    length += job.chunkLength[i] ?? 0
  }
  return length === plainLength
}

/** Where more of a frame than this is needed, all of it is decompressed: that takes no longer, and proves its length. */
const START_SHARE_MAX = 0.75

/** Plain bytes of a frame to be decompressed: up to the end of the last chunk that is wanted, or all. */
function neededOf(job: DecodeJob, first: number, end: number, plainLength: number): number {
  let needed = 0
  for (let i = first; i < end; i++)
    needed = Math.max(needed, (job.chunkOffset[i] ?? 0) + (job.chunkLength[i] ?? 0))
  return bytesToOpen(needed, plainLength)
}

/** Plain bytes of a frame to be decompressed where so many of its first are needed. */
export function bytesToOpen(needed: number, plainLength: number): number {
  return needed > plainLength * START_SHARE_MAX ? plainLength : needed
}

/** Fills `into` with the first plain bytes of a frame, which has `length` of them. */
export function open(bytes: Uint8Array, codec: number, into: Uint8Array, length = into.length): boolean {
  if (codec === CODEC_RAW) {
    if (bytes.length !== length) return false
    copyBytes(into, 0, bytes.subarray(0, into.length))
    return true
  }
  try {
    return into.length === length
      ? context().decompress.decompress(into, bytes) === length
      : openStart(bytes, into)
  } catch {
    // The decompressor refuses damaged bytes by throwing: that is an answer, not a failure.
    return false
  }
}

/**
 * Block by block, and no block more than it takes; every chunk is checked against its hash afterwards. It takes memory for as many bytes as the
 * frame says that its blocks go back to: who made it may have said too much, or too little. To decompress all of a frame needs none.
 */
function openStart(bytes: Uint8Array, into: Uint8Array): boolean {
  const { stream } = context()
  try {
    let produced = 0
    for (let consumed = 0; produced < into.length; ) {
      const [, more, taken] = stream.decompressStream(into.subarray(produced), bytes.subarray(consumed))
      if (more === 0 && taken === 0) return false
      produced += more
      consumed += taken
    }
    return true
  } finally {
    stream.reset(binding.ResetDirective.sessionOnly)
  }
}

/** Has it the hash of this number, of many? */
export function hashMatches(bytes: Uint8Array, hashes: Uint8Array, index: number): boolean {
  return isEqualHash(sha256(bytes), 0, hashes, index)
}
