import type { ChunkIndex } from '../index/chunk-index.js'
import { Ingest } from './ingest.js'
import type { IngestRoom } from './ingest-room.js'
import type { WorkPins } from './pins.js'
import type { Repository } from './repository.js'

/** An ingest into a repository, as the repository is configured. @param room  shared with others; its own without */
export function openIngest(
  { store, catalog, crew, config, batchBytes }: Repository,
  index: ChunkIndex,
  pins: WorkPins,
  room?: IngestRoom,
): Ingest {
  const { chunkSize, frameSize, packSize, compression } = config
  const settings = { chunkSize, frameSize, packSize, level: compression.level, verify: true, batchBytes }
  return new Ingest({ store, catalog, index, crew, pins, settings, ...(room && { room }) })
}
