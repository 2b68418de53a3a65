import { BinaryReader, BinaryWriter, MalformedError } from '../../binary.js'
import { bytesToHex, hexToBytes, sha256 } from '../../checksum.js'
import { ExtentList, SAME } from '../extent-list.js'
import { overlay } from '../overlay.js'
import type { PackTable } from '../pack-table.js'
import { decodeRun, encodeRun } from '../run-codec.js'

/*
 * A part of a session, format 1: what one data request brought of one disk, or a piece of it. All numbers little-endian, or LEB128 ("v").
 *
 *   header    8   "EVFS", u8 version = 1, 3 zero bytes
 *             8   series of the session
 *             4   u32 number of the part
 *             4   u32 disk: its place in the session's list
 *   figures   v   bytes received, changed, new and stored: one number each
 *   same      v   ranges that are as at the newest point
 *                 each: v gap since the end of the one before (at first: since byte 0), v length
 *   run       …   a run segment (see run-codec.ts), maybe without extents: what came
 *   trailer  32   SHA-256 of all bytes before it
 *
 * `same` and `run` do not overlap; together they are what has arrived.
 */

const MAGIC = Uint8Array.of(0x45, 0x56, 0x46, 0x53)
const VERSION = 1
const TRAILER_BYTES = 32

export interface PartFigures {
  readonly receivedBytes: number
  readonly changedBytes: number
  readonly newBytes: number
  readonly storedBytes: number
}

export interface PartHeader {
  readonly series: string
  readonly number: number
}

export interface Part {
  readonly disk: number
  readonly figures: PartFigures
  /** What came, and what is SAME. */
  readonly extents: ExtentList
}

/** @throws Error if it does not decode to what was encoded (invariant 8) */
export function encodePart(header: PartHeader, part: Part): Uint8Array {
  const { disk, figures, extents } = part
  const out = new BinaryWriter(1024 + extents.length * 8)
  out.bytes(MAGIC)
  out.u8(VERSION)
  out.u8(0)
  out.u16(0)
  out.bytes(hexToBytes(header.series))
  out.u32(header.number)
  out.u32(disk)
  for (const figure of [figures.receivedBytes, figures.changedBytes, figures.newBytes, figures.storedBytes])
    out.varint(figure)
  const run = new ExtentList(extents.stride, extents.packs, extents.length)
  const same = new ExtentList(extents.stride, extents.packs)
  for (let i = 0; i < extents.length; i++)
    (extents.pack[i] === SAME ? same : run).appendPart(extents, i, extents.startOf(i), extents.endOf(i))
  out.varint(same.length)
  for (let i = 0, end = 0; i < same.length; end = same.endOf(i), i++) {
    out.varint(same.startOf(i) - end)
    out.varint(same.size[i] ?? 0)
  }
  out.bytes(encodeRun(run, 0, run.length).bytes)
  out.bytes(sha256(out.view()))
  return out.view()
}

/**
 * @param tableOf  the pack table, and the stride, of a disk of the session; undefined if it has no such disk
 * @throws MalformedError if this is not what {@link encodePart} makes with this header
 */
export function decodePart(
  bytes: Uint8Array,
  header: PartHeader,
  tableOf: (disk: number) => { readonly packs: PackTable; readonly stride: number } | undefined,
): Part {
  if (bytes.length < TRAILER_BYTES) throw new MalformedError('it is too short')
  const body = bytes.subarray(0, bytes.length - TRAILER_BYTES)
  if (Buffer.compare(sha256(body), bytes.subarray(body.length)) !== 0)
    throw new MalformedError('its checksum is wrong')
  const reader = new BinaryReader(body)
  const begins = Buffer.compare(reader.bytes(MAGIC.length), MAGIC) === 0 && reader.u8() === VERSION
  if (!begins || reader.u8() !== 0 || reader.u16() !== 0)
    throw new MalformedError('it does not begin as a part does')
  if (bytesToHex(reader.bytes(8)) !== header.series || reader.u32() !== header.number)
    throw new MalformedError('it is another part than its name says')
  const disk = reader.u32()
  const table = tableOf(disk)
  if (table === undefined) throw new MalformedError('it is of no disk of the session')
  const figures = {
    receivedBytes: reader.varint(),
    changedBytes: reader.varint(),
    newBytes: reader.varint(),
    storedBytes: reader.varint(),
  }
  const same = readSame(reader, new ExtentList(table.stride, table.packs))
  const segment = reader.bytes(reader.remaining)
  const run = decodeRun(segment, bytesToHex(segment.subarray(-TRAILER_BYTES)), table.packs)
  if (run.stride !== table.stride) throw new MalformedError('it is of a disk that is cut another way')
  const extents = overlay(same, run)
  if (extents.totalBytes !== same.totalBytes + run.totalBytes) throw new MalformedError('its ranges overlap')
  return { disk, figures, extents }
}

function readSame(reader: BinaryReader, same: ExtentList): ExtentList {
  const count = reader.varint()
  for (let i = 0; i < count; i++) {
    const offset = same.end + reader.varint()
    const length = reader.varint()
    if (length === 0 || !Number.isSafeInteger(offset + length))
      throw new MalformedError('a range makes no sense')
    same.append(offset, length, SAME, 0, 0)
  }
  if (same.length !== count) throw new MalformedError('neighbouring ranges are not joined')
  return same
}
