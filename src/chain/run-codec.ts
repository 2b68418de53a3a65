import { BinaryReader, BinaryWriter, MalformedError } from '../binary.js'
import { bytesToHex, SHA256_BYTES, sha256 } from '../checksum.js'
import { PACK_CHUNKS_MAX } from '../pack/pack-format.js'
import { ExtentList, ZEROS } from './extent-list.js'
import type { PackTable } from './pack-table.js'

/*
 * A run segment, format 1: extents of one disk within a range. Numbers little-endian or LEB128 ("v", signed: zigzag "s").
 *
 *   header    8   "EVFR", u8 version = 1, u8 unit (log2 of the bytes that lengths are counted in), 2 zero bytes
 *             4   u32 stride: length of every chunk of an extent but its last; 0: lengths vary
 *             v   packs;    packs × 32: pack ids
 *             v   extents
 *   extents   each: u8 flags, then what the flags say
 *                 bit 0  zeros, else chunks of a pack
 *                 bit 1  v: gap since the end of the extent before (since 0 for the first), in units
 *                 bit 2  s: pack, relative to the extent of chunks before (slot 0 at first)
 *                 bit 3  s: first chunk, relative to the chunk that would continue the extent of chunks before
 *                 bit 4  v: skip into the first chunk, in units
 *                 always v: length, in units
 *   trailer  32   SHA-256 of all bytes before it; in hex it is the segment's id
 *
 * One list has one encoding: the unit is the largest that fits, packs stand in the order in which extents first name
 * them, each once, a number that would be 0 is left out, and neighbours that continue each other are joined.
 */

export const RUN_FORMAT_VERSION = 1
const MAGIC = Uint8Array.of(0x45, 0x56, 0x46, 0x52)
const TRAILER_BYTES = 32
const UNIT_MAX = 16

const IS_ZEROS = 1
const HAS_GAP = 2
const HAS_PACK = 4
const HAS_CHUNK = 8
const HAS_SKIP = 16

export interface EncodedRun {
  readonly id: string
  readonly bytes: Uint8Array
}

/** Encodes extents [from, to) of a list; its pack table holds just the packs that they name, in order of appearance. */
export function encodeRun(list: ExtentList, from: number, to: number): EncodedRun {
  const unit = unitOf(list, from, to)
  const perByte = 2 ** -unit
  const { slotOf, packs } = packsOf(list, from, to)
  const out = new BinaryWriter(64 + packs.length * 32 + (to - from) * 8)
  out.bytes(MAGIC)
  out.u8(RUN_FORMAT_VERSION)
  out.u8(unit)
  out.u16(0)
  out.u32(list.stride)
  out.varint(packs.length)
  out.bytes(list.packs.idsOf(packs))
  out.varint(to - from)
  // Once, not for each extent: V8 would load them from the list again and again.
  const { stride, offset: offsets, size: sizes, pack: slots, chunk: chunks, skip: skips } = list
  let end = 0
  let lastPack = 0
  let nextChunk = 0
  for (let i = from; i < to; i++) {
    const offset = offsets[i] ?? 0
    const size = sizes[i] ?? 0
    const gap = offset - end
    const named = slots[i] ?? ZEROS
    const zeros = named === ZEROS
    const pack = zeros ? lastPack : (slotOf[named] ?? 0)
    const chunk = zeros ? nextChunk : (chunks[i] ?? 0)
    const skip = skips[i] ?? 0
    const packStep = pack - lastPack
    const chunkStep = chunk - (packStep === 0 ? nextChunk : 0)
    out.u8(
      (zeros ? IS_ZEROS : 0) |
        (gap > 0 ? HAS_GAP : 0) |
        (packStep !== 0 ? HAS_PACK : 0) |
        (!zeros && chunkStep !== 0 ? HAS_CHUNK : 0) |
        (skip > 0 ? HAS_SKIP : 0),
    )
    if (gap > 0) out.varint(gap * perByte)
    if (packStep !== 0) out.signedVarint(packStep)
    if (!zeros && chunkStep !== 0) out.signedVarint(chunkStep)
    if (skip > 0) out.varint(skip * perByte)
    out.varint(size * perByte)
    end = offset + size
    if (!zeros) {
      lastPack = pack
      nextChunk = chunkAfter(stride, chunk, skip + size)
    }
  }
  const id = sha256(out.view())
  out.bytes(id)
  return { id: bytesToHex(id), bytes: out.view() }
}

/** The packs that extents name, in order of appearance, and the place of each in that order by its slot in the table. */
function packsOf(list: ExtentList, from: number, to: number): { slotOf: Int32Array; packs: number[] } {
  const slotOf = new Int32Array(list.packs.size).fill(-1)
  const packs: number[] = []
  for (let i = from; i < to; i++) {
    const pack = list.pack[i] ?? ZEROS
    if (pack !== ZEROS && slotOf[pack] === -1) slotOf[pack] = packs.push(pack) - 1
  }
  return { slotOf, packs }
}

/**
 * Decodes a segment; its packs are interned into `packs`.
 * @throws MalformedError if the bytes are not exactly what {@link encodeRun} makes for some list with this id.
 */
