import type { Repository } from '../chain/repository.js'
import type { JobRequests } from '../store/request-log.js'
import { type Accounting, account } from './account.js'

export interface Statistics extends Accounting {
  readonly points: number
  readonly indexBytes: number
  /** Stored bytes of objects that are condemned and wait for their removal; part of `deadBytes`. */
  readonly waitingBytes: number
  /** Chunks known to be damaged. */
  readonly damagedChunks: number
  /** As plain disk images : unique, and unique : what it takes stored. Null where nothing is stored. */
  readonly deduplicationRatio: number | null
  readonly compressionRatio: number | null
  /** What the last jobs asked of a bucket, oldest first: requests by kind, bytes. Null for a folder. */
  readonly requests: readonly JobRequests[] | null
}

/** Figures of the whole repository. @throws STORE_FAILED, CHAIN_DAMAGED, LISTING_INCOMPLETE, DATA_DAMAGED, OBJECT_NOT_FOUND */
export async function statisticsOf(repository: Repository): Promise<Statistics> {
  const accounting = await account(repository)
  const { condemned, damaged } = repository.catalog.quarantine.state
  let waitingBytes = 0
  for (const object of condemned) waitingBytes += (await repository.store.size(object.key)) ?? 0
  const { diskBytes } = await (await repository.index()).sizes()
  const { logicalBytes, uniqueBytes, liveBytes } = accounting
  return {
    ...accounting,
    points: accounting.machines.reduce((sum, machine) => sum + machine.points.length, 0),
    indexBytes: diskBytes,
    waitingBytes,
    damagedChunks: damaged.reduce((sum, pack) => sum + (pack.chunks?.length ?? 1), 0),
    deduplicationRatio: uniqueBytes > 0 ? logicalBytes / uniqueBytes : null,
    compressionRatio: liveBytes > 0 ? uniqueBytes / liveBytes : null,
    requests: (await repository.requestLog?.read()) ?? null,
  }
}
