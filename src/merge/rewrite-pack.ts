import type { Repository } from '../chain/repository.js'
import { isEverfoldError } from '../errors.js'
import { decodeJob } from '../pack/chunk-reader.js'
import { CHUNK_GOOD } from '../pack/chunk-state.js'
import type { DecodeResult } from '../pack/jobs.js'
import {
  CODEC_RAW,
  decodePackDirectory,
  decodePackFooter,
  encodePackTail,
  type FrameEntry,
  isPresent,
  PACK_FOOTER_BYTES,
  PACK_HEADER_BYTES,
  type PackDirectory,
  packHeader,
} from '../pack/pack-format.js'
import { readAgainIfDamaged } from '../store/read-again.js'
import { isBitSet, storedLength } from './survey.js'

/** A new generation of a pack, ready to be written. */
export interface RewrittenPack {
  readonly parts: readonly Uint8Array[]
  readonly sizeBytes: number
  /** As if it were an object of its own. */
  readonly directory: PackDirectory
}

/** Bytes of chunks that the pack itself no longer has good: from elsewhere, already checked against their hashes. */
export type Replacements = ReadonlyMap<number, Uint8Array>

/**
 * Makes a new generation that holds just the chunks in `keep`; id, numbering, lengths and hashes stay, so no run changes. Frames that
 * are kept whole are copied as they are stored; the others are decoded, checked and encoded again.
 * @returns undefined if a chunk to keep cannot be read, or is archived: then the pack is better left as it is
 * @throws OBJECT_NOT_FOUND, STORE_FAILED
 */
export async function rewritePack(
  repository: Repository,
  directory: PackDirectory,
  keep: Uint8Array,
  generation: number,
  replacements: Replacements = new Map<number, Uint8Array>(),
): Promise<RewrittenPack | undefined> {
  const frames: FrameEntry[] = []
  const stored: Uint8Array[] = []
  const present = new Uint8Array(Math.ceil(directory.chunkCount / 8))
  for (let frame = 0; frame < directory.frameCount; frame++) {
    const first = directory.frameFirst[frame] ?? 0
    const end = directory.frameFirst[frame + 1] ?? 0
    const wanted: number[] = []
    for (let chunk = first; chunk < end; chunk++) {
      if (!isBitSet(keep, chunk) || !(isPresent(directory, chunk) || replacements.has(chunk))) continue
      wanted.push(chunk)
      present[chunk >> 3] = (present[chunk >> 3] ?? 0) | (1 << (chunk & 7))
    }
    const made = await remakeFrame(repository, directory, frame, wanted, replacements).catch(
      (error: unknown) => {
        if (isEverfoldError(error, 'OBJECT_ARCHIVED')) return undefined
        throw error
      },
    )
    if (made === undefined) return undefined
    frames.push({ ...made.entry, chunks: end - first })
    stored.push(made.bytes)
  }
  const tail = encodePackTail(frames, directory.chunkLength, present, directory.hashes, generation)
  const sizeBytes = PACK_HEADER_BYTES + stored.reduce((sum, part) => sum + part.length, 0) + tail.length
  const decoded = decodePackDirectory(
    tail.subarray(0, tail.length - PACK_FOOTER_BYTES),
    decodePackFooter(tail, sizeBytes),
    sizeBytes,
  )
  if (decoded.id !== directory.id) throw new Error('a rewritten pack did not decode to what was encoded')
  return { parts: [packHeader(), ...stored, tail], sizeBytes, directory: decoded }
}

interface RemadeFrame {
  readonly entry: Omit<FrameEntry, 'chunks'>
  readonly bytes: Uint8Array
}

const EMPTY_FRAME: RemadeFrame = {
  entry: { storedLength: 0, plainLength: 0, crc: 0, codec: CODEC_RAW },
  bytes: new Uint8Array(0),
}

async function remakeFrame(
  repository: Repository,
  directory: PackDirectory,
  frame: number,
  wanted: readonly number[],
  replacements: Replacements,
): Promise<RemadeFrame | undefined> {
  if (wanted.length === 0) return EMPTY_FRAME
  const own = wanted.filter((chunk) => !replacements.has(chunk))
  const plainLength = wanted.reduce((sum, chunk) => sum + (directory.chunkLength[chunk] ?? 0), 0)
  const whole = own.length === wanted.length && plainLength === directory.framePlain[frame]
  const offset = directory.frameOffset[frame] ?? 0
  let plain: Uint8Array = new Uint8Array(0)
  if (own.length > 0) {
    const { bytes, decoded } = await readAgainIfDamaged(
      async () => {
        const read = await repository.store.read(directory.key, offset, storedLength(directory, frame))
        const copy = whole ? read.slice() : read
        return {
          bytes: read,
          decoded: await repository.crew.decode(decodeJob(directory, own, copy, offset)),
        }
      },
      (result) => isGood(result.decoded),
    )
    if (!isGood(decoded)) return undefined
    plain = decoded.plain
    // Kept as it is: even its checksum is known to be right.
    if (whole && decoded.crcWrong[0] === 0)
      return {
        entry: {
          storedLength: bytes.length,
          plainLength,
          crc: directory.frameCrc[frame] ?? 0,
          codec: directory.frameCodec[frame] ?? 0,
        },
        bytes,
      }
  }
  return encodeFrame(repository, directory, wanted, plain, replacements)
}

function isGood(decoded: DecodeResult): boolean {
  return decoded.state.every((state) => state === CHUNK_GOOD)
}

async function encodeFrame(
  repository: Repository,
  directory: PackDirectory,
  wanted: readonly number[],
  own: Uint8Array,
  replacements: Replacements,
): Promise<RemadeFrame> {
  const lengths = Uint32Array.from(wanted, (chunk) => directory.chunkLength[chunk] ?? 0)
  const offsets = new Uint32Array(wanted.length)
  const all = new Uint8Array(lengths.reduce((sum, length) => sum + length, 0))
  let at = 0
  let ownAt = 0
  for (const [i, chunk] of wanted.entries()) {
    const length = lengths[i] ?? 0
    const replacement = replacements.get(chunk)
    all.set(replacement ?? own.subarray(ownAt, ownAt + length), at)
    if (replacement === undefined) ownAt += length
    offsets[i] = at
    at += length
  }
  const encoded = await repository.crew.encode({
    plain: all.buffer,
    offsets,
    lengths,
    frameChunks: Uint32Array.of(wanted.length),
    level: repository.config.compression.level,
    verify: true,
  })
  return {
    entry: {
      storedLength: encoded.storedLength[0] ?? 0,
      plainLength: encoded.plainLength[0] ?? 0,
      crc: encoded.crc[0] ?? 0,
      codec: encoded.codec[0] ?? 0,
    },
    bytes: encoded.stored,
  }
}
