/** The framed stream of uploads, written from docs/api.md alone. */

import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { compress } from 'zstd-napi'

export interface Chunk {
  readonly offset: number
  readonly bytes: Uint8Array
}

export function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest()
}

export function dataRecord(offset: number, bytes: Uint8Array): Buffer {
  return record(1, Buffer.concat([u64(offset), bytes]))
}

export function zerosRecord(offset: number, size: number): Buffer {
  return record(2, Buffer.concat([u64(offset), u64(size)]))
}

export function knownRecord(chunks: readonly Chunk[]): Buffer {
  return record(3, Buffer.concat(chunks.map(entry)))
}

/**
 * @param codec    0: as it is, 1: zstd, where that is shorter
 * @param asOther  makes another frame of it
 */
export function chunksRecord(
  chunks: readonly Chunk[],
  codec: 0 | 1,
  asOther: (frame: Buffer) => Buffer = (frame) => frame,
): Buffer {
  const plain = Buffer.concat(chunks.map(({ bytes }) => bytes))
  const head = Buffer.alloc(8)
  const packed = codec === 0 ? plain : asOther(compress(plain))
  const frame = packed.length < plain.length ? packed : plain
  head.writeUInt8(frame === plain ? 0 : 1, 0)
  head.writeUInt32LE(chunks.length, 4)
  return record(4, Buffer.concat([head, ...chunks.map(entry), frame]))
}

/** A zstd frame of one segment, as one that asks for a window of 2^log bytes (RFC 8878, 3.1.1.1). */
export function withWindow(frame: Uint8Array, log: number): Buffer {
  const descriptor = frame[4] ?? 0
  if ((descriptor & 0x20) === 0) throw new Error('it has a window already')
  const head = Buffer.of(descriptor & ~0x20, (log - 10) << 3)
  return Buffer.concat([frame.subarray(0, 4), head, frame.subarray(5)])
}

/** A whole stream of these records. */
export function framedStream(records: readonly Buffer[]): Buffer {
  const body = Buffer.concat([HEADER, ...records])
  const end = Buffer.alloc(8)
  end.writeUInt32LE(records.length, 0)
  end.writeUInt32LE(crc32(body), 4)
  return Buffer.concat([body, record(15, end)])
}

const HEADER = Buffer.from('4556465801000000', 'hex')

export function record(kind: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(8)
  head.writeUInt8(kind, 0)
  head.writeUInt32LE(payload.length, 4)
  return Buffer.concat([head, payload])
}

function entry({ offset, bytes }: Chunk): Buffer {
  const size = Buffer.alloc(4)
  size.writeUInt32LE(bytes.length)
  return Buffer.concat([u64(offset), size, sha256(bytes)])
}

function u64(value: number): Buffer {
  const out = Buffer.alloc(8)
  out.writeBigUInt64LE(BigInt(value))
  return out
}