export function decodeRun(bytes: Uint8Array, id: string, packs: PackTable): ExtentList {
  if (bytes.length < TRAILER_BYTES) throw new MalformedError('it is too short')
  const body = bytes.subarray(0, bytes.length - TRAILER_BYTES)
  const digest = sha256(body)
  if (Buffer.compare(digest, bytes.subarray(body.length)) !== 0 || bytesToHex(digest) !== id)
    throw new MalformedError('its checksum is wrong')
  const reader = new BinaryReader(body)
  if (Buffer.compare(reader.bytes(MAGIC.length), MAGIC) !== 0 || reader.u8() !== RUN_FORMAT_VERSION)
    throw new MalformedError('it does not begin as a run does')
  const unit = reader.u8()
  if (unit > UNIT_MAX || reader.u16() !== 0) throw new MalformedError('its header is wrong')
  const stride = reader.u32()
  const slots = packs.slotsOf(reader.bytes(reader.varint() * SHA256_BYTES))
  const count = reader.varint()
  if (count > reader.remaining) throw new MalformedError('it counts more extents than it holds')
  if (!areDistinct(slots, packs.size)) throw new MalformedError('it names a pack twice')
  const list = new ExtentList(stride, packs, Math.max(1, count))
  readExtents(reader, list, count, slots, unit)
  reader.end()
  return list
}

function readExtents(
  reader: BinaryReader,
  list: ExtentList,
  count: number,
  slots: Int32Array,
  unit: number,
): void {
  const scale = 2 ** unit
  let isLargestUnit = unit === UNIT_MAX
  let packsNamed = 0
  let end = 0
  let lastPack = 0
  let nextChunk = 0
  for (let i = 0; i < count; i++) {
    const flags = reader.u8()
    if (flags > 31) throw new MalformedError('an extent has unknown flags')
    const zeros = (flags & IS_ZEROS) !== 0
    if (zeros && (flags & (HAS_PACK | HAS_CHUNK | HAS_SKIP)) !== 0)
      throw new MalformedError('zeros that name a pack')
    const gapUnits = (flags & HAS_GAP) !== 0 ? notZero(reader.varint()) : 0
    const packStep = (flags & HAS_PACK) !== 0 ? notZero(reader.signedVarint()) : 0
    const chunkStep = (flags & HAS_CHUNK) !== 0 ? notZero(reader.signedVarint()) : 0
    const skipUnits = (flags & HAS_SKIP) !== 0 ? notZero(reader.varint()) : 0
    const sizeUnits = notZero(reader.varint())
    isLargestUnit ||= gapUnits % 2 === 1 || skipUnits % 2 === 1 || sizeUnits % 2 === 1
    const skip = skipUnits * scale
    const size = sizeUnits * scale
    const offset = end + gapUnits * scale
    end = offset + size
    if (!Number.isSafeInteger(end) || !Number.isSafeInteger(skip + size))
      throw new MalformedError('an extent ends beyond 2^53')
    if (zeros) {
      list.append(offset, size, ZEROS, 0, 0)
      continue
    }
    const pack = lastPack + packStep
    const chunk = (packStep === 0 ? nextChunk : 0) + chunkStep
    const slot = slots[pack]
    if (slot === undefined || chunk < 0 || chunk >= PACK_CHUNKS_MAX)
      throw new MalformedError('an extent names no chunk')
    if (pack > packsNamed) throw new MalformedError('its packs are not in the order of its extents')
    if (pack === packsNamed) packsNamed++
    if (list.stride > 0 && skip >= list.stride) throw new MalformedError('an extent skips a whole chunk')
    list.append(offset, size, slot, chunk, skip)
    lastPack = pack
    nextChunk = chunkAfter(list.stride, chunk, skip + size)
  }
  if (list.length !== count) throw new MalformedError('neighbouring extents are not joined')
  if (packsNamed !== slots.length) throw new MalformedError('it names a pack that no extent needs')
  if (!isLargestUnit) throw new MalformedError('its unit is too small')
}

function areDistinct(slots: Int32Array, size: number): boolean {
  const seen = new Uint8Array(size)
  for (const slot of slots) {
    if (seen[slot] === 1) return false
    seen[slot] = 1
  }
  return true
}

/** A number that is written only where it is not 0. */
function notZero(value: number): number {
  if (value === 0) throw new MalformedError('a number that has to be left out is there')
  return value
}

/** The chunk number that would continue an extent; only a prediction, so it need not be right. */
function chunkAfter(stride: number, chunk: number, bytes: number): number {
  return stride > 0 ? chunk + Math.ceil(bytes / stride) : chunk
}

/** log2 of the largest unit, up to 64 KiB, that all numbers of the extents are multiples of. */
function unitOf(list: ExtentList, from: number, to: number): number {
  // The low bits of all numbers, or-ed: the unit is as many as are 0 in each of them. (Bit operations take the low 32 bits.)
  let bits = 1 << UNIT_MAX
  for (let i = from; i < to; i++) bits |= (list.offset[i] ?? 0) | (list.size[i] ?? 0) | (list.skip[i] ?? 0)
  return 31 - Math.clz32(bits & -bits)
}
