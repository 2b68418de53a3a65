import { BinaryReader, BinaryWriter, MalformedError } from '../binary.js'
import { bytesToHex, hexToBytes, sha256 } from '../checksum.js'

/*
 * A bundle, format 1: many small packs in one object, so that tiny incrementals do not leave tiny objects. Each pack is whole,
 * with its own header, directory and footer, and keeps its id and numbering: only where it lies has changed.
 *
 *   packs       …    one after the other
 *   directory   …    per pack 52: 32 id, u32 generation, u64 offset, u64 length
 *   footer     52    u32 packs, u64 offset of the directory, 32 SHA-256 of the directory, u32 zero, "evfb"
 */

const ENTRY_BYTES = 52
export const BUNDLE_FOOTER_BYTES = 52
const FOOTER_MAGIC = 0x62667665

export interface BundleMember {
  readonly packId: string
  readonly generation: number
  /** In the bundle, in bytes. */
  readonly offset: number
  readonly length: number
}

/** A bundle's id: SHA-256 of its directory, in hex. */
export function encodeBundleTail(members: readonly BundleMember[]): {
  readonly id: string
  readonly bytes: Uint8Array
} {
  const out = new BinaryWriter(members.length * ENTRY_BYTES + BUNDLE_FOOTER_BYTES)
  let end = 0
  for (const member of members) {
    out.bytes(hexToBytes(member.packId))
    out.u32(member.generation)
    out.u64(member.offset)
    out.u64(member.length)
    end = member.offset + member.length
  }
  const digest = sha256(out.view())
  out.u32(members.length)
  out.u64(end)
  out.bytes(digest)
  out.u32(0)
  out.u32(FOOTER_MAGIC)
  return { id: bytesToHex(digest), bytes: out.view() }
}

/** Bytes of the directory and the footer, told by the footer. @throws MalformedError */
export function bundleTailBytes(footer: Uint8Array, objectBytes: number): number {
  if (footer.length < BUNDLE_FOOTER_BYTES) throw new MalformedError('it is shorter than a footer')
  const reader = new BinaryReader(footer.subarray(footer.length - BUNDLE_FOOTER_BYTES))
  const count = reader.u32()
  const offset = reader.u64()
  if (offset + count * ENTRY_BYTES + BUNDLE_FOOTER_BYTES !== objectBytes || count === 0)
    throw new MalformedError('its footer points outside the object')
  return count * ENTRY_BYTES + BUNDLE_FOOTER_BYTES
}

/** @throws MalformedError unless `tail` is what {@link encodeBundleTail} makes for a bundle with this id. */
export function decodeBundleTail(tail: Uint8Array, id: string): BundleMember[] {
  const directory = tail.subarray(0, tail.length - BUNDLE_FOOTER_BYTES)
  const footer = new BinaryReader(tail.subarray(directory.length))
  const count = footer.u32()
  const directoryOffset = footer.u64()
  const digest = footer.bytes(32)
  if (footer.u32() !== 0 || footer.u32() !== FOOTER_MAGIC)
    throw new MalformedError('it does not end as a bundle does')
  if (Buffer.compare(sha256(directory), digest) !== 0 || bytesToHex(digest) !== id)
    throw new MalformedError("its directory's checksum is wrong")
  const reader = new BinaryReader(directory)
  const members: BundleMember[] = []
  let end = 0
  for (let i = 0; i < count; i++) {
    const member = {
      packId: bytesToHex(reader.bytes(32)),
      generation: reader.u32(),
      offset: reader.u64(),
      length: reader.u64(),
    }
    if (member.offset !== end) throw new MalformedError('its packs do not lie one after the other')
    end += member.length
    members.push(member)
  }
  reader.end()
  if (end !== directoryOffset) throw new MalformedError('its packs do not add up')
  return members
}
