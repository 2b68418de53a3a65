import { MalformedError } from '../../binary.js'
import { isEverfoldError } from '../../errors.js'
import { settleAll } from '../../settle-all.js'
import {
  parseSessionKey,
  type SessionKey,
  sessionBeginKey,
  sessionDoneKey,
  sessionPartKey,
  sessionPrefix,
  sessionsPrefix,
} from '../../store/keys.js'
import { readAgainIfDamaged } from '../../store/read-again.js'
import type { StorePruner, StoreReader } from '../../store/store.js'
import { PackTable } from '../pack-table.js'
import type { Repository } from '../repository.js'
import { decodePart, type Part } from './part-codec.js'
import { decodeBegin, decodeDone, type SessionBegin, type SessionDone } from './session-objects.js'

/** Parts that are read at once. */
const PARTS_AHEAD = 16
/** Parts that are removed at once: their syncs share the disk's. */
const REMOVED_AT_ONCE = 16

/** The sessions that the store lists, and what kinds of objects each has: a hint, as all listings. @throws STORE_FAILED */
export async function listSessions(store: StoreReader): Promise<Map<string, Set<SessionKey['kind']>>> {
  const sessions = new Map<string, Set<SessionKey['kind']>>()
  for await (const { key } of store.list(sessionsPrefix)) {
    const parsed = parseSessionKey(key)
    if (parsed === undefined) continue
    const kinds = sessions.get(parsed.id)
    if (kinds === undefined) sessions.set(parsed.id, new Set([parsed.kind]))
    else kinds.add(parsed.kind)
  }
  return sessions
}

/** What a session is about; undefined if there is none, or it is damaged. @throws STORE_FAILED */
export function readBegin(store: StoreReader, id: string): Promise<SessionBegin | undefined> {
  return readSealed(store, sessionBeginKey(id), (bytes) => decodeBegin(bytes, id))
}

/** What a session became; undefined if it did not, or that is damaged. @throws STORE_FAILED */
export function readDone(store: StoreReader, id: string): Promise<SessionDone | undefined> {
  return readSealed(store, sessionDoneKey(id), (bytes) => decodeDone(bytes, id))
}

async function readSealed<T>(
  store: StoreReader,
  key: string,
  decode: (bytes: Uint8Array) => T | undefined,
): Promise<T | undefined> {
  try {
    return await readAgainIfDamaged(
      async () => decode(await store.readAll(key)),
      (found) => found !== undefined,
    )
  } catch (error) {
    if (isEverfoldError(error, 'OBJECT_NOT_FOUND')) return undefined
    throw error
  }
}

/** How the disks of a session are cut, in its order, each with a table for the packs of its extents. */
export function tablesOf(
  begin: SessionBegin,
  chunkSize: number,
): readonly { readonly packs: PackTable; readonly stride: number }[] {
  return begin.disks.map(({ chunker }) => ({
    packs: new PackTable(),
    stride: chunker === 'cdc' ? 0 : chunkSize,
  }))
}

/** A part as it is in the store. */
export interface StoredPart extends Part {
  /** Bytes of its object. */
  readonly objectBytes: number
}

/**
 * All parts of a session, in order; a damaged one as undefined. They are numbered without gaps, and asked for one number after the other: no
 * listing is believed.
 * @throws STORE_FAILED
 */
export async function* readParts(
  store: StoreReader,
  begin: SessionBegin,
  tables: ReturnType<typeof tablesOf>,
): AsyncGenerator<StoredPart | undefined> {
  const { session, series } = begin
  const read = async (number: number): Promise<StoredPart | 'none' | 'damaged'> => {
    const key = sessionPartKey(session, series, number)
    try {
      return await readAgainIfDamaged(async () => {
        const bytes = await store.readAll(key)
        return {
          ...decodePart(bytes, { series, number }, (disk) => tables[disk]),
          objectBytes: bytes.length,
        }
      })
    } catch (error) {
      if (isEverfoldError(error, 'OBJECT_NOT_FOUND')) return 'none'
      if (error instanceof MalformedError) return 'damaged'
      throw error
    }
  }
  for (let first = 0; ; first += PARTS_AHEAD) {
    const numbers = Array.from({ length: PARTS_AHEAD }, (_, i) => first + i)
    for (const part of await Promise.all(numbers.map(read))) {
      if (part === 'none') return
      yield part === 'damaged' ? undefined : part
    }
  }
}

/**
 * Removes what the store has of a session: first what gives the rest its meaning. Cut short, it leaves parts without meaning behind,
 * which garbage collection removes.
 * @param keepDone  leaves what it became
 * @throws STORE_FAILED
 */
export async function removeSession(store: StorePruner, id: string, keepDone: boolean): Promise<void> {
  await store.remove(sessionBeginKey(id))
  const rest: string[] = []
  for await (const { key } of store.list(sessionPrefix(id)))
    if (parseSessionKey(key)?.kind === 'part') rest.push(key)
  for (let i = 0; i < rest.length; i += REMOVED_AT_ONCE)
    await settleAll(rest.slice(i, i + REMOVED_AT_ONCE).map((key) => store.remove(key)))
  if (!keepDone) await store.remove(sessionDoneKey(id))
}

/** Calls `each` with every pack that the parts of a session name. @throws STORE_FAILED */
export async function packsOfSession(
  repository: Repository,
  begin: SessionBegin,
  each: (packId: string) => void,
): Promise<void> {
  const tables = tablesOf(begin, repository.config.chunkSize)
  const parts = readParts(repository.store, begin, tables)
  // Reading them fills the tables.
  while ((await parts.next()).done !== true);
  for (const { packs } of tables) for (let slot = 0; slot < packs.size; slot++) each(packs.idOf(slot))
}
