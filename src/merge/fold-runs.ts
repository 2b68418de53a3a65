import type { RunLayer } from '../chain/chain-state.js'
import { readLayers, zonesOf } from '../chain/disk-runs.js'
import { ExtentList } from '../chain/extent-list.js'
import { overlay, overlayAll } from '../chain/overlay.js'
import { PackTable } from '../chain/pack-table.js'
import type { WorkPins } from '../chain/pins.js'
import {
  type ReadCost,
  type RunRef,
  readSegment,
  SEGMENT_EXTENTS_MAX,
  type SegmentRef,
  writeRun,
} from '../chain/run-store.js'
import { inOrder } from '../in-order.js'
import type { StoreWriter } from '../store/store.js'

/** Bytes of segments really read and written. */
export interface FoldCost extends ReadCost {
  writtenBytes: number
}

/** A clean segment next to rewritten ones is taken along when those have fewer extents than this share of one: segments stay few and large. */
const SMALL_SHARE = 1 / 32
/** Segments that are being written while the next is read and overlaid. */
const WRITES_IN_FLIGHT = 3

/**
 * Folds runs, oldest first, into one. Only the segments of the oldest that the newer ones reach into are read and written
 * again; the others are named as they are. Memory: the newer runs, and a few segments of the oldest at a time.
 * @param segmentExtents  of one segment, at most
 */
export async function foldRuns(
  store: StoreWriter,
  machine: string,
  layers: readonly RunLayer[],
  pins: WorkPins,
  cost: FoldCost,
  segmentExtents = SEGMENT_EXTENTS_MAX,
): Promise<RunRef> {
  const [oldest, ...newer] = layers
  if (oldest === undefined || newer.length === 0) throw new RangeError('fold takes two runs or more')
  const packs = new PackTable()
  const changes = overlayAll(await readLayers(store, machine, newer, packs, cost))
  const olderEnd = Math.min(...newer.map((layer) => layer.sizeBytes))
  const folder = new Folder(store, machine, oldest.run, changes, packs, pins, cost, segmentExtents)
  return folder.fold(olderEnd)
}

class Folder {
  readonly #store: StoreWriter
  readonly #machine: string
  readonly #run: RunRef
  readonly #changes: ExtentList
  readonly #packs: PackTable
  readonly #pins: WorkPins
  readonly #cost: FoldCost
  readonly #segmentExtents: number
  /** Extents that belong between the last segment written and the next. */
  #open: ExtentList

  constructor(
    store: StoreWriter,
    machine: string,
    run: RunRef,
    changes: ExtentList,
    packs: PackTable,
    pins: WorkPins,
    cost: FoldCost,
    segmentExtents: number,
  ) {
    this.#store = store
    this.#machine = machine
    this.#run = run
    this.#changes = changes
    this.#packs = packs
    this.#pins = pins
    this.#cost = cost
    this.#segmentExtents = segmentExtents
    this.#open = new ExtentList(run.stride, packs)
  }

  async fold(olderEnd: number): Promise<RunRef> {
    const segments: SegmentRef[] = []
    const stored = inOrder(this.#pieces(olderEnd), WRITES_IN_FLIGHT, (piece) => this.#keep(piece))
    for await (const some of stored) segments.push(...some)
    return { stride: this.#run.stride, segments }
  }

  /** What the run consists of from now on: segments that stay, and extents that have to be written. */
  async *#pieces(olderEnd: number): AsyncGenerator<SegmentRef | ExtentList, void, undefined> {
    for (const { segment, start, end } of zonesOf(this.#run)) {
      const changes = this.#changes.slice(start, end)
      const clean = changes.length === 0 && segment.end <= olderEnd
      if (clean && (this.#open.length === 0 || this.#open.length >= this.#segmentExtents * SMALL_SHARE)) {
        if (this.#open.length > 0) yield this.#takeOpen()
        yield segment
        continue
      }
      const older = await readSegment(this.#store, this.#machine, segment, this.#packs, this.#cost)
      this.#append(overlay(older, changes, olderEnd))
      if (this.#open.length >= this.#segmentExtents) yield this.#takeOpen()
    }
    if (this.#run.segments.length === 0) this.#append(this.#changes)
    if (this.#open.length > 0) yield this.#takeOpen()
  }

  #append(list: ExtentList): void {
    if (this.#open.length === 0) this.#open = list
    else this.#open.appendAll(list)
  }

  #takeOpen(): ExtentList {
    const list = this.#open
    this.#open = new ExtentList(this.#run.stride, this.#packs)
    return list
  }

  async #keep(piece: SegmentRef | ExtentList): Promise<readonly SegmentRef[]> {
    if (!(piece instanceof ExtentList)) {
      this.#pins.pin(piece.id)
      return [piece]
    }
    const claim = (id: string): Promise<void> => this.#pins.claim(id)
    const { run, writtenBytes } = await writeRun(
      this.#store,
      this.#machine,
      piece,
      claim,
      this.#segmentExtents,
    )
    this.#cost.writtenBytes += writtenBytes
    return run.segments
  }
}
