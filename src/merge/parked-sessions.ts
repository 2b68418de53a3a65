import type { WorkPins } from '../chain/pins.js'
import type { Repository } from '../chain/repository.js'
import { listSessions, packsOfSession, readBegin, readDone } from '../chain/session/session-store.js'
import { parseSessionKey, sessionBeginKey, sessionsPrefix } from '../store/keys.js'
import type { StoredObject, StoreReader } from '../store/store.js'

/**
 * Pins what the open sessions in the store rely on, whether or not this process has them in memory. Here a listing is relied upon: should it leave
 * a session out, the session finds when it is taken up again that packs are gone, and asks its client for their data once more.
 * @throws STORE_FAILED
 */
export async function pinSessions(repository: Repository, pins: WorkPins): Promise<void> {
  const { store } = repository
  for (const [id] of await listSessions(store)) {
    const begin = await readBegin(store, id)
    // What a session became is written down before anything of it is removed.
    if (begin === undefined || (await readDone(store, id)) !== undefined) continue
    await packsOfSession(repository, begin, (packId) => pins.pin(packId))
  }
}

/**
 * Parts that mean nothing: their session is gone, or the one of that id is a later one. A session is there before its parts are, so what is
 * read of it after the listing has the say.
 * @throws STORE_FAILED
 */
export async function orphanParts(store: StoreReader): Promise<StoredObject[]> {
  const parts = new Map<string, { readonly series: string; readonly object: StoredObject }[]>()
  for await (const object of store.list(sessionsPrefix)) {
    const parsed = parseSessionKey(object.key)
    if (parsed?.kind !== 'part') continue
    const part = { series: parsed.series, object }
    const list = parts.get(parsed.id)
    if (list === undefined) parts.set(parsed.id, [part])
    else list.push(part)
  }
  const orphans: StoredObject[] = []
  for (const [id, list] of parts) {
    const begin = await readBegin(store, id)
    // One that is damaged may be put back from a copy.
    if (begin === undefined && (await store.size(sessionBeginKey(id))) !== undefined) continue
    for (const { series, object } of list) if (series !== begin?.series) orphans.push(object)
  }
  return orphans
}
