import { isEverfoldError } from '../errors.js'
import { readPackDirectory } from '../pack/catalog.js'
import { packsPrefix, parsePackKey } from '../store/keys.js'
import type { StoreReader } from '../store/store.js'
import type { ChunkIndex } from './chunk-index.js'

/** Directories that are read at once. */
const READS_IN_FLIGHT = 8

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

/** Empties the index and fills it from the packs' directories: store → index. @throws STORE_FAILED, STORE_FULL */
export async function rebuildIndex(
  store: StoreReader,
  index: ChunkIndex,
  progress?: RebuildProgress,
): Promise<RebuildResult> {
  const newest = await newestGenerations(store)
  await index.clear()
  let chunks = 0
  let done = 0
  const damaged: string[] = []
  const queue = newest.entries()
  const worker = async (): Promise<void> => {
    for (const [packId, generation] of queue) {
      try {
        const directory = await readPackDirectory(store, packId, generation)
        await index.addPack(packId, directory.hashes, absentChunks(directory.present, directory.chunkCount))
        chunks += directory.chunkCount
      } catch (error) {
        if (!isEverfoldError(error, 'DATA_DAMAGED', 'OBJECT_NOT_FOUND')) throw error
        damaged.push(packId)
      }
      progress?.(++done, newest.size)
    }
  }
  await Promise.all(Array.from({ length: READS_IN_FLIGHT }, worker))
  return { packs: newest.size, chunks, damaged }
}

/** The newest generation of each pack that the store lists. */
export async function newestGenerations(store: StoreReader): Promise<Map<string, number>> {
  const newest = new Map<string, number>()
  for await (const object of store.list(packsPrefix)) {
    const parsed = parsePackKey(object.key)
    if (parsed !== undefined && parsed.generation >= (newest.get(parsed.packId) ?? 0))
      newest.set(parsed.packId, parsed.generation)
  }
  return newest
}

function absentChunks(present: Uint8Array, count: number): Uint8Array | undefined {
  const absent = present.map((byte) => ~byte)
  for (let i = 0; i < count; i++) if (((absent[i >> 3] ?? 0) & (1 << (i & 7))) !== 0) return absent
  return undefined
}
