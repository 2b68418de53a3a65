import assert from 'node:assert'

import { hexToBytes } from '../checksum.js'
import { bitAt } from './bitmap.js'
import { type ChunkIndex, HASH_BYTES, type LookupResult, type PackHashes } from './chunk-index.js'
import { type EntryReading, readEntries, writeEntries } from './entries.js'
import { chunkKeys, noteKey, PACK_RANGE, packIdOfKey } from './keys.js'
import { type DatabaseOptions, getMany, type Write, writeBatch } from './level-database.js'
import { destroyIndex, folderBytes } from './level-files.js'
import { LevelSession } from './level-session.js'
import { ID_BYTES, sealed, unsealed, unsealedNumber } from './records.js'

/** Pack records that an iteration holds at once. */
const PACKS_PER_READ = 1024
/** So many new entries are made a table when the index is closed: otherwise whoever opens it next has to do that, and waits for it. */
const TABLE_FROM_ENTRIES = 8 * 1024

/**
 * The index in LevelDB. Any method throws
 *
 * - IndexUnusable when the database turns out to be damaged: close, `destroyIndex`, open anew, rebuild;
 * - EverfoldError STORE_FULL or STORE_FAILED when the file system refuses. The next write after that opens the
 *   database anew, so that it works again as soon as there is space.
 */
export class LevelIndex implements ChunkIndex {
  /** Did opening create it? Then it knows nothing yet, and a store that has packs wants a rebuild. */
  readonly created: boolean
  readonly #session: LevelSession
  #added = 0

  private constructor(session: LevelSession, created: boolean) {
    this.#session = session
    this.created = created
  }

  /**
   * Opens the index in the folder `path`, or creates it there.
   *
   * @throws IndexUnusable if it is damaged, half removed or of another schema.
   * @throws EverfoldError REPOSITORY_LOCKED if it is open already (in this process or another), STORE_FULL,
   *         STORE_FAILED.
   */
  static async open(path: string, options: DatabaseOptions = {}): Promise<LevelIndex> {
    const { session, created } = await LevelSession.open(path, options)
    return new LevelIndex(session, created)
  }

  async lookup(hashes: Uint8Array): Promise<LookupResult> {
    checkHashes(hashes)
    if (hashes.length === 0) return { packs: [], packOf: new Int32Array(0), position: new Uint32Array(0) }
    const { packs, packOf, position } = await this.#session.read((state) => readEntries(state, hashes))
    return { packs: packs.map((pack) => pack.id), packOf, position }
  }

