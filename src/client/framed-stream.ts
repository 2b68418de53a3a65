import { BinaryWriter } from '../binary.js'
import { joinedCrc32, portableCrc32 } from '../crc.js'
import { HASH_BYTES, hashesOf } from './chunk-names.js'

/*
 * What POST /v1/sessions/{id}/disks/{disk}/stream takes: docs/api.md draws it. Little-endian.
 *
 *   header   "EVFX", u8 version = 1, u8 flags = 0, u16 = 0
 *   record   u8 kind, u8 flags = 0, u16 = 0, u32 length of what follows
 *   …
 *   END      u32 records before it, u32 CRC-32 of all bytes before it
 */

export const STREAM_TYPE = 'application/vnd.everfold.extents'

const HEADER = Uint8Array.of(0x45, 0x56, 0x46, 0x58, 1, 0, 0, 0)
const RECORD_HEADER_BYTES = 8
const DATA = 1
const ZEROS = 2
const KNOWN = 3
const CHUNKS = 4
const END = 15
const END_BYTES = 8

/*
 * A record is sent as a whole, also where connections break often: so ours are shorter than they could be. Chunks that a record
 * names, and its plain bytes.
 */
export const KNOWN_MAX = 4096
export const FRAME_CHUNKS_MAX = 4096
export const DATA_BYTES_MAX = 512 * 1024

/** A chunk of a disk, and its name. Bytes. */
export interface NamedChunk {
  readonly offset: number
  readonly size: number
  /** Of its plain bytes: see {@link nameAt}. */
  readonly name: string
}

/** A frame of chunks, encoded together. Codec: 0 as it is, 1 zstd. */
export interface ChunkFrame {
  readonly codec: number
  readonly stored: Uint8Array
  /** CRC-32 of these bytes: whoever made them had them at hand. */
  readonly crc: number
}

export type StreamRecord =
  | { readonly kind: 'data'; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly kind: 'zeros'; readonly offset: number; readonly size: number }
  | { readonly kind: 'known'; readonly chunks: readonly NamedChunk[] }
  | { readonly kind: 'chunks'; readonly chunks: readonly NamedChunk[]; readonly frame: ChunkFrame }

/** Bytes of a record in the stream. */
export function recordBytes(record: StreamRecord): number {
  return RECORD_HEADER_BYTES + payloadBytes(record)
}

function payloadBytes(record: StreamRecord): number {
  switch (record.kind) {
    case 'data':
      return 8 + record.bytes.length
    case 'zeros':
      return 16
    case 'known':
      return 44 * record.chunks.length
    case 'chunks':
      return 8 + 44 * record.chunks.length + record.frame.stored.length
  }
}

/** The whole stream of these records, in pieces: bytes and frames are not copied. */
export function framedStream(records: readonly StreamRecord[]): readonly Uint8Array[] {
  const pieces: Uint8Array[] = []
  let crc = 0
  const add = (piece: Uint8Array): void => {
    pieces.push(piece)
    crc = portableCrc32(piece, crc)
  }
  add(HEADER)
  for (const record of records) {
    add(headOf(record))
    if (record.kind === 'data') add(record.bytes)
    if (record.kind !== 'chunks') continue
    const { stored, crc: own } = record.frame
    pieces.push(stored)
    crc = joinedCrc32(crc, own, stored.length)
  }
  const end = new BinaryWriter(RECORD_HEADER_BYTES + END_BYTES)
  writeHead(end, END, END_BYTES)
  end.u32(records.length)
  end.u32(crc)
  pieces.push(end.view())
  return pieces
}

function writeHead(out: BinaryWriter, kind: number, length: number): void {
  out.u8(kind)
  out.u8(0)
  out.u16(0)
  out.u32(length)
}

/** All of a record but bytes and frames. */
function headOf(record: StreamRecord): Uint8Array {
  const length = payloadBytes(record)
  const follows =
    record.kind === 'data' ? record.bytes.length : record.kind === 'chunks' ? record.frame.stored.length : 0
  const out = new BinaryWriter(RECORD_HEADER_BYTES + length - follows)
  switch (record.kind) {
    case 'data':
      writeHead(out, DATA, length)
      out.u64(record.offset)
      break
    case 'zeros':
      writeHead(out, ZEROS, length)
      out.u64(record.offset)
      out.u64(record.size)
      break
    case 'known':
      writeHead(out, KNOWN, length)
      writeChunks(out, record.chunks)
      break
    case 'chunks':
      writeHead(out, CHUNKS, length)
      out.u8(record.frame.codec)
      out.u8(0)
      out.u16(0)
      out.u32(record.chunks.length)
      writeChunks(out, record.chunks)
      break
  }
  return out.view()
}

function writeChunks(out: BinaryWriter, chunks: readonly NamedChunk[]): void {
  const hashes = hashesOf(chunks.map(({ name }) => name))
  for (const [i, { offset, size }] of chunks.entries()) {
    out.u64(offset)
    out.u32(size)
    out.bytes(hashes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES))
  }
}
