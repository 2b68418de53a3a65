import type { IngestIndex } from '../index/index-to-come.js'
import { batchBytesFor, Ingest } from './ingest.js'
import type { IngestRoom } from './ingest-room.js'
import type { WorkPins } from './pins.js'
import type { Repository } from './repository.js'

export interface IngestScope {
  /** Shared with others; its own without. */
  readonly room?: IngestRoom
  /** Plain bytes that are to come, where that is known. */
  readonly totalBytes?: number
}

/** An ingest into a repository, as the repository is configured. */
export function openIngest(
  { store, catalog, crew, config, batchBytes, earlyBytes }: Repository,
  index: IngestIndex,
  pins: WorkPins,
  { room, totalBytes = Number.POSITIVE_INFINITY }: IngestScope = {},
): Ingest {
  const { chunkSize, frameSize, packSize, compression } = config
  const size = batchBytesFor(totalBytes, crew.size, batchBytes)
  const settings = {
    chunkSize,
    frameSize,
    packSize,
    level: compression.level,
    verify: true,
    batchBytes: size,
    earlyBytes,
  }
  return new Ingest({ store, catalog, index, crew, pins, settings, ...(room && { room }) })
}
