/** Opens LevelDB with the options that the index wants, and gives it types that fit. */

import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'

import type { Level } from 'level'
import { IndexUnusable } from './index-unusable.js'
import { SCHEMA_KEY } from './keys.js'
import { translateLevelError } from './level-errors.js'
import { databasePresence, syncFolder } from './level-files.js'
import { sealedNumber, unsealedNumber } from './records.js'
import { checkTables } from './table-check.js'

/** Counts up with every change of keys or records. An index of another schema is not read but rebuilt. */
const SCHEMA = 1

/*
 * Measured with 2 million entries (80 MB) on 2 cores; known hashes per look-up of 64, warm:
 *
 *     Snappy on (the default)           390 µs   each block is unpacked to read one entry
 *     off, buffer 4 MiB, tables 2 MiB   187 µs
 *     off, buffer 16 MiB, tables 8 MiB  168 µs   chosen
 *     off, buffer 32 MiB, tables 16 MiB 193 µs
 *
 * Unknown hashes take 120 µs: the Bloom filters, which are always on, spare the reads. Blocks of 2 KiB and fewer keys per restart changed nothing. Uncompressed blocks are read in place from mapped
 * files (up to 1000 of them: 8 GB of tables of this size), so the block cache serves only what lies beyond, and
 * the default will do. With the checks of this layer a look-up of 64 takes 240 µs (unknown: 90), of 4096 about
 * 15 ms (6); adding runs at 440,000 entries a second, and a table check at open takes 0.16 s. A larger write
 * buffer is paid for at open: the log is replayed, 0.3 s for 16 MiB.
 */
const MIB = 1 << 20
export const BLOCK_CACHE_BYTES = 8 * MIB
export const WRITE_BUFFER_BYTES = 16 * MIB
const TABLE_BYTES = 8 * MIB

export type Database = Level<Uint8Array, Buffer>
export type Write =
  | { readonly type: 'put'; readonly key: Uint8Array; readonly value: Buffer }
  | { readonly type: 'del'; readonly key: Uint8Array }

export interface DatabaseOptions {
  /** Memory for blocks that are not mapped into memory. Bytes. */
  readonly blockCacheBytes?: number
  /** Writes gathered in memory before they become a table; up to two such buffers exist. Bytes. */
  readonly writeBufferBytes?: number
  /**
   * Whether opening reads all tables and verifies them (default true; 1 to 2 s per GB, 0.7 GB for 1 TiB of
   * distinct chunks). Without it, damage may end the process while LevelDB compacts: leave it out only where a
   * restart with it follows.
   */
  readonly checkTables?: boolean
}

/** Commands that need no index do not load LevelDB, either; those that will may begin early. */
export async function loadLevel(): Promise<typeof Level> {
  return (await import('level')).default.Level
}

/**
 * Opens the database in the folder `path`, creating it (and the folder) if there is none.
 *
 * @throws IndexUnusable if it is damaged, half removed or of another schema.
 * @throws EverfoldError REPOSITORY_LOCKED, STORE_FULL, STORE_FAILED
 */
export async function openDatabase(
  path: string,
  options: DatabaseOptions,
): Promise<{ db: Database; created: boolean }> {
  let db: Database | undefined
  try {
    const presence = await databasePresence(path)
    if (presence === 'remnants') throw new IndexUnusable(path, 'its removal or creation did not finish')
    const created = presence === 'absent'
    if (created) await mkdir(path, { recursive: true })
    else if (options.checkTables !== false) await checkTables(path)
    const Level = await loadLevel()
    db = new Level<Uint8Array, Buffer>(path, {
      keyEncoding: 'view',
      valueEncoding: 'buffer',
      compression: false,
      cacheSize: options.blockCacheBytes ?? BLOCK_CACHE_BYTES,
      writeBufferSize: options.writeBufferBytes ?? WRITE_BUFFER_BYTES,
      maxFileSize: TABLE_BYTES,
    })
    await db.open()
    if (created) await initialize(path, db)
    else await checkSchema(path, db)
    return { db, created }
  } catch (error) {
    await db?.close().catch(() => undefined)
    throw translateLevelError(path, error, true)
  }
}

/** LevelDB syncs neither the name of its first files nor that of its folder. */
async function initialize(path: string, db: Database): Promise<void> {
  const value = sealedNumber(SCHEMA_KEY, SCHEMA)
  await writeBatch(db, [{ type: 'put', key: SCHEMA_KEY, value }], true)
  await syncFolder(path)
  await syncFolder(dirname(path))
}

async function checkSchema(path: string, db: Database): Promise<void> {
  const [value] = await getMany(db, [SCHEMA_KEY])
  const schema = unsealedNumber(SCHEMA_KEY, value)
  if (schema !== SCHEMA) {
    throw new IndexUnusable(
      path,
      schema === undefined ? 'its schema cannot be read' : `its schema is ${schema}, not ${SCHEMA}`,
    )
  }
}

/** One value or undefined per key. (The types of `level` promise a value for every key, which is not so.) */
export function getMany(db: Database, keys: Uint8Array[]): Promise<(Buffer | undefined)[]> {
  return db.getMany(keys)
}

/**
 * Writes all or nothing. With `sync` it is on stable storage when the promise resolves.
 *
 * A chained batch, because it holds the main thread for a quarter of the time that a batch from an array does:
 * 0.11 ms instead of 0.41 ms for 512 entries. (Naming the encodings with every operation would make that 2 ms.)
 */
export async function writeBatch(db: Database, writes: readonly Write[], sync: boolean): Promise<void> {
  const batch = db.batch()
  try {
    for (const write of writes) {
      if (write.type === 'put') batch.put(write.key, write.value)
      else batch.del(write.key)
    }
    await batch.write({ sync })
  } finally {
    await batch.close()
  }
}

/** Beyond all keys: LevelDB writes its buffer out before it compacts a range, and in this one nothing is to be compacted. */
const EMPTY_RANGE = [Uint8Array.of(0xff, 0), Uint8Array.of(0xff, 1)] as const

/** Makes a table of what is only in the log. If that fails, the log still has it. */
export async function writeTable(db: Database): Promise<void> {
  const { compactRange } = db as { compactRange?: CompactRange }
  await compactRange?.call(db, ...EMPTY_RANGE).catch(() => undefined)
}

/** Of `classic-level`, which `level` is in Node.js; its types do not say so. */
type CompactRange = (this: Database, start: Uint8Array, end: Uint8Array) => Promise<void>
