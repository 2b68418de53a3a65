import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SeededBytes } from '../../bench/seeded-bytes.js'
import { diskLike, KIB, MIB, noise, overwritten } from '../../test/disk-bytes.js'
import { backUpBytes, openInMemory, restoreBytes } from '../../test/memory-repository.js'
import type { ByteRange } from '../byte-range.js'
import { ByteExtents } from '../feed/byte-extents.js'
import { type DiskSource, openDiskSource } from '../feed/disk-source.js'
import { someHoles } from '../simulate/some-holes.js'
import { MemoryStore } from '../store/memory-store.js'
import { backUp, loadBase } from './backup.js'
import { differences } from './differences.js'
import { Repository } from './repository.js'

const CHUNK = 16 * KIB
const BATCH = 128 * KIB

let repository: Repository
let readBytes: number
/** What was in a hole, and not zeros before. */
let cleared: ByteRange[]
let folder: string

beforeEach(async () => {
  const store = new MemoryStore()
  await Repository.init(store, { chunkSize: CHUNK })
  repository = await openInMemory(store)
  folder = await mkdtemp(join(tmpdir(), 'everfold-test-'))
})

afterEach(() => rm(folder, { recursive: true }))

/** What differs from machine `m`'s newest point. */
async function differing(
  bytes: Buffer,
  source: Source = memory(bytes),
  holes = ByteExtents.from([]),
): Promise<ByteRange[]> {
  const { state } = await repository.chains.get('m')
  const disk = state.points.at(-1)?.disks[0]
  const pins = repository.pins.begin()
  const base = disk && (await loadBase(repository, state, disk, pins))
  if (base === undefined) throw new Error('there is a point')
  readBytes = 0
  cleared = []
  const found: ByteRange[] = []
  const settings = {
    crew: repository.crew,
    batchBytes: BATCH,
    chunkSize: CHUNK,
    holes,
    onCleared: (range: ByteRange) => cleared.push(range),
    onRead: () => undefined,
  }
  for await (const range of differences({ base, source, sizeBytes: bytes.length, ...settings }))
    found.push(range)
  pins.end()
  return found
}

/** Both together, in order; they must not overlap. */
function withCleared(ranges: readonly ByteRange[]): ByteRange[] {
  const all = [...ranges, ...cleared].sort((a, b) => a.offset - b.offset)
  for (const [i, { offset }] of all.entries()) {
    const before = all[i - 1]
    if (before !== undefined) expect(before.offset + before.length).toBeLessThanOrEqual(offset)
  }
  return all
}

const UNWATCHED = { checkUnchanged: async () => undefined, close: async () => undefined }

type Source = Pick<DiskSource, 'read' | 'descriptor'>

function memory(bytes: Buffer): Source {
  return {
    read: async (into: Uint8Array, offset: number): Promise<void> => {
      into.set(bytes.subarray(offset, offset + into.length))
      readBytes += into.length
    },
  }
}

/** The same by another way: threads read from the file themselves. */
async function differingInFile(bytes: Buffer): Promise<ByteRange[]> {
  const path = join(folder, 'disk')
  await writeFile(path, bytes)
  const source = await openDiskSource(path)
  try {
    return await differing(bytes, source)
  } finally {
    await source.close()
  }
}

/** Everything that differs is within the ranges, which are in order, apart, and no longer at either end than a chunk. */
function expectCover(ranges: readonly ByteRange[], before: Buffer, now: Buffer): void {
  let at = 0
  for (const { offset, length } of ranges) {
    expect(offset).toBeGreaterThanOrEqual(at)
    expect(length).toBeGreaterThan(0)
    expect(before.subarray(at, offset).equals(now.subarray(at, offset))).toBe(true)
    for (const from of [offset, Math.max(offset, offset + length - CHUNK)]) {
      const to = Math.min(from + CHUNK, offset + length)
      expect(before.subarray(from, to).equals(now.subarray(from, to))).toBe(false)
    }
    at = offset + length
  }
  expect(before.subarray(at, now.length).equals(now.subarray(at))).toBe(true)
}

