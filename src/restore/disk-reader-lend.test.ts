import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { diskLike, KIB, MIB, noise, overwritten } from '../../test/disk-bytes.js'
import { backUpBytes, openInMemory } from '../../test/memory-repository.js'
import { expectSame } from '../../test/workspace.js'
import { Repository } from '../chain/repository.js'
import { MemoryIndex } from '../index/memory-index.js'
import { ThreadCrew } from '../pack/crew.js'
import { QUICK_READ_BYTES_MAX, READ_ROOM_BYTES } from '../pack/read-room.js'
import { LocalStore } from '../store/local-store.js'
import { MemoryStore } from '../store/memory-store.js'
import { DiskReader, type LentBytes } from './disk-reader.js'

async function readerOf(repository: Repository): Promise<DiskReader> {
  const head = await repository.chains.get('m')
  return DiskReader.open(repository, head, head.state.points.length - 1, 'vda')
}

describe('what a disk reader lends, of a store in a folder', () => {
  const SIZE = 12 * MIB + 12_345
  // Compressed and not, with zeros between, and a point that covers only parts of another.
  const first = Buffer.concat([diskLike('lent', 7 * MIB), noise('lent', SIZE - 7 * MIB)])
  const disk = overwritten(first, 3 * MIB - 77, noise('newer', 300 * KIB))
  const crew = new ThreadCrew(2)
  let folder: string
  let store: LocalStore
  let repository: Repository

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'everfold-lend-'))
    store = await LocalStore.open(folder)
    await Repository.init(store, { packSize: MIB })
    repository = await reopened()
    await backUpBytes(repository, 'm', first)
    await backUpBytes(repository, 'm', disk, { feed: [[3 * MIB - 77, 300 * KIB]] })
  })
  afterAll(async () => {
    await crew.close()
    await store.close()
    await rm(folder, { recursive: true, force: true })
  })

  it('is what was backed up, by many at once, wherever it lies', async () => {
    let quick = 0
    const range = fc.record({ offset: fc.nat(SIZE), length: fc.oneof(fc.nat(9000), fc.nat(400 * KIB)) })
    await fc.assert(
      fc.asyncProperty(fc.array(range, { minLength: 1, maxLength: 20 }), async (ranges) => {
        const fresh = await reopened()
        const reader = await readerOf(fresh)
        // The first reads of a pack find its directory not in memory yet.
        for (let at = 0; at < SIZE; at += 512 * KIB) (await reader.lend(at, 1)).release()
        await Promise.all(
          ranges.map(async ({ offset, length: wanted }) => {
            const length = Math.min(wanted, SIZE - offset)
            const lent = await reader.lend(offset, length)
            expectSame(lent.bytes, disk.subarray(offset, offset + length), `lent ${offset}+${length}`)
            lent.release()
          }),
        )
        quick += fresh.quickReads.done
        reader.close()
      }),
      { numRuns: 12 },
    )
    expect(quick).toBeGreaterThan(50)
  })

  it('comes without being asked for again when all of the room is taken', async () => {
    const reader = await readerOf(repository)
    const held: LentBytes[] = []
    const count = READ_ROOM_BYTES / QUICK_READ_BYTES_MAX + 5
    for (let i = 0; i < count; i++) held.push(await reader.lend(i * KIB, QUICK_READ_BYTES_MAX))
    for (const [i, { bytes }] of held.entries())
      expectSame(bytes, disk.subarray(i * KIB, i * KIB + QUICK_READ_BYTES_MAX), `held ${i}`)
    const memory = new Set(held.map(({ bytes }) => bytes.buffer))
    expect(memory.size).toBe(6)
    for (const lent of held) lent.release()
    const after = await reader.lend(MIB, KIB)
    expect(memory).toContain(after.bytes.buffer)
    after.release()
    reader.close()
  })

  it('is never other bytes than were backed up: damage is told, and what heals is read again', async () => {
    // Of its own: what another decoded before is still as good as it was.
    const fresh = await reopened()
    const reader = await readerOf(fresh)
    const key = (await fresh.catalog.directory(reader.extents.packs.idOf(packAt(reader, 9 * MIB)))).key
    const file = await open(join(folder, key), 'r+')
    const { size } = await file.stat()
    const whole = Buffer.alloc(size)
    await file.read(whole, 0, size, 0)
    // All but the directory at its end.
    const bad = Buffer.from(whole.subarray(0, size - 20_000)).fill(0x55, 64)
    await file.write(bad, 0, bad.length, 0)
    await expect(reader.lend(9 * MIB, 64 * KIB)).rejects.toMatchObject({
      code: 'DATA_DAMAGED',
      details: { disk: 'vda' },
    })
    await file.write(whole, 0, size, 0)
    await file.close()
    const lent = await reader.lend(9 * MIB, 64 * KIB)
    expectSame(lent.bytes, disk.subarray(9 * MIB, 9 * MIB + 64 * KIB), 'after it healed')
    lent.release()
    reader.close()
  })

  /** With nothing in its memory. */
  function reopened(): Promise<Repository> {
    return Repository.open({ store, crew, openIndex: async () => new MemoryIndex() })
  }

  function packAt(reader: DiskReader, offset: number): number {
    return reader.extents.pack[reader.extents.indexAt(offset)] ?? -1
  }
})

it('lends what it reads the long way, where a store has no files', async () => {
  const store = new MemoryStore()
  await Repository.init(store, {})
  const repository = await openInMemory(store)
  const disk = diskLike('in memory', MIB)
  await backUpBytes(repository, 'm', disk)
  const reader = await readerOf(repository)
  const { bytes, release } = await reader.lend(KIB, 64 * KIB)
  expectSame(bytes, disk.subarray(KIB, 65 * KIB), 'lent')
  release()
  expect(repository.quickReads.done).toBe(0)
  await expect(reader.lend(0, MIB + 1)).rejects.toThrow(RangeError)
  reader.close()
})
