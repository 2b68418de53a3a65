/**
 * Which tables a LevelDB database consists of. Other files may lie beside them: a crash leaves tables half
 * written, which LevelDB removes when it opens, and which say nothing about the database.
 *
 *     CURRENT   name of the manifest, newline
 *     manifest  blocks of 32 KiB of fragments; none crosses the end of a block
 *     fragment  masked CRC-32C u32 of type and data │ bytes of data u16 │ type u8: 1 full, 2 first, 3 middle, 4 last │ data
 *     record    fields: tag varint │ what that tag has, see `readField`
 *
 * Source: doc/log_format.md of LevelDB, db/log_reader.cc, db/version_edit.cc.
 */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

import { hasMaskedCrc } from '../crc.js'
import { CorruptTable, VarintReader } from './varint-reader.js'

const BLOCK_BYTES = 32_768
const HEADER_BYTES = 7
const FULL = 1
const FIRST = 2
const LAST = 4

const TAG_COMPARATOR = 1
const TAG_LOG_NUMBER = 2
const TAG_NEXT_FILE = 3
const TAG_LAST_SEQUENCE = 4
const TAG_COMPACT_POINTER = 5
const TAG_DELETED_FILE = 6
const TAG_NEW_FILE = 7
const TAG_PREVIOUS_LOG = 9

/**
 * Numbers of the tables that belong to the database in the folder.
 *
 * @throws CorruptTable if the manifest is damaged.
 */
export async function liveTables(path: string): Promise<ReadonlySet<number>> {
  const current = await readFile(join(path, 'CURRENT'), 'utf8')
  if (!/^MANIFEST-\d+\n$/.test(current)) throw new CorruptTable('CURRENT names no manifest')
  const manifest = await readFile(join(path, current.trimEnd()))
  const live = new Set<number>()
  for (const record of recordsIn(manifest)) {
    const reader = new VarintReader(record, 0, record.length)
    while (!reader.atEnd) readField(reader, live)
  }
  return live
}

/** Reads one field, and does to `live` what it says. */
function readField(reader: VarintReader, live: Set<number>): void {
  const tag = reader.varint()
  switch (tag) {
    case TAG_COMPARATOR:
      reader.skipBytes()
      break
    case TAG_LOG_NUMBER:
    case TAG_NEXT_FILE:
    case TAG_LAST_SEQUENCE:
    case TAG_PREVIOUS_LOG:
      reader.varint()
      break
    case TAG_COMPACT_POINTER:
      reader.varint() // level
      reader.skipBytes() // key
      break
    case TAG_DELETED_FILE:
      reader.varint() // level
      live.delete(reader.varint())
      break
    case TAG_NEW_FILE:
      reader.varint() // level
      live.add(reader.varint())
      reader.varint() // bytes
      reader.skipBytes() // smallest key
      reader.skipBytes() // largest key
      break
    default:
      throw new CorruptTable(`the manifest has an unknown field ${tag}`)
  }
}

/** Records of a manifest; one that was cut off at the end by a crash is none. */
function* recordsIn(manifest: Buffer): Generator<Buffer> {
  let parts: Buffer[] = []
  let at = 0
  while (at + HEADER_BYTES <= manifest.length) {
    const left = BLOCK_BYTES - (at % BLOCK_BYTES)
    if (left < HEADER_BYTES) {
      at += left
      continue
    }
    const bytes = manifest.readUInt16LE(at + 4)
    const type = manifest.readUInt8(at + 6)
    const end = at + HEADER_BYTES + bytes
    if (end > manifest.length) return
    if (HEADER_BYTES + bytes > left || type < FULL || type > LAST)
      throw new CorruptTable('the manifest is damaged')
    if (!hasMaskedCrc(manifest, at + 6, end, manifest.readUInt32LE(at))) {
      throw new CorruptTable('the manifest fails its checksum')
    }
    if (type === FULL || type === FIRST) parts = []
    parts.push(manifest.subarray(at + HEADER_BYTES, end))
    if (type === FULL || type === LAST) yield Buffer.concat(parts)
    at = end
  }
}
