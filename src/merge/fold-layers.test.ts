import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { KIB, noise } from '../../test/disk-bytes.js'
import { backUpBytes, objectsOf, openInMemory, restoreBytes } from '../../test/memory-repository.js'
import type { JoinLimits } from '../chain/disk-runs.js'
import { Repository } from '../chain/repository.js'
import { planDisk } from '../restore/plan.js'
import { verifyRepository } from '../restore/verify.js'
import { parsePackKey, runKey } from '../store/keys.js'
import { MemoryStore } from '../store/memory-store.js'
import { account, freedByRemoving } from './account.js'
import { deletePoint, foldTo } from './fold.js'
import { groupsOf } from './fold-layers.js'
import { collectGarbage } from './gc.js'

const limits: JoinLimits = { smallRun: 100, times: 8, above: 1000, between: 2 }
const group = (runs: readonly number[], some: Partial<JoinLimits> = {}): number[][] =>
  groupsOf(runs, (extents) => extents, { ...limits, ...some })

describe('which runs are joined', () => {
  it('all, where the oldest is small, or has little to do beside the others, or these are too many', () => {
    expect(group([100, 1])).toEqual([[100, 1]])
    expect(group([101, 1])).toEqual([[101], [1]])
    expect(group([800, 60, 40])).toEqual([[800, 60, 40]])
    expect(group([801, 60, 40])).toEqual([[801], [60, 40]])
    expect(group([1_000_000, 600, 400])).toEqual([[1_000_000], [600, 400]])
    expect(group([1_000_000, 600, 401])).toEqual([[1_000_000, 600, 401]])
  })

  it('those of about the same size, else', () => {
    expect(group([1e6, 10, 10])).toEqual([[1e6], [10, 10]])
    expect(group([1e6, 21, 10])).toEqual([[1e6], [21], [10]])
    expect(group([1e6, 60, 20, 10])).toEqual([[1e6], [60, 20, 10]])
    expect(group([1e6, 61, 20, 10])).toEqual([[1e6], [61], [20, 10]])
    expect(group([1e6, 0])).toEqual([[1e6], [0]])
    expect(group([])).toEqual([])
  })

  it('so that there are few, and each extent is written again only few times', () => {
    const everyTime = fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 1, maxLength: 400 })
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100_000 }), everyTime, (parent, children) => {
        let runs = [parent]
        let written = 0
        for (const child of children) {
          const groups = group([...runs, child], { above: 20_000 })
          expect(groups.flat()).toEqual([...runs, child])
          for (const joined of groups) if (joined.length > 1) written += sum(joined)
          runs = groups.map(sum)
          // Each of those on the oldest has over twice the extents of the next.
          for (let i = 1; i + 1 < runs.length; i++) expect(runs[i]).toBeGreaterThan(2 * (runs[i + 1] ?? 0))
        }
        const changed = sum(children)
        const small = children.length * limits.smallRun
        expect(written).toBeLessThanOrEqual(
          2 * small + changed * (limits.times + 2 + 2 * Math.log2(changed + 2)),
        )
      }),
    )
  })
})

function sum(numbers: readonly number[]): number {
  return numbers.reduce((all, number) => all + number, 0)
}

/** Folded runs stay as they are. */
const NEVER: JoinLimits = { smallRun: 0, times: 0, above: Infinity, between: 0 }
const CHUNK = 4 * KIB
const MACHINE = 'm'

async function repositoryOf(joinLimits: JoinLimits): Promise<Repository> {
  const store = new MemoryStore()
  await Repository.init(store, { chunkSize: CHUNK, frameSize: CHUNK, packSize: 64 * KIB })
  return openInMemory(store, { joinLimits })
}

