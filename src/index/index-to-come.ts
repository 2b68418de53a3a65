import type { ChunkIndex } from './chunk-index.js'

/** What a backup asks of the index. */
export type IngestIndex = Pick<ChunkIndex, 'lookup' | 'hasPack' | 'addPack'>

/** An index that is still being opened: whoever asks it waits for that, and hears of it if it fails. */
export function indexToCome(opening: Promise<IngestIndex>): IngestIndex {
  return {
    lookup: async (hashes) => (await opening).lookup(hashes),
    hasPack: async (packId) => (await opening).hasPack(packId),
    addPack: async (packId, hashes, except) => (await opening).addPack(packId, hashes, except),
  }
}
