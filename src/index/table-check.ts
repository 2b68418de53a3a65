/**
 * Checks LevelDB's tables before LevelDB opens them. It does not verify the checksums of their blocks
 * (`paranoid_checks` and `verify_checksums` are out of reach from classic-level), and a block that rotted makes
 * compaction fail an assertion: the process aborts, and aborts again after every restart. Its logs it does
 * verify.
 *
 *     table   data blocks │ filter │ metaindex │ index │ footer, 48 bytes
 *     block   contents │ compression u8, 0 │ masked CRC-32C u32 of contents and compression
 *     footer  metaindex handle │ index handle │ padding to 40 bytes │ magic u64
 *     handle  offset varint │ bytes of contents varint
 *     index   entries (shared varint │ own varint │ value varint │ key's own bytes │ value) │ restarts u32 × n │ n u32
 *
 * Source: doc/table_format.md of LevelDB, table/format.cc, util/crc32c.h.
 */

import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { hasMaskedCrc } from '../crc.js'
import { messageOf, systemErrorCode } from '../errors.js'
import { IndexUnusable } from './index-unusable.js'
import { liveTables } from './manifest.js'
import { CorruptTable, VarintReader } from './varint-reader.js'

const TABLE = /^\d+\.(?:ldb|sst)$/
const FOOTER_BYTES = 48
const HANDLES_BYTES = 40
const TRAILER_BYTES = 5
const MAGIC = 0xdb4775248b80fb57n

interface Handle {
  readonly offset: number
  readonly bytes: number
}

/**
 * Reads every table of the database in the folder. One is in memory at a time.
 *
 * @throws IndexUnusable if one is missing, or a block of one does not have its checksum.
 */
export async function checkTables(path: string): Promise<void> {
  try {
    const live = await liveTables(path)
    for (const name of await readdir(path)) {
      if (TABLE.test(name) && live.has(Number.parseInt(name, 10))) await checkTableFile(path, name)
    }
  } catch (error) {
    if (error instanceof CorruptTable || systemErrorCode(error) === 'ENOENT') {
      throw new IndexUnusable(path, messageOf(error), error)
    }
    throw error
  }
}

async function checkTableFile(path: string, name: string): Promise<void> {
  const table = await readFile(join(path, name))
  try {
    checkTable(table)
  } catch (error) {
    if (error instanceof CorruptTable) throw new CorruptTable(`${name} is damaged: ${error.message}`)
    throw error
  }
}

function checkTable(table: Buffer): void {
  const footer = table.length - FOOTER_BYTES
  if (footer < 0) throw new CorruptTable('too short')
  if (table.readBigUInt64LE(footer + HANDLES_BYTES) !== MAGIC) throw new CorruptTable('no table')
  const reader = new VarintReader(table, footer, footer + HANDLES_BYTES)
  const metaindex = readHandle(reader)
  const index = readHandle(reader)
  for (const block of [metaindex, index]) {
    checkBlock(table, block)
    for (const inner of handlesIn(table, block)) checkBlock(table, inner)
  }
}

function checkBlock(table: Buffer, { offset, bytes }: Handle): void {
  const end = offset + bytes
  if (end + TRAILER_BYTES > table.length - FOOTER_BYTES) throw new CorruptTable('a block beyond its end')
  if (!hasMaskedCrc(table, offset, end + 1, table.readUInt32LE(end + 1))) {
    throw new CorruptTable(`the block at ${offset} fails its checksum`)
  }
}

/**
 * The handles that are the values of a block's entries. The block has passed its own check, and none of ours
 * is compressed.
 */
function* handlesIn(table: Buffer, { offset, bytes }: Handle): Generator<Handle> {
  if (bytes < 4 || table[offset + bytes] !== 0)
    throw new CorruptTable(`the block at ${offset} is none of ours`)
  const restarts = table.readUInt32LE(offset + bytes - 4)
  const end = offset + bytes - 4 - 4 * restarts
  const reader = new VarintReader(table, offset, end)
  while (reader.position < end) {
    reader.varint()
    const keyBytes = reader.varint()
    const valueBytes = reader.varint()
    const value = reader.position + keyBytes
    yield readHandle(new VarintReader(table, value, value + valueBytes))
    reader.position = value + valueBytes
  }
}

function readHandle(reader: VarintReader): Handle {
  const offset = reader.varint()
  return { offset, bytes: reader.varint() }
}
