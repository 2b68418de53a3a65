import type { DiskState, PointState } from '../src/chain/chain-state.js'
import { ExtentList } from '../src/chain/extent-list.js'
import type { PackTable } from '../src/chain/pack-table.js'
import type { Repository } from '../src/chain/repository.js'
import { type RunRef, writeRun } from '../src/chain/run-store.js'
import { bytesToHex } from '../src/checksum.js'
import { pointIdFrom } from '../src/ids.js'
import { KiB } from './image.js'
import type { SeededBytes } from './seeded-bytes.js'

/** What the engine makes of 64 KiB chunks and packs of 16 MiB, compressed by half. */
export const chunksPerPack = 512
export const gridBytes = 64 * KiB

/** Fast, repeatable, and random enough to scatter by (Marsaglia's xorshift32). */
export class Scatter {
  #state: number

  constructor(random: SeededBytes) {
    this.#state = random.next(4).readUInt32LE() | 1
  }

  /** A whole number from 0 to `limit` - 1. */
  below(limit: number): number {
    let x = this.#state
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    this.#state = x
    return Math.floor(((x >>> 0) / 2 ** 32) * limit)
  }
}

export function packIds(count: number, random: SeededBytes): string[] {
  return Array.from({ length: count }, () => bytesToHex(random.next(32)))
}

/**
 * A disk after years of scattered changes: each chunk in another pack than its neighbour. With stride 0 chunks have
 * the lengths that content gives them, 32 to 96 KiB.
 */
export function scatteredDisk(
  extents: number,
  stride: number,
  packs: PackTable,
  ids: readonly string[],
  scatter: Scatter,
): ExtentList {
  const list = new ExtentList(stride, packs, extents)
  let offset = 0
  let pack = 0
  for (let i = 0; i < extents; i += 1) {
    const length = stride === 0 ? gridBytes / 2 + scatter.below(gridBytes) : gridBytes
    pack = (pack + 1 + scatter.below(ids.length - 1)) % ids.length
    list.append(offset, length, packs.slotOf(ids[pack] ?? ''), scatter.below(chunksPerPack), 0)
    offset += length
  }
  return list
}

/** An incremental: blocks of 64 KiB on the grid at random places, new chunks one after the other in new packs. */
export function scatteredChanges(
  extents: number,
  stride: number,
  sizeBytes: number,
  packs: PackTable,
  random: SeededBytes,
): ExtentList {
  const blocks = Math.floor(sizeBytes / gridBytes)
  const scatter = new Scatter(random)
  const places = new Set<number>()
  while (places.size < Math.min(extents, blocks >> 1)) places.add(scatter.below(blocks))
  const ids = packIds(Math.ceil(places.size / chunksPerPack), random)
  const list = new ExtentList(stride, packs, places.size)
  for (const [i, place] of [...places].sort((a, b) => a - b).entries()) {
    const pack = packs.slotOf(ids[Math.floor(i / chunksPerPack)] ?? '')
    list.append(place * gridBytes, gridBytes, pack, i % chunksPerPack, 0)
  }
  return list
}

/** Writes a list as the run of a machine. */
export async function storeRun(repository: Repository, machine: string, list: ExtentList): Promise<RunRef> {
  return (await writeRun(repository.store, machine, list, async () => undefined)).run
}

export const syntheticDisk = 'disk'

export function syntheticPoint(
  random: SeededBytes,
  sizeBytes: number,
  run: RunRef,
  complete: boolean,
): PointState {
  const chunker = run.stride === 0 ? 'cdc' : 'fixed'
  const disk: DiskState = { id: syntheticDisk, sizeBytes, chunker, complete, run }
  return {
    id: pointIdFrom(random.next(8)),
    createdAt: new Date(0).toISOString(),
    disks: [disk],
    readBytes: 0,
    changedBytes: 0,
    newBytes: 0,
    storedBytes: 0,
    seconds: 0,
  }
}
