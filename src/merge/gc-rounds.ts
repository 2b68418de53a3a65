import type { Repository } from '../chain/repository.js'
import { collectGarbage, type GcOptions, type GcResult } from './gc.js'
import type { LocksResult } from './locked-garbage.js'

/** Rounds that may be asked for at once. */
export const ROUNDS_MAX = 100

/** Collects garbage so many times, one after the other. @throws as collectGarbage */
export async function collectRounds(
  repository: Repository,
  rounds: number,
  options: GcOptions = {},
): Promise<GcResult> {
  let result = await collectGarbage(repository, options)
  // A dry run changes nothing, so a second one would say the same.
  for (let round = 1; round < rounds && options.dryRun !== true; round++)
    result = together(result, await collectGarbage(repository, options))
  return result
}

/** What two rounds did in all, and how things are after the later one. */
function together(earlier: GcResult, later: GcResult): GcResult {
  const sum = (
    name:
      | 'condemnedObjects'
      | 'condemnedBytes'
      | 'rewrittenPacks'
      | 'joinedPacks'
      | 'writtenBytes'
      | 'removedObjects'
      | 'removedBytes'
      | 'seconds',
  ): number => earlier[name] + later[name]
  return {
    ...later,
    condemnedObjects: sum('condemnedObjects'),
    condemnedBytes: sum('condemnedBytes'),
    rewrittenPacks: sum('rewrittenPacks'),
    joinedPacks: sum('joinedPacks'),
    writtenBytes: sum('writtenBytes'),
    removedObjects: sum('removedObjects'),
    removedBytes: sum('removedBytes'),
    seconds: sum('seconds'),
    ...(later.locks && { locks: locksTogether(earlier.locks ?? later.locks, later.locks) }),
  }
}

function locksTogether(earlier: LocksResult, later: LocksResult): LocksResult {
  return {
    ...later,
    extendedObjects: later.extendedObjects ?? earlier.extendedObjects,
    freedObjects: earlier.freedObjects + later.freedObjects,
    freedBytes: earlier.freedBytes + later.freedBytes,
  }
}
