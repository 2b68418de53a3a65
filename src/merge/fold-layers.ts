import type { RunLayer } from '../chain/chain-state.js'
import type { JoinLimits } from '../chain/disk-runs.js'
import { PackTable } from '../chain/pack-table.js'
import type { WorkPins } from '../chain/pins.js'
import type { Repository } from '../chain/repository.js'
import { type RunRef, readSegment } from '../chain/run-store.js'
import { type FoldCost, foldRuns } from './fold-runs.js'

/**
 * Puts the runs of one disk, oldest first, together for the point that they all belong to from now on. What each costs depends on the changes
 * and not on the parent: most runs stay as they are, one on top of the other, and are joined when there is enough to be joined.
 * @param own  how many of them, oldest first, the oldest point has. Those of the others are read, though they stay as they are: if one is
 *             lost, the older point is all that there is to restore
 * @returns what they are now, oldest first
 * @throws OBJECT_NOT_FOUND, DATA_DAMAGED, STORE_FULL, STORE_FAILED
 */
export async function foldLayers(
  repository: Repository,
  machine: string,
  layers: readonly RunLayer[],
  own: number,
  pins: WorkPins,
  cost: FoldCost,
): Promise<RunLayer[]> {
  const out: RunLayer[] = []
  let next = 0
  for (const group of groupsOf(layers, ({ run }) => extentsOf(run), repository.joinLimits)) {
    const [oldest, newest] = [group[0], group.at(-1)]
    if (oldest === undefined || newest === undefined) continue
    // A join reads all but the oldest of its runs.
    if (next >= own)
      for (const segment of oldest.run.segments)
        await readSegment(repository.store, machine, segment, new PackTable(), cost)
    next += group.length
    if (group.length > 1) {
      const run = await foldRuns(repository.store, machine, group, pins, cost, repository.segmentExtents)
      out.push({ sizeBytes: newest.sizeBytes, run })
      continue
    }
    for (const segment of newest.run.segments) pins.pin(segment.id)
    out.push(newest)
  }
  return out
}

/** Which runs are to be joined: neighbours, oldest first, each in one group. */
export function groupsOf<Run>(
  runs: readonly Run[],
  extentsOf: (run: Run) => number,
  { smallRun, times, above, between }: JoinLimits,
): Run[][] {
  const [oldest, ...others] = runs
  if (oldest === undefined) return []
  const newer = others.reduce((sum, run) => sum + extentsOf(run), 0)
  if (extentsOf(oldest) <= Math.max(smallRun, newer * times) || newer > above) return [[...runs]]
  const groups: Run[][] = []
  let extents = 0
  for (const run of others.toReversed()) {
    const group = groups[0]
    if (group !== undefined && extentsOf(run) <= extents * between) {
      group.unshift(run)
      extents += extentsOf(run)
    } else {
      groups.unshift([run])
      extents = extentsOf(run)
    }
  }
  return [[oldest], ...groups]
}

function extentsOf({ segments }: RunRef): number {
  return segments.reduce((sum, segment) => sum + segment.extents, 0)
}
