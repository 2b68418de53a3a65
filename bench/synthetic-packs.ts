import { closeSync, ftruncateSync, mkdirSync, openSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import {
  CODEC_ZSTD,
  decodePackDirectory,
  decodePackFooter,
  encodePackTail,
  type FrameEntry,
  PACK_FOOTER_BYTES,
  type PackDirectory,
} from '../src/pack/pack-format.js'
import { KiB } from './image.js'
import type { SeededBytes } from './seeded-bytes.js'

/** Frames of eight chunks, compressed by half, as the engine makes them of 64 KiB chunks. */
const frameChunks = 8

/** Lengths that content gives to chunks, the same in each pack: 32 to 96 KiB. */
export function chunkLengths(chunks: number, random: SeededBytes): Uint32Array {
  return Uint32Array.from({ length: chunks }, () => 32 * KiB + random.below(64 * KiB))
}

/**
 * Puts a pack with a true directory and a hole in place of its frames straight into a store's folder: enough for all
 * that reads no data, and quickly made in thousands.
 */
export function layDownPack(folder: string, lengths: Uint32Array, random: SeededBytes): PackDirectory {
  const frames: FrameEntry[] = []
  for (let first = 0; first < lengths.length; first += frameChunks) {
    const chunks = lengths.subarray(first, first + frameChunks)
    const plainLength = chunks.reduce((sum, length) => sum + length, 0)
    const storedLength = plainLength >> 1
    frames.push({ storedLength, plainLength, crc: 0, codec: CODEC_ZSTD, chunks: chunks.length })
  }
  const present = new Uint8Array(Math.ceil(lengths.length / 8))
  for (let i = 0; i < lengths.length; i += 1) present[i >> 3] = (present[i >> 3] ?? 0) | (1 << (i & 7))
  const tail = encodePackTail(frames, lengths, present, random.next(lengths.length * 32), 0)
  const tailAt = 8 + frames.reduce((sum, frame) => sum + frame.storedLength, 0)
  const sizeBytes = tailAt + tail.length
  const footer = decodePackFooter(tail, sizeBytes)
  const directory = decodePackDirectory(tail.subarray(0, -PACK_FOOTER_BYTES), footer, sizeBytes)
  const path = join(folder, directory.key)
  mkdirSync(dirname(path), { recursive: true })
  const file = openSync(path, 'wx')
  ftruncateSync(file, tailAt)
  writeSync(file, tail, 0, tail.length, tailAt)
  closeSync(file)
  return directory
}
