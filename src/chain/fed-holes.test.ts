/** Holes of a real sparse file in what a feed names. */

import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { diskLike, MIB, noise } from '../../test/disk-bytes.js'
import { restoreBytes } from '../../test/memory-repository.js'
import type { ByteRange } from '../byte-range.js'
import { ByteExtents } from '../feed/byte-extents.js'
import { type DiskSource, openDiskSource } from '../feed/disk-source.js'
import { MemoryIndex } from '../index/memory-index.js'
import { InlineCrew } from '../pack/inline-crew.js'
import { MemoryStore } from '../store/memory-store.js'
import { backUp } from './backup.js'
import { Repository } from './repository.js'

/** So that a feed of 8 MiB is a large one. */
const BATCH = MIB
const SIZE = 24 * MIB + 777

let folder: string
let repository: Repository

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'everfold-test-'))
  const store = new MemoryStore()
  await Repository.init(store, {})
  repository = await Repository.open({
    store,
    crew: new InlineCrew(),
    openIndex: async () => new MemoryIndex(),
    batchBytes: BATCH,
  })
})
afterEach(() => rm(folder, { recursive: true }))

/** A file of which only these pieces of `bytes` were written. @returns what it holds */
async function writeSparse(bytes: Buffer, pieces: readonly ByteRange[]): Promise<Buffer> {
  const held = Buffer.alloc(bytes.length)
  const file = await open(join(folder, 'disk'), 'w')
  await file.truncate(bytes.length)
  for (const { offset, length } of pieces) {
    await file.write(bytes, offset, length, offset)
    bytes.copy(held, offset, offset, offset + length)
  }
  await file.close()
  return held
}

/** A source that tells what was read, and whether its holes were asked for. */
async function watched(): Promise<DiskSource & { readonly reads: ByteRange[]; asked: boolean }> {
  const source = await openDiskSource(join(folder, 'disk'))
  const { name, sizeBytes } = source
  const reads: ByteRange[] = []
  const watching = {
    name,
    sizeBytes,
    reads,
    asked: false,
    read: (into: Uint8Array, offset: number) => {
      reads.push({ offset, length: into.length })
      return source.read(into, offset)
    },
    holes: (grid: number) => {
      watching.asked = true
      return source.holes?.(grid) ?? Promise.resolve(ByteExtents.from([]))
    },
    checkUnchanged: () => source.checkUnchanged(),
    close: () => source.close(),
  }
  return watching
}

async function point(
  chunker: 'fixed' | 'cdc',
  feed?: readonly ByteRange[],
): Promise<{ id: string; reads: readonly ByteRange[]; asked: boolean; readBytes: number }> {
  const source = await watched()
  const disk = { id: 'vda', source, chunker, changed: feed && ByteExtents.from(feed) }
  const { point: id, readBytes } = await backUp(repository, { machine: 'm', disks: [disk] })
  await source.close()
  return { id, reads: source.reads, asked: source.asked, readBytes }
}

describe.each(['fixed', 'cdc'] as const)('a feed of a sparse file, cut %s', (chunker) => {
  it('names holes that are zeros without being read, and data beside them that is read', async () => {
    const before = diskLike('before', SIZE)
    await writeSparse(before, [{ offset: 0, length: SIZE }])
    const full = await point(chunker)
    const data = [
      { offset: 0, length: 100 },
      { offset: 5 * MIB + 3, length: MIB },
      { offset: 20 * MIB, length: SIZE - 20 * MIB },
    ]
    const after = await writeSparse(noise('after', SIZE), data)
    const feed = [{ offset: 0, length: 12 * MIB + 5 }]
    const one = await point(chunker, feed)
    expect(one).toMatchObject({ asked: true, readBytes: 12 * MIB + 5 })
    // The data, and what lies beside it on the grid.
    const readBytes = one.reads.reduce((sum, { length }) => sum + length, 0)
    expect(readBytes).toBeGreaterThanOrEqual(MIB + 100)
    expect(readBytes).toBeLessThanOrEqual(MIB + 4 * 64 * 1024)
    after.set(before.subarray(12 * MIB + 5), 12 * MIB + 5)
    expect((await restoreBytes(repository, 'm', one.id)).equals(after)).toBe(true)
    expect((await restoreBytes(repository, 'm', full.id)).equals(before)).toBe(true)
  })

  it('is all read where it is short', async () => {
    const before = diskLike('before', SIZE)
    await writeSparse(before, [{ offset: 0, length: SIZE }])
    await point(chunker)
    const after = await writeSparse(before, [{ offset: 8 * MIB, length: SIZE - 8 * MIB }])
    const one = await point(chunker, [{ offset: 0, length: 8 * MIB - 1 }])
    expect(one.asked).toBe(false)
    after.set(before.subarray(8 * MIB - 1, 8 * MIB), 8 * MIB - 1)
    expect((await restoreBytes(repository, 'm', one.id)).equals(after)).toBe(true)
  })

  it('holds what the disk has grown by, without being read where that is a hole', async () => {
    const small = diskLike('small', 3 * MIB + 11)
    await writeSparse(small, [{ offset: 0, length: small.length }])
    await point(chunker)
    const grown = Buffer.concat([small, Buffer.alloc(SIZE - small.length)])
    grown.write('the end', SIZE - 7)
    const after = await writeSparse(grown, [
      { offset: 0, length: small.length },
      { offset: SIZE - 7, length: 7 },
    ])
    const one = await point(chunker, [])
    expect(one.reads.reduce((sum, { length }) => sum + length, 0)).toBeLessThan(MIB)
    expect((await restoreBytes(repository, 'm', one.id)).equals(after)).toBe(true)
  })
})