/** A disk of 64 chunks, and changes to it that overlap: what each point has to give back, by its id. */
async function changing(repository: Repository, points: number): Promise<Map<string, Buffer>> {
  const pictures = new Map<string, Buffer>()
  let bytes = Buffer.from(noise('full', 64 * CHUNK))
  pictures.set(await backUpBytes(repository, MACHINE, bytes, { chunker: 'fixed' }), bytes)
  for (let n = 1; n < points; n++) {
    bytes = Buffer.from(bytes)
    const length = (1 + (n % 5)) * CHUNK
    const offset = ((n * 7) % 58) * CHUNK
    noise(`change ${n}`, length).copy(bytes, offset)
    pictures.set(await backUpBytes(repository, MACHINE, bytes, { feed: [[offset, length]] }), bytes)
  }
  return pictures
}

async function packsOf(repository: Repository): Promise<string[]> {
  return [...(await objectsOf(repository.store)).keys()].filter((key) => parsePackKey(key) !== undefined)
}

/** Rounds of collection until nothing is left to be removed. */
async function collectAll(repository: Repository): Promise<void> {
  for (let round = 0; round < 4; round++) await collectGarbage(repository)
}

async function foldedRuns(repository: Repository): Promise<number[]> {
  const { state } = await repository.chains.get(MACHINE)
  return state.points.map((point) => point.disks[0]?.folded?.length ?? 0)
}

async function expectPoints(repository: Repository, pictures: ReadonlyMap<string, Buffer>): Promise<void> {
  const { state } = await repository.chains.get(MACHINE)
  for (const { id } of state.points)
    expect((await restoreBytes(repository, MACHINE, id)).equals(pictures.get(id) ?? Buffer.of())).toBe(true)
}