describe('differences from the previous point', () => {
  it('are none where nothing changed, and everything was read once', async () => {
    const disk = Buffer.concat([diskLike('disk', 3 * MIB), Buffer.alloc(MIB + 5), noise('end', 1000)])
    await backUpBytes(repository, 'm', disk)
    expect(await differing(disk)).toEqual([])
    expect(readBytes).toBe(disk.length)
    expect(await differingInFile(disk)).toEqual([])
  })

  it('are found without reading what is a hole now and was zeros', async () => {
    const data = diskLike('disk', MIB)
    const disk = Buffer.concat([data, Buffer.alloc(4 * MIB), data, Buffer.alloc(MIB)])
    await backUpBytes(repository, 'm', disk)
    const holes = ByteExtents.from([
      { offset: MIB, length: 4 * MIB },
      { offset: 6 * MIB, length: MIB },
    ])
    expect(await differing(disk, memory(disk), holes)).toEqual([])
    // Chunks that were cut by content end where they like, so a little of what is around the holes is read.
    expect(readBytes).toBeLessThan(3 * MIB)
    // What was data and is a hole now did change, and is known to be zeros.
    const trimmed = overwritten(disk, 5 * MIB, Buffer.alloc(MIB))
    const all = ByteExtents.from([{ offset: MIB, length: 6 * MIB }])
    const ranges = await differing(trimmed, memory(trimmed), all)
    expectCover(withCleared(ranges), disk, trimmed)
    expect(cleared.reduce((sum, { length }) => sum + length, 0)).toBeGreaterThan(MIB / 2)
    expect(readBytes).toBeLessThan(MIB + 4 * CHUNK)
  })

  it('are found in steps of holes and extents, not of chunks, however large a thin disk is', async () => {
    const sizeBytes = 2 ** 50
    const data = noise('data', 3 * CHUNK)
    const source = {
      ...UNWATCHED,
      name: 'thin',
      sizeBytes,
      read: async (into: Uint8Array, offset: number): Promise<void> => {
        for (let at = 0; at < into.length; at++) into[at] = data[offset + at - 2 ** 49] ?? 0
      },
      holes: async () =>
        ByteExtents.from([
          { offset: 0, length: 2 ** 49 },
          { offset: 2 ** 49 + data.length, length: sizeBytes - 2 ** 49 - data.length },
        ]),
    }
    const points = []
    for (let i = 0; i < 3; i++) {
      const disk = { id: 'vda', source, changed: undefined }
      points.push(await backUp(repository, { machine: 'm', disks: [disk] }))
    }
    expect(points.map(({ changedBytes }) => changedBytes)).toEqual([sizeBytes, 0, 0])
  })

  it('are what holes and data make of it, wherever they begin and end', async () => {
    const random = new SeededBytes('holes')
    const size = 40 * CHUNK + 777
    const edge = (): number => (random.below(3) === 0 ? random.below(size) : CHUNK * random.below(40))
    let disk = diskLike('disk', size)
    await backUpBytes(repository, 'm', disk)
    for (let round = 0; round < 60; round++) {
      let next = disk
      for (let i = random.below(4); i > 0; i--) {
        const [from, to] = [edge(), edge()].sort((a, b) => a - b) as [number, number]
        const length = Math.min(to - from, 5 * CHUNK)
        next = overwritten(next, from, random.below(3) > 0 ? Buffer.alloc(length) : random.next(length))
      }
      if (random.below(5) === 0) next = next.subarray(0, size - random.below(3 * CHUNK))
      else if (next.length < size) next = Buffer.concat([next, Buffer.alloc(size - next.length)])
      const holes = holesAnywhere(next, random)
      const ranges = await differing(next, memory(next), holes)
      const compared = Buffer.concat([disk, Buffer.alloc(Math.max(0, next.length - disk.length), 'x')])
      expectCover(withCleared(ranges), compared, next)
      for (const { offset, length } of cleared)
        expect(next.subarray(offset, offset + length).equals(Buffer.alloc(length))).toBe(true)
      const source = { ...memory(next), name: 'disk', sizeBytes: next.length, holes: async () => holes }
      const request = { id: 'vda', source: { ...source, ...UNWATCHED }, changed: undefined }
      const { point } = await backUp(repository, { machine: 'm', disks: [request] })
      expect((await restoreBytes(repository, 'm', point)).equals(next)).toBe(true)
      disk = Buffer.from(next)
    }
  })

  it('are the chunks that changed, however the previous point came to be', async () => {
    const random = new SeededBytes('differences')
    let disk = diskLike('disk', 2 * MIB)
    await backUpBytes(repository, 'm', disk)
    for (let round = 0; round < 25; round++) {
      let next = disk
      const feed: [number, number][] = []
      for (let i = random.below(6); i > 0; i--) {
        const length = 1 + random.below(random.below(2) === 0 ? 600 : 100 * KIB)
        const offset = random.below(next.length - length)
        next = overwritten(next, offset, random.below(3) === 0 ? Buffer.alloc(length) : random.next(length))
        feed.push([offset, length])
      }
      const size = random.below(4) === 0 ? next.length + random.below(200 * KIB) - 100 * KIB : next.length
      next =
        size > next.length ? Buffer.concat([next, random.next(size - next.length)]) : next.subarray(0, size)
      const compared = Buffer.concat([disk, Buffer.alloc(Math.max(0, size - disk.length), 'x')])
      const ranges = await differing(next)
      expectCover(ranges, compared, next)
      expect(await differingInFile(next)).toEqual(ranges)
      const read = await differing(next, memory(next), someHoles(next, CHUNK))
      expectCover(withCleared(read), compared, next)
      // Half of the points have edges where no content was cut.
      const merged = random.below(2) === 0 ? undefined : mergedFeed(feed, size)
      const point = await backUpBytes(repository, 'm', next, merged && { feed: merged })
      expect((await restoreBytes(repository, 'm', point)).equals(next)).toBe(true)
      disk = Buffer.from(next)
    }
  })

  it('are not known of a file that cannot be read as far as it was: it says so', async () => {
    const disk = diskLike('disk', 3 * MIB)
    await backUpBytes(repository, 'm', disk)
    const path = join(folder, 'disk')
    await writeFile(path, disk)
    const source = await openDiskSource(path)
    await truncate(path, 2 * MIB + 5)
    await expect(differing(disk, source)).rejects.toMatchObject({ code: 'SOURCE_CHANGED' })
    await source.close()
    await expect(differing(disk, source)).rejects.toMatchObject({ code: 'SOURCE_FAILED' })
  })

  it('are all of a disk of which nothing can be read back', async () => {
    const disk = diskLike('disk', MIB)
    await backUpBytes(repository, 'm', disk)
    for await (const { key } of repository.store.list('packs/')) await repository.store.remove(key)
    const reopened = await openInMemory(repository.store)
    repository = reopened
    const ranges = await differing(disk)
    expect(ranges.reduce((sum, { length }) => sum + length, 0)).toBeGreaterThan(MIB / 2)
    await backUpBytes(repository, 'm', disk)
    expect((await restoreBytes(repository, 'm', 'latest')).equals(disk)).toBe(true)
  })
})

/** Some of what is zeros, whole or in part. */
function holesAnywhere(bytes: Buffer, random: SeededBytes): ByteExtents {
  const holes: ByteRange[] = []
  for (let at = 0; at < bytes.length; ) {
    if (bytes[at] !== 0) {
      at++
      continue
    }
    let end = at
    while (end < bytes.length && bytes[end] === 0) end++
    const from = at + random.below(2) * random.below(end - at)
    const to = end - random.below(2) * random.below(end - from)
    if (to - from > 64 && random.below(4) > 0) holes.push({ offset: from, length: to - from })
    at = end
  }
  return ByteExtents.from(holes)
}

function mergedFeed(feed: readonly [number, number][], size: number): [number, number][] {
  const merged: [number, number][] = []
  for (const [offset, length] of [...feed].sort(([a], [b]) => a - b)) {
    const end = Math.min(offset + length, size)
    const last = merged.at(-1)
    if (offset >= end) continue
    if (last !== undefined && offset <= last[0] + last[1]) last[1] = Math.max(last[1], end - last[0])
    else merged.push([offset, end - offset])
  }
  return merged
}
