import { type RebuildProgress, type RebuildResult, rebuildIndex } from '../index/rebuild.js'
import { uncached } from '../store/uncached.js'
import { COMPLETE } from './open-repository.js'
import type { Repository } from './repository.js'

/**
 * Rebuilds the index from the packs in the store, beside everything but collections. Cut short, it leaves an index that lacks
 * some packs: chunks may be stored twice, until the index is rebuilt with the next start or the next time this is asked for.
 * @throws STORE_FAILED, STORE_FULL, CANCELLED
 */
export async function reindex(
  repository: Repository,
  progress?: RebuildProgress,
  signal?: AbortSignal,
): Promise<RebuildResult> {
  return repository.collecting.run('gc', async () => {
    const index = await repository.index()
    const { store, catalog } = repository
    const rebuilt = await uncached(() => rebuildIndex(store, catalog.quarantine, index, progress, signal))
    await index.putNote(COMPLETE, 'yes')
    return rebuilt
  })
}
