/**
 * Checks LevelDB's tables before LevelDB opens them. It does not verify the checksums of their blocks (`paranoid_checks` and
 * `verify_checksums` are out of reach from classic-level), and a block that rotted makes compaction fail an assertion: the
 * process aborts, and aborts again after every restart. Logs and the manifest it does verify.
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

import { crc32c } from './crc32c.js'
import { IndexUnusable } from './index-unusable.js'

const TABLE = /^\d+\.(?:ldb|sst)$/
const FOOTER_BYTES = 48
const HANDLES_BYTES = 40
const TRAILER_BYTES = 5
const MAGIC = 0xdb4775248b80fb57n
const MASK_DELTA = 0xa282ead8
/** Offsets in a table fit in far fewer bits than a varint could have. */
const VARINT_BYTES_MAX = 6

interface Handle {
  readonly offset: number
  readonly bytes: number
}

class Damage extends Error {}

/**
 * Reads every table in the folder. One is in memory at a time.
 *
 * @throws IndexUnusable if a block of one does not have its checksum.
 */
export async function checkTables(path: string): Promise<void> {
  for (const name of await readdir(path)) {
    if (!TABLE.test(name)) continue
    const table = await readFile(join(path, name))
    try {
      checkTable(table)
    } catch (error) {
      if (error instanceof Damage) throw new IndexUnusable(path, `${name} is damaged: ${error.message}`)
      throw error
    }
  }
}

function checkTable(table: Buffer): void {
  const footer = table.length - FOOTER_BYTES
  if (footer < 0) throw new Damage('too short')
  if (table.readBigUInt64LE(footer + HANDLES_BYTES) !== MAGIC) throw new Damage('no table')
  const reader = new VarintReader(table, footer, footer + HANDLES_BYTES)
  const metaindex = reader.handle()
  const index = reader.handle()
  for (const block of [metaindex, index]) {
    checkBlock(table, block)
    for (const inner of handlesIn(table, block)) checkBlock(table, inner)
  }
}

function checkBlock(table: Buffer, { offset, bytes }: Handle): void {
  const end = offset + bytes
  if (end + TRAILER_BYTES > table.length - FOOTER_BYTES) throw new Damage('a block beyond its end')
  const crc = crc32c(table, offset, end + 1)
  const masked = (((crc >>> 15) | (crc << 17)) + MASK_DELTA) >>> 0
  if (masked !== table.readUInt32LE(end + 1)) throw new Damage(`the block at ${offset} fails its checksum`)
}

/** The handles that are the values of a block's entries. The block has passed its own check, and none of ours is compressed. */
function* handlesIn(table: Buffer, { offset, bytes }: Handle): Generator<Handle> {
  if (bytes < 4 || table[offset + bytes] !== 0) throw new Damage(`the block at ${offset} is none of ours`)
  const restarts = table.readUInt32LE(offset + bytes - 4)
  const end = offset + bytes - 4 - 4 * restarts
  const reader = new VarintReader(table, offset, end)
  while (reader.position < end) {
    reader.varint()
    const keyBytes = reader.varint()
    const valueBytes = reader.varint()
    const value = reader.position + keyBytes
    yield new VarintReader(table, value, value + valueBytes).handle()
    reader.position = value + valueBytes
  }
}

class VarintReader {
  position: number
  readonly #bytes: Buffer
  readonly #end: number

  constructor(bytes: Buffer, start: number, end: number) {
    this.#bytes = bytes
    this.position = start
    this.#end = Math.min(end, bytes.length)
  }

  /** Seven bits a byte, lowest first; the top bit says that more follow. */
  varint(): number {
    let value = 0
    for (let i = 0; i < VARINT_BYTES_MAX; i++) {
      if (this.position >= this.#end) break
      const byte = this.#bytes[this.position++] ?? 0
      value += (byte & 0x7f) * 2 ** (7 * i)
      if (byte < 0x80) return value
    }
    throw new Damage('a number that does not end')
  }

  handle(): Handle {
    const offset = this.varint()
    return { offset, bytes: this.varint() }
  }
}
