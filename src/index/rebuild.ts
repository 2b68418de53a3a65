import { stopIfCancelled } from '../cancellation.js'
import { isEverfoldError } from '../errors.js'
import { listPacks, type PackPlace, readPackDirectory } from '../pack/catalog.js'
import { isPresent, type PackDirectory } from '../pack/pack-format.js'
import type { Quarantine } from '../pack/quarantine.js'
import { settleAll } from '../settle-all.js'
import { bundlesPrefix, packsPrefix } from '../store/keys.js'
import type { StoreReader } from '../store/store.js'
import type { ChunkIndex } from './chunk-index.js'

/** Directories that are read at once: in a bucket, that is waiting, and there is a request for each pack. */
const READS_IN_FLIGHT = 32

export interface RebuildResult {
  readonly packs: number
  readonly chunks: number
  /** Packs whose directory cannot be read: their chunks are stored again when they come again. */
  readonly damaged: readonly string[]
}

export interface RebuildProgress {
  /** Called as packs are done. */
  (done: number, total: number): void
}

/**
 * Empties the index and fills it from the packs' directories: store → index. Cut short, it has left an index that lacks some.
 * @throws STORE_FAILED, STORE_FULL, CANCELLED
 */
export async function rebuildIndex(
  store: StoreReader,
  quarantine: Quarantine,
  index: ChunkIndex,
  progress?: RebuildProgress,
  signal?: AbortSignal,
): Promise<RebuildResult> {
  const newest = await newestPlaces(store, quarantine)
  await index.clear()
  let chunks = 0
  let done = 0
  const damaged: string[] = []
  const queue = newest.values()
  const worker = async (): Promise<void> => {
    for (const place of queue) {
      stopIfCancelled(signal)
      try {
        const directory = await readPackDirectory(store, place)
        await index.addPack(place.packId, directory.hashes, exceptions(directory, quarantine))
        chunks += directory.chunkCount
      } catch (error) {
        // What is archived is not known until it was recalled.
        if (!isEverfoldError(error, 'DATA_DAMAGED', 'OBJECT_NOT_FOUND', 'OBJECT_ARCHIVED')) throw error
        if (error.code !== 'OBJECT_ARCHIVED') damaged.push(place.packId)
      }
      progress?.(++done, newest.length)
    }
  }
  await settleAll(Array.from({ length: READS_IN_FLIGHT }, worker))
  return { packs: newest.length, chunks, damaged }
}

/** The newest generation of each pack that the store lists; condemned ones and damaged chunks are left out. */
async function newestPlaces(store: StoreReader, quarantine: Quarantine): Promise<PackPlace[]> {
  await quarantine.load(store)
  const newest = new Map<string, PackPlace>()
  for await (const place of listPacks(store)) {
    if (quarantine.isCondemned(place.packId, place.generation)) continue
    if (place.generation >= (newest.get(place.packId)?.generation ?? 0)) newest.set(place.packId, place)
  }
  // From now on points refer to what was found, whoever left it there.
  await store.settle(packsPrefix)
  await store.settle(bundlesPrefix)
  return [...newest.values()]
}

/** Chunks that a new point may not refer to: absent or damaged ones, as a bitmap; undefined if there are none. */
function exceptions(directory: PackDirectory, quarantine: Quarantine): Uint8Array | undefined {
  const except = new Uint8Array(Math.ceil(directory.chunkCount / 8))
  let any = false
  for (let i = 0; i < directory.chunkCount; i++) {
    if (isPresent(directory, i) && !quarantine.isDamaged(directory, i)) continue
    except[i >> 3] = (except[i >> 3] ?? 0) | (1 << (i & 7))
    any = true
  }
  return any ? except : undefined
}
