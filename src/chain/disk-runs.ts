import { inOrder } from '../in-order.js'
import type { StoreReader } from '../store/store.js'
import type { ChainState, DiskState, RunLayer } from './chain-state.js'
import type { ExtentList } from './extent-list.js'
import { type Layer, overlay, overlayAll } from './overlay.js'
import type { PackTable } from './pack-table.js'
import { type ReadCost, type RunRef, readRun, readSegment, type SegmentRef } from './run-store.js'

/*
 * What a point itself says of a disk: its run, and below it the runs of points that were folded into it and are not joined with it
 * yet. An extent of these that a newer one covers means nothing: its pack may be gone. So whoever asks what is needed looks at
 * what shows, and never at one of these runs alone.
 */

/** When runs that were folded into each other are joined: written anew, as one. Extents. */
export interface JoinLimits {
  /** The oldest run is joined with those on it if it has no more than this, which takes 0.005 s. */
  readonly smallRun: number
  /** Or if it has no more than so many times those of all the others: a join is paid for by the changes that it takes in. */
  readonly times: number
  /** Or if the others have more than this, which are held in memory by whoever reads the disk piece by piece: 32 MiB. */
  readonly above: number
  /** Of those others, one is joined with newer ones if it has no more than so many times their extents: so there are few. */
  readonly between: number
}

const ABOVE_EXTENTS_MAX = 1024 * 1024

export const JOIN_LIMITS: JoinLimits = {
  smallRun: 16 * 1024,
  times: 8,
  above: ABOVE_EXTENTS_MAX,
  between: 2,
}

/** The runs of a disk at a point, oldest first. */
export function runsOf({ folded, run, sizeBytes }: DiskState): readonly RunLayer[] {
  return folded === undefined ? [{ run, sizeBytes }] : [...folded, { run, sizeBytes }]
}

/** A disk at a point with other runs; the newest of them is its own. */
export function withRuns(disk: DiskState, layers: readonly RunLayer[]): DiskState {
  const { folded: _, ...rest } = disk
  const newest = layers.at(-1)
  if (newest === undefined) throw new RangeError('a disk has a run')
  const folded = layers.slice(0, -1)
  return { ...rest, ...(folded.length > 0 && { folded }), run: newest.run }
}

export function* segmentsOf(disk: DiskState): Generator<SegmentRef, void, undefined> {
  for (const { run } of runsOf(disk)) yield* run.segments
}

/** Of all points of a chain; one that several points name comes several times. */
export function* segmentsOfChain(state: Pick<ChainState, 'points'>): Generator<SegmentRef, void, undefined> {
  for (const { disks } of state.points) for (const disk of disks) yield* segmentsOf(disk)
}

/** What shows of a disk's runs at a point, as one list. @throws as {@link readRun} */
export async function readDiskRuns(
  store: StoreReader,
  machine: string,
  disk: DiskState,
  packs: PackTable,
): Promise<ExtentList> {
  if (disk.folded === undefined) return readRun(store, machine, disk.run, packs)
  return overlayAll(await readLayers(store, machine, runsOf(disk), packs))
}

/**
 * The same piece by piece, in the order of the disk: each is read when it is called. Memory: the newer runs, which are few extents beside
 * those of the oldest, and a segment of that for each piece that is under way.
 */
export function* piecesOf(
  store: StoreReader,
  machine: string,
  disk: DiskState,
  packs: PackTable,
): Generator<() => Promise<ExtentList>, void, undefined> {
  const [oldest, ...newer] = runsOf(disk)
  if (oldest === undefined) return
  if (newer.length === 0) {
    for (const segment of oldest.run.segments) yield () => readSegment(store, machine, segment, packs)
    return
  }
  const olderEnd = Math.min(...newer.map((layer) => layer.sizeBytes))
  let reading: Promise<ExtentList> | undefined
  const changes = (): Promise<ExtentList> =>
    (reading ??= readLayers(store, machine, newer, packs).then((layers) => overlayAll(layers)))
  for (const { segment, start, end } of zonesOf(oldest.run))
    yield async () => {
      const changed = (await changes()).slice(start, end)
      return overlay(await readSegment(store, machine, segment, packs), changed, olderEnd)
    }
  if (oldest.run.segments.length === 0) yield changes
}

/** A segment's zone reaches to the next one's begin, so that every change falls into exactly one; none without segments. */
export function* zonesOf({
  segments,
}: RunRef): Generator<
  { readonly segment: SegmentRef; readonly start: number; readonly end: number },
  void,
  undefined
> {
  for (const [i, segment] of segments.entries())
    yield { segment, start: i === 0 ? 0 : segment.start, end: segments[i + 1]?.start ?? Infinity }
}

/** Runs that are read at once. */
const RUNS_IN_FLIGHT = 16

/** The extents of some runs, in their order. @throws as {@link readRun} */
export async function readLayers(
  store: StoreReader,
  machine: string,
  layers: readonly RunLayer[],
  packs: PackTable,
  cost?: ReadCost,
): Promise<Layer[]> {
  const read = inOrder(layers, RUNS_IN_FLIGHT, async ({ run, sizeBytes }) => ({
    extents: await readRun(store, machine, run, packs, 0, Infinity, cost),
    sizeBytes,
  }))
  const lists: Layer[] = []
  for await (const layer of read) lists.push(layer)
  return lists
}
