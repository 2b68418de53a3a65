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
  /** Where objects are locked: for how many days at least, and what is known of the last extension. Null elsewhere. */
  readonly objectLock: LockStatistics | null
}

export interface LockStatistics {
  readonly days: number
  /** ISO 8601: when locks were last extended, and until when what was there then is locked at least. Null: not yet, or by another machine. */
  readonly extendedAt: string | null
  readonly until: string | null
  /** Objects whose locks were extended then. */
  readonly objects: number
}

/** Figures of the whole repository. @throws STORE_FAILED, CHAIN_DAMAGED, LISTING_INCOMPLETE, DATA_DAMAGED, OBJECT_NOT_FOUND */
export async function statisticsOf(repository: Repository): Promise<Statistics> {
  await repository.catalog.quarantine.load(repository.store)
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
    objectLock: lockStatistics(repository),
  }
}

function lockStatistics({ locks }: Repository): LockStatistics | null {
  if (locks === undefined) return null
  const { days, state } = locks
  const known = state?.isDone === true ? state : undefined
  const { extendedAt = null, until = null, objects = 0 } = known ?? {}
  return { days, extendedAt, until, objects }
}