  /** Of a hash that is known already, the newer pack wins: it is the one that will live longer. */
  async addPack(packId: string, hashes: Uint8Array, except?: Uint8Array): Promise<void> {
    checkHashes(hashes)
    const id = packIdBytes(packId)
    await this.#session.write(async ({ db, numbers }) => {
      const { pack, writes } = await numbers.numberFor(db, id)
      await writeBatch(db, [...writes, ...writeEntries(pack, hashes, except)], false)
      numbers.keep(pack)
      this.#added += hashes.length / HASH_BYTES
    })
  }

  async removeChunks(packId: string, hashes: Uint8Array, which?: Uint8Array): Promise<void> {
    checkHashes(hashes)
    checkPackId(packId)
    if (hashes.length === 0) return
    await this.#session.write(async (state) => {
      const writes = removals(new Set([packId]), hashes, which, await readEntries(state, hashes))
      await writeBatch(state.db, writes, true)
    })
  }

  async removePacks(packs: readonly PackHashes[]): Promise<void> {
    for (const { packId, hashes } of packs) {
      checkPackId(packId)
      checkHashes(hashes)
    }
    if (packs.length === 0) return
    await this.#session.write(async (state) => {
      const { db, numbers } = state
      const known: PackHashes[] = []
      for (const pack of packs)
        if ((await numbers.find(db, packIdBytes(pack.packId))) !== undefined) known.push(pack)
      const ids = new Set(known.map(({ packId }) => packId))
      const writes: Write[] = []
      for (const { packId, hashes } of known) {
        if (hashes.length > 0)
          writes.push(...removals(ids, hashes, undefined, await readEntries(state, hashes)))
        writes.push(...(await numbers.forgetting(db, packIdBytes(packId))))
      }
      await writeBatch(db, writes, true)
      for (const id of ids) numbers.drop(id)
    })
  }

  async forgetPack(packId: string): Promise<void> {
    const id = packIdBytes(packId)
    await this.#session.write(async ({ db, numbers }) => {
      await writeBatch(db, await numbers.forgetting(db, id), true)
      numbers.drop(packId)
    })
  }

  async hasPack(packId: string): Promise<boolean> {
    const id = packIdBytes(packId)
    return this.#session.read(async ({ db, numbers }) => (await numbers.find(db, id)) !== undefined)
  }

  /**
   * Reads on as the caller takes; sees the packs of the moment it began. Ends with an error if `clear` comes
   * between.
   */
  async *packIds(): AsyncGenerator<string> {
    for await (const records of this.#session.pages(PACK_RANGE, PACKS_PER_READ)) {
      for (const [key, value] of records) {
        const id = packIdOfKey(key)
        if (id !== undefined && unsealedNumber(key, value) !== undefined)
          yield Buffer.from(id).toString('hex')
      }
    }
  }

  async getNote(name: string): Promise<string | undefined> {
    const key = noteKey(name)
    const [value] = await this.#session.read(({ db }) => getMany(db, [key]))
    return unsealed(key, value)?.toString('utf8')
  }

  async putNote(name: string, value: string | undefined): Promise<void> {
    const key = noteKey(name)
    const write: Write =
      value === undefined
        ? { type: 'del', key }
        : { type: 'put', key, value: sealed(key, Buffer.from(value, 'utf8')) }
    await this.#session.write(({ db }) => writeBatch(db, [write], true))
  }

  /**
   * Removes the files and starts anew: deleting millions of entries one by one would be slower than the
   * rebuild.
   */
  async clear(): Promise<void> {
    await this.#session.replace(() => destroyIndex(this.#session.path))
  }

  async sizes(): Promise<{ readonly diskBytes: number }> {
    return { diskBytes: await folderBytes(this.#session.path) }
  }

  /** Waits for what is under way. Closing again does nothing. */
  async close(): Promise<void> {
    await this.#session.close(this.#added >= TABLE_FROM_ENTRIES)
    this.#added = 0
  }
}

/**
 * What to write so that those packs' chunks with these hashes, or those in `which`, are gone for good.
 *
 * An entry that points elsewhere stays, and is written once more: the write that made it point there may not be
 * durable yet, and losing it to a power cut must not bring back the entry from before, which may be of this
 * very pack. (LevelDB's synced writes do not sync an earlier log file, so syncing anything later is not
 * enough.)
 */
function removals(
  packIds: ReadonlySet<string>,
  hashes: Uint8Array,
  which: Uint8Array | undefined,
  found: EntryReading,
): Write[] {
  const writes: Write[] = []
  for (const [i, key] of chunkKeys(hashes).entries()) {
    const value = found.values[i]
    if (value === undefined || (which !== undefined && !bitAt(which, i))) continue
    const pack = found.packs[found.packOf[i] ?? -1]
    // An entry that fails its checksum is a miss, and goes as well.
    if (pack === undefined || packIds.has(pack.id)) writes.push({ type: 'del', key })
    else writes.push({ type: 'put', key, value })
  }
  return writes
}

function checkHashes(hashes: Uint8Array): void {
  assert(hashes.length % HASH_BYTES === 0, 'hashes are 32 bytes each')
}

function checkPackId(packId: string): void {
  assert(packId.length === 2 * ID_BYTES, 'a pack id is 64 hexadecimal digits')
}

function packIdBytes(packId: string): Uint8Array {
  checkPackId(packId)
  return hexToBytes(packId)
}
