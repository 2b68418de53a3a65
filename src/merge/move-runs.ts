import { stopIfCancelled } from '../cancellation.js'
import type { DiskState, RunLayer } from '../chain/chain-state.js'
import { runsOf, withRuns } from '../chain/disk-runs.js'
import { PackTable } from '../chain/pack-table.js'
import type { WorkPins } from '../chain/pins.js'
import type { Repository } from '../chain/repository.js'
import { type RunRef, readSegment, type SegmentRef, writeRun } from '../chain/run-store.js'
import { inOrder } from '../in-order.js'
import { moveExtents } from './move-extents.js'
import type { Moves } from './moves.js'

/** Runs of one machine that are read and written at once. */
const RUNS_IN_FLIGHT = 8

/**
 * Lets all points of a machine refer to where chunks lie now: writes the run segments that refer to moved ones anew, and commits a chain state
 * that has these instead. What each point holds stays the same.
 * @param pins  hold the new segments
 * @returns bytes of segments written
 * @throws CONFLICT, DATA_DAMAGED, OBJECT_NOT_FOUND, STORE_FULL, STORE_FAILED, CANCELLED: the chain is as it was
 */
export async function moveRuns(
  repository: Repository,
  machine: string,
  moves: Moves,
  pins: WorkPins,
  signal?: AbortSignal,
): Promise<number> {
  // No fold of the machine meanwhile: it would put the former extents together anew. Points may be appended, and hold what they refer to.
  return repository.folding.run(machine, async () => {
    const points = (await repository.chains.find(machine))?.state.points ?? []
    const changed = new Map<string, Map<string, DiskState>>()
    let writtenBytes = 0
    const disks = points.flatMap((point) => point.disks.map((disk) => ({ point, disk })))
    const moved = inOrder(disks, RUNS_IN_FLIGHT, async ({ point, disk }) => {
      stopIfCancelled(signal)
      return { point, disk: await moveDisk(repository, machine, disk, moves, pins) }
    })
    for await (const { point, disk } of moved) {
      if (disk === undefined) continue
      writtenBytes += disk.writtenBytes
      const ofPoint = changed.get(point.id) ?? new Map<string, DiskState>()
      changed.set(point.id, ofPoint)
      ofPoint.set(disk.state.id, disk.state)
    }
    if (changed.size > 0)
      await repository.chains.edit(machine, (head) => ({
        points: (head?.state.points ?? []).map((point) => {
          const now = changed.get(point.id)
          return now ? { ...point, disks: point.disks.map((disk) => now.get(disk.id) ?? disk) } : point
        }),
      }))
    return writtenBytes
  })
}

/** @returns undefined if none of its runs refers to what was moved */
async function moveDisk(
  repository: Repository,
  machine: string,
  disk: DiskState,
  moves: Moves,
  pins: WorkPins,
): Promise<{ readonly state: DiskState; readonly writtenBytes: number } | undefined> {
  const layers: RunLayer[] = []
  let writtenBytes = 0
  let anyMoved = false
  for (const layer of runsOf(disk)) {
    const moved = await moveRun(repository, machine, layer.run, moves, pins)
    if (moved === undefined) layers.push(layer)
    else {
      layers.push({ ...layer, run: moved.run })
      writtenBytes += moved.writtenBytes
      anyMoved = true
    }
  }
  return anyMoved ? { state: withRuns(disk, layers), writtenBytes } : undefined
}

/** @returns undefined if it refers to nothing that was moved */
async function moveRun(
  repository: Repository,
  machine: string,
  run: RunRef,
  moves: Moves,
  pins: WorkPins,
): Promise<{ readonly run: RunRef; readonly writtenBytes: number } | undefined> {
  const segments: SegmentRef[] = []
  let writtenBytes = 0
  let anyMoved = false
  for (const segment of run.segments) {
    const packs = new PackTable()
    const list = await readSegment(repository.store, machine, segment, packs)
    if (!refersToMoved(packs, moves)) {
      segments.push(segment)
      continue
    }
    const moved = moveExtents(list, moves)
    if (
      moved.startOf(0) !== list.startOf(0) ||
      moved.end !== list.end ||
      moved.totalBytes !== list.totalBytes
    )
      throw new Error('a run that was moved does not cover what it covered')
    const claim = (id: string): Promise<void> => pins.claim(id)
    const written = await writeRun(repository.store, machine, moved, claim, repository.segmentExtents)
    segments.push(...written.run.segments)
    writtenBytes += written.writtenBytes
    anyMoved = true
  }
  return anyMoved ? { run: { stride: run.stride, segments }, writtenBytes } : undefined
}

function refersToMoved(packs: PackTable, moves: Moves): boolean {
  for (let slot = 0; slot < packs.size; slot++) if (moves.of(packs.idOf(slot)) !== undefined) return true
  return false
}
