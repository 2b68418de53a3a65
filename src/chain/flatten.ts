import { EverfoldError } from '../errors.js'
import type { StoreReader } from '../store/store.js'
import type { ChainState, DiskState, PointState, RunLayer } from './chain-state.js'
import { readLayers, runsOf } from './disk-runs.js'
import { type ExtentList, ZEROS } from './extent-list.js'
import { overlayAll } from './overlay.js'
import { PackTable } from './pack-table.js'
import type { WorkPins } from './pins.js'

/** A disk's entry in a point, whose id is the name in its normal form. @throws DISK_UNKNOWN */
export function diskOf(machine: string, point: PointState, diskId: string): DiskState {
  const name = diskId.normalize('NFC')
  const disk = point.disks.find((candidate) => candidate.id === name)
  if (disk !== undefined) return disk
  const known = point.disks.map((candidate) => candidate.id).join(', ')
  throw new EverfoldError(
    'DISK_UNKNOWN',
    `Point ${point.id} of "${machine}" has no disk "${diskId}"; it has: ${known}`,
    {
      details: { machine, point: point.id, disk: diskId },
    },
  )
}

/** The runs that make up a disk at point number `index`, oldest first: from the last complete one on. */
export function layersOf(state: ChainState, index: number, diskId: string): RunLayer[] {
  const layers: RunLayer[] = []
  for (let i = index; i >= 0; i--) {
    const disk = state.points[i]?.disks.find((candidate) => candidate.id === diskId)
    if (disk === undefined) break
    layers.unshift(...runsOf(disk))
    if (disk.complete) return layers
  }
  throw new EverfoldError(
    'CHAIN_DAMAGED',
    `The chain of "${state.machine}" has no complete run of disk "${diskId}".`,
    {
      details: { machine: state.machine, disk: diskId },
    },
  )
}

/**
 * Everything that a disk holds at point number `index`: extents that cover it from 0 to its size without a gap.
 * @param pins  Holds the runs and packs of the disk until it ends. `state` must have been got in the same turn.
 * @throws OBJECT_NOT_FOUND, DATA_DAMAGED naming a run that is lost; CHAIN_DAMAGED; STORE_FAILED
 */
export async function flattenDisk(
  store: StoreReader,
  state: ChainState,
  index: number,
  diskId: string,
  pins: WorkPins,
): Promise<ExtentList> {
  const packs = new PackTable()
  const layers = layersOf(state, index, diskId)
  // Before anything is waited for: a fold may take these runs out of the chain while they are read.
  for (const { run } of layers) for (const segment of run.segments) pins.pin(segment.id)
  const sizeBytes = layers.at(-1)?.sizeBytes ?? 0
  const all = overlayAll(await readLayers(store, state.machine, layers, packs)).slice(0, sizeBytes)
  pinPacks(all, pins)
  assertCovers(all, sizeBytes, state.machine, diskId)
  return all
}

/** What is hidden is not needed: it may go. */
function pinPacks({ packs, pack, length }: ExtentList, pins: WorkPins): void {
  const showing = new Uint8Array(packs.size)
  for (let i = 0; i < length; i++) {
    const slot = pack[i] ?? ZEROS
    if (slot !== ZEROS) showing[slot] = 1
  }
  for (let slot = 0; slot < showing.length; slot++) if (showing[slot] === 1) pins.pin(packs.idOf(slot))
}

/** A gap would mean that we do not know what the disk held there: never to be filled with zeros in silence. */
function assertCovers(all: ExtentList, sizeBytes: number, machine: string, disk: string): void {
  let end = 0
  for (let i = 0; i < all.length && all.startOf(i) === end; i++) end = all.endOf(i)
  if (end === sizeBytes) return
  throw new EverfoldError(
    'CHAIN_DAMAGED',
    `The runs of disk "${disk}" of "${machine}" leave a gap at byte ${end}.`,
    {
      details: { machine, disk, offset: end },
    },
  )
}