describe('a point with runs that are not joined', () => {
  it('reads just the runs that it takes in, once, and writes none', async () => {
    const repository = await repositoryOf(NEVER)
    const pictures = await changing(repository, 5)
    const { state } = await repository.chains.get(MACHINE)
    const sizes: number[] = []
    for (const { disks } of state.points)
      sizes.push((await repository.store.size(runKey(MACHINE, disks[0]?.run.segments[0]?.id ?? ''))) ?? NaN)
    const { readBytes, writtenBytes, kept } = await foldTo(repository, MACHINE, 2)
    expect({ readBytes, writtenBytes, kept: kept.length }).toEqual({
      readBytes: sum(sizes.slice(1, 4)),
      writtenBytes: 0,
      kept: 2,
    })
    expect(await foldedRuns(repository)).toEqual([3, 0])
    await expectPoints(repository, pictures)
  })

  it('is the same as one that has a single run, for restores and for figures', async () => {
    const [apart, joined] = [await repositoryOf(NEVER), await repositoryOf({ ...NEVER, smallRun: Infinity })]
    for (const repository of [apart, joined]) {
      const pictures = await changing(repository, 12)
      const ids = [...pictures.keys()]
      // In the middle too: runs that do not cover the disk.
      for (const index of [3, 4, 7]) await deletePoint(repository, MACHINE, ids[index] ?? '')
      await foldTo(repository, MACHINE, 6)
      await expectPoints(repository, pictures)
    }
    expect((await foldedRuns(apart)).some((runs) => runs > 1)).toBe(true)
    expect((await foldedRuns(joined)).every((runs) => runs === 0)).toBe(true)
    const { machines: some, ...figures } = await account(apart)
    const { machines: others, ...same } = await account(joined)
    expect(figures).toEqual(same)
    const freed = (machines: typeof some): number[][] =>
      machines.map(({ points }) => points.map(({ freedBytes }) => freedBytes))
    expect(freed(some)).toEqual(freed(others))
    const freedTogether = async (repository: Repository): Promise<number> => {
      const { state } = await repository.chains.get(MACHINE)
      return freedByRemoving(repository, MACHINE, new Set(state.points.slice(0, 4).map(({ id }) => id)))
    }
    expect(await freedTogether(apart)).toBe(await freedTogether(joined))
  })

  it('needs only what shows: a collection gives back what its newer runs hide, and all points stay whole', async () => {
    const [apart, joined] = [await repositoryOf(NEVER), await repositoryOf({ ...NEVER, smallRun: Infinity })]
    for (const repository of [apart, joined]) {
      const pictures = await changing(repository, 20)
      await foldTo(repository, MACHINE, 2)
      const before = (await packsOf(repository)).length
      await collectAll(repository)
      expect((await packsOf(repository)).length).toBeLessThan(before)
      await expectPoints(repository, pictures)
      const { ok, damaged, objects } = await verifyRepository(repository, { sample: 1 })
      expect({ ok, damaged, objects }).toEqual({ ok: true, damaged: [], objects: [] })
    }
    const { deadBytes, storedBytes: _, packs: __, ...live } = await account(apart)
    const { deadBytes: others, storedBytes: ___, packs: ____, ...same } = await account(joined)
    expect(live.liveBytes).toBe(same.liveBytes)
    expect(deadBytes).toBe(others)
    expect((await foldedRuns(apart))[0]).toBeGreaterThan(10)
    // What is hidden names packs that are gone: it is left out when the runs are joined, and nobody misses it.
    const late = await openInMemory(apart.store, { joinLimits: { ...NEVER, smallRun: Infinity } })
    await foldTo(late, MACHINE, 1)
    expect(await foldedRuns(late)).toEqual([0])
    await collectAll(late)
    expect(await verifyRepository(late, { sample: 1 })).toMatchObject({ ok: true })
  })

  it('is damaged where a pack is lost that shows, and nowhere else', async () => {
    const repository = await repositoryOf(NEVER)
    const pictures = await changing(repository, 20)
    await foldTo(repository, MACHINE, 1)
    await collectAll(repository)
    const [newest] = [...pictures.keys()].slice(-1)
    for (const key of await packsOf(repository)) {
      const store = new MemoryStore()
      for (const [name, bytes] of await objectsOf(repository.store))
        if (name !== key) await store.put(name, [bytes])
      const without = await openInMemory(store, { joinLimits: NEVER })
      const { ok, damaged } = await verifyRepository(without, { sample: 1 })
      expect(ok).toBe(false)
      expect(damaged.length).toBeGreaterThan(0)
      expect(damaged.every(({ point }) => point === newest)).toBe(true)
    }
  })

  it('is found damaged where any of its runs is lost', async () => {
    const repository = await repositoryOf(NEVER)
    await changing(repository, 4)
    await foldTo(repository, MACHINE, 1)
    const objects = await objectsOf(repository.store)
    const { state } = await repository.chains.get(MACHINE)
    const [disk] = state.points[0]?.disks ?? []
    const segments = disk?.folded?.map(({ run }) => run.segments[0]?.id ?? '') ?? []
    expect(segments).toHaveLength(3)
    for (const id of segments) {
      const store = new MemoryStore()
      for (const [name, bytes] of objects) if (!name.endsWith(id)) await store.put(name, [bytes])
      const without = await openInMemory(store, { joinLimits: NEVER })
      const { ok, damaged } = await verifyRepository(without, { sample: 1 })
      expect({ ok, isDamaged: damaged.length > 0 }).toEqual({ ok: false, isDamaged: true })
      await expect(collectGarbage(without)).rejects.toMatchObject({ code: 'OBJECT_NOT_FOUND' })
    }
  })

  it('names a pack that is missing as well, where one of its runs is lost', async () => {
    const repository = await repositoryOf(NEVER)
    await changing(repository, 2)
    await foldTo(repository, MACHINE, 1)
    const { state } = await repository.chains.get(MACHINE)
    const [disk] = state.points[0]?.disks ?? []
    const run = disk?.run.segments[0]?.id ?? ''
    const [full] = disk?.folded?.[0]?.run.segments ?? []
    const store = new MemoryStore()
    const pack = (await packsOf(repository)).toSorted()
    for (const [name, bytes] of await objectsOf(repository.store))
      if (!name.endsWith(run) && !pack.includes(name)) await store.put(name, [bytes])
    const { objects } = await verifyRepository(await openInMemory(store, { joinLimits: NEVER }), {
      sample: 1,
    })
    const keys = objects.map(({ key }) => key)
    expect(keys).toContain(runKey(MACHINE, run))
    expect(full?.extents).toBeGreaterThan(0)
    // That of the change alone is not known to have been needed.
    expect(keys.filter((key) => pack.includes(key))).toHaveLength(pack.length - 1)
  })

  it('is not made from a run that is lost: the older point, which is whole, would go for it', async () => {
    const repository = await repositoryOf(NEVER)
    const pictures = await changing(repository, 4)
    const { state } = await repository.chains.get(MACHINE)
    const runs = state.points.map(({ disks }) => disks[0]?.run.segments[0]?.id ?? '')
    const without = async (id: string): Promise<Repository> => {
      const store = new MemoryStore()
      for (const [name, bytes] of await objectsOf(repository.store))
        if (!name.endsWith(id)) await store.put(name, [bytes])
      return openInMemory(store, { joinLimits: NEVER })
    }
    const [oldest] = pictures.keys()
    for (const [i, run] of runs.entries()) {
      const hurt = await without(run)
      const folding = foldTo(hurt, MACHINE, 2)
      // What the oldest lacks, no point has; what came after the point that is kept is not asked for.
      if (i === 0 || i === 3) expect((await folding).kept).toHaveLength(2)
      else {
        await expect(folding).rejects.toMatchObject({ code: 'OBJECT_NOT_FOUND' })
        expect(
          (await restoreBytes(hurt, MACHINE, oldest ?? '')).equals(pictures.get(oldest ?? '') ?? Buffer.of()),
        ).toBe(true)
      }
    }
  })

  it('gives back what its newer runs hide while it is being restored', async () => {
    const repository = await repositoryOf(NEVER)
    await changing(repository, 20)
    await foldTo(repository, MACHINE, 1)
    const { state } = await repository.chains.get(MACHINE)
    const { pins } = await planDisk(repository, state, 0, 'vda')
    const { condemnedObjects } = await collectGarbage(repository)
    pins.end()
    expect(condemnedObjects).toBeGreaterThan(0)
  })

  it('shows nothing beyond the end of a disk that shrank', async () => {
    const repository = await repositoryOf(NEVER)
    const large = Buffer.from(noise('large', 32 * CHUNK))
    const small = Buffer.from(large.subarray(0, 8 * CHUNK))
    await backUpBytes(repository, MACHINE, large, { chunker: 'fixed' })
    const last = await backUpBytes(repository, MACHINE, small, { feed: [] })
    await foldTo(repository, MACHINE, 1)
    expect(await foldedRuns(repository)).toEqual([1])
    expect(await account(repository)).toMatchObject({ uniqueBytes: 8 * CHUNK })
    await collectAll(repository)
    expect((await restoreBytes(repository, MACHINE, last)).equals(small)).toBe(true)
    expect(await verifyRepository(repository, { sample: 1 })).toMatchObject({ ok: true })
    const storedBytes = sum([...(await objectsOf(repository.store)).values()].map((bytes) => bytes.length))
    expect(storedBytes).toBeLessThan(16 * CHUNK)
  })

  it('shows nothing of a disk beyond the size that it had in between', async () => {
    const repository = await repositoryOf(NEVER)
    const large = Buffer.from(noise('large', 32 * CHUNK))
    const small = Buffer.from(large.subarray(0, 8 * CHUNK))
    const grown = Buffer.concat([small, Buffer.alloc(24 * CHUNK)])
    await backUpBytes(repository, MACHINE, large, { chunker: 'fixed' })
    await backUpBytes(repository, MACHINE, small, { feed: [] })
    await backUpBytes(repository, MACHINE, grown, { feed: [[8 * CHUNK, 24 * CHUNK]] })
    const last = await backUpBytes(repository, MACHINE, grown, { feed: [] })
    await foldTo(repository, MACHINE, 1)
    expect(await foldedRuns(repository)).toEqual([2])
    await collectAll(repository)
    expect((await restoreBytes(repository, MACHINE, last)).equals(grown)).toBe(true)
    expect(await verifyRepository(repository, { sample: 1 })).toMatchObject({ ok: true })
    const { uniqueBytes } = await account(repository)
    expect(uniqueBytes).toBe(8 * CHUNK)
  })
})
