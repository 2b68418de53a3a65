import type { WorkPins } from '../chain/pins.js'
import type { Repository } from '../chain/repository.js'
import { isPresent } from '../pack/pack-format.js'
import { copyChunks } from './copy-chunks.js'
import { diskOrder } from './disk-order.js'
import { moveRuns } from './move-runs.js'
import { type Moves, NOT_MOVED } from './moves.js'
import { isBitSet, type SurveyedPack } from './survey.js'

export interface RegroupResult {
  /** Packs to which no chain refers any more. */
  readonly emptied: readonly SurveyedPack[]
  /** Bytes of packs and runs. */
  readonly writtenBytes: number
}

/**
 * Puts the live chunks of some packs together anew, in the order in which the newest points have them, and lets all points refer to where they are
 * now. Packs before runs before chain states, as in a backup: cut short at any step, some machines refer to the former packs, which are still
 * there.
 * @param machines  all that have a chain
 * @throws CONFLICT, DATA_DAMAGED, OBJECT_NOT_FOUND, STORE_FULL, STORE_FAILED, CANCELLED
 */
export async function regroup(
  repository: Repository,
  machines: readonly string[],
  packs: readonly SurveyedPack[],
  pins: WorkPins,
  signal?: AbortSignal,
): Promise<RegroupResult> {
  const order = await diskOrder(repository, machines, packs)
  const { moves, writtenBytes } = await copyChunks(repository, packs, order, pins, signal)
  let runBytes = 0
  for (const machine of machines) runBytes += await moveRuns(repository, machine, moves, pins, signal)
  return {
    emptied: packs.filter((pack) => isEmptied(pack, moves)),
    writtenBytes: writtenBytes + runBytes,
  }
}

/** Was all moved that some run referred to? What is missing from the pack is referred to all the same. */
function isEmptied({ directory, live }: SurveyedPack, moves: Moves): boolean {
  const moved = moves.of(directory.id)
  for (let chunk = 0; chunk < directory.chunkCount; chunk++) {
    if (!isBitSet(live, chunk)) continue
    if (!isPresent(directory, chunk) || (moved?.pack[chunk] ?? NOT_MOVED) === NOT_MOVED) return false
  }
  return true
}
