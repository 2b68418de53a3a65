import { describe, expect, it } from 'vitest'

import { samplePacks } from '../../test/format-extents.js'
import { ExtentList, ZEROS } from '../chain/extent-list.js'
import { overlay } from '../chain/overlay.js'
import type { PackTable } from '../chain/pack-table.js'
import { Pins } from '../chain/pins.js'
import { readRun, SEGMENT_EXTENTS_MAX, type SegmentRef, writeRun } from '../chain/run-store.js'
import { runKey } from '../store/keys.js'
import { MemoryStore } from '../store/memory-store.js'
import { foldRuns } from './fold-runs.js'

const CHUNK = 4096
/** Five segments of a few extents less than the most that there may be: changes soon divide them. */
const EXTENTS = 5 * (SEGMENT_EXTENTS_MAX - 3)
const DISK = EXTENTS * CHUNK

/** A disk each of whose chunks is of another pack than its neighbour. */
function scattered(packs: PackTable): ExtentList {
  const list = new ExtentList(CHUNK, packs, EXTENTS)
  for (let i = 0; i < EXTENTS; i++) list.append(i * CHUNK, CHUNK, i % 3, i % 1000, 0)
  return list
}

/** Zeros at these places, of half a chunk each: each divides an extent. */
function zerosAt(packs: PackTable, ...chunks: readonly number[]): ExtentList {
  const list = new ExtentList(CHUNK, packs)
  for (const chunk of chunks) list.append(chunk * CHUNK + 1024, 2048, ZEROS, 0, 0)
  return list
}

/** Folds changes into the disk. */
async function folding(changes: (packs: PackTable) => ExtentList, sizeBytes = DISK) {
  const store = new MemoryStore()
  const packs = samplePacks()
  const [older, newer] = [scattered(packs), changes(packs)]
  const pins = new Pins().begin()
  const write = async (list: ExtentList) => (await writeRun(store, 'm', list, async () => undefined)).run
  const before = await write(older)
  const layers = [
    { run: before, sizeBytes: DISK },
    { run: await write(newer), sizeBytes },
  ]
  const cost = { readBytes: 0, writtenBytes: 0 }
  const fold = async () => foldRuns(store, 'm', layers, pins, cost)
  return { store, packs, before, expected: overlay(older, newer, sizeBytes), fold, cost }
}

function expectSame(list: ExtentList, expected: ExtentList): void {
  expect(list.length).toBe(expected.length)
  for (const field of ['offset', 'size', 'pack', 'chunk', 'skip'] as const)
    expect(
      Buffer.compare(
        new Uint8Array(list[field].slice(0, list.length).buffer),
        new Uint8Array(expected[field].slice(0, list.length).buffer),
      ),
    ).toBe(0)
}

const idsOf = (segments: readonly SegmentRef[]): string[] => segments.map(({ id }) => id)

describe('a fold into a run of several segments', () => {
  it('writes those that changes reach into, in their order, and names the others as they are', async () => {
    const second = Math.ceil(EXTENTS / 5)
    const { store, packs, before, expected, fold, cost } = await folding((table) =>
      zerosAt(table, second - 1, 3 * second + 5, 3 * second + 500, 3 * second + 9000),
    )
    const run = await fold()
    expectSame(await readRun(store, 'm', run, packs), expected)
    const kept = idsOf(before.segments).filter((id) => idsOf(run.segments).includes(id))
    expect(kept).toEqual([1, 2, 4].map((n) => before.segments[n]!.id))
    // The fourth has more than fit into one now.
    expect(run.segments.length).toBe(6)
    expect(run.segments.every(({ extents }) => extents <= SEGMENT_EXTENTS_MAX)).toBe(true)
    const sizes = await Promise.all(
      run.segments.map(async ({ id }) =>
        kept.includes(id) ? 0 : (await store.readAll(runKey('m', id))).length,
      ),
    )
    expect(cost.writtenBytes).toBe(sizes.reduce((sum, size) => sum + size, 0))
  })

  it('writes all of them where changes reach into all, and cuts what lies beyond the end of the disk', async () => {
    const every = Array.from({ length: 400 }, (_, n) => Math.floor((n * EXTENTS) / 500))
    const { store, packs, expected, fold } = await folding((table) => zerosAt(table, ...every), DISK * 0.9)
    expectSame(await readRun(store, 'm', await fold(), packs), expected)
  })

  it('fails where a segment is lost, also while others are being written', async () => {
    const { store, before, fold } = await folding((table) => zerosAt(table, 10, EXTENTS - 10))
    await store.remove(runKey('m', before.segments[4]!.id))
    await expect(fold()).rejects.toMatchObject({ code: 'OBJECT_NOT_FOUND' })
  })
})
