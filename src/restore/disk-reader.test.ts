import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { diskLike, KIB, MIB, noise, overwritten } from '../../test/disk-bytes.js'
import { backUpBytes, objectsOf, openInMemory, storeOf } from '../../test/memory-repository.js'
import { expectSame } from '../../test/workspace.js'
import { Repository } from '../chain/repository.js'
import { MemoryStore } from '../store/memory-store.js'
import { DiskReader, READ_AHEAD_BYTES } from './disk-reader.js'
import { FrameCache, frameCacheOf } from './disk-reader-frames.js'

async function readerOf(repository: Repository, point = 'latest'): Promise<DiskReader> {
  const head = await repository.chains.get('m')
  const index = point === 'latest' ? head.state.points.length - 1 : 0
  return DiskReader.open(repository, head, index, 'vda')
}

async function newStore(): Promise<MemoryStore> {
  const store = new MemoryStore()
  await Repository.init(store, { packSize: 65_536 * 4 })
  return store
}

describe.each(['cdc', 'fixed'] as const)('a disk reader (%s)', (chunker) => {
  const SIZE = 6 * MIB + 12_345
  const first = diskLike(`first ${chunker}`, SIZE)
  const second = overwritten(first, MIB - 77, noise('second', 300 * KIB))
  let repository: Repository

  beforeAll(async () => {
    repository = await openInMemory(await newStore())
    await backUpBytes(repository, 'm', first, { chunker })
    await backUpBytes(repository, 'm', second, { feed: [[MIB - 77, 300 * KIB]] })
  })

  it('reads any range of any point, as a whole and as a stream', async () => {
    const readers = [await readerOf(repository, 'parent'), await readerOf(repository)] as const
    const ranges = fc.record({
      newer: fc.boolean(),
      offset: fc.nat(SIZE),
      length: fc.oneof(fc.nat(10), fc.nat(70_000), fc.nat(SIZE)),
    })
    await fc.assert(
      fc.asyncProperty(ranges, async ({ newer, offset, length: wanted }) => {
        const reader = readers[newer ? 1 : 0]
        const length = Math.min(wanted, SIZE - offset)
        const expected = (newer ? second : first).subarray(offset, offset + length)
        expectSame(await reader.read(offset, length), expected, `read ${offset}+${length}`)
        const pieces: Uint8Array[] = []
        for await (const piece of reader.stream(offset, length)) pieces.push(piece.slice())
        expectSame(Buffer.concat(pieces), expected, `stream ${offset}+${length}`)
      }),
      { numRuns: 60 },
    )
    for (const reader of readers) reader.close()
  })

  it('refuses ranges that are not on the disk', async () => {
    const reader = await readerOf(repository)
    await expect(reader.read(SIZE, 1)).rejects.toThrow(RangeError)
    await expect(reader.read(-1, 1)).rejects.toThrow(RangeError)
    await expect(reader.read(0, Number.NaN)).rejects.toThrow(RangeError)
    await expect(reader.stream(1, SIZE).next()).rejects.toThrow(RangeError)
    reader.close()
  })
})

describe('memory', () => {
  it('is bounded: a stream that nobody takes from reads only a little ahead', async () => {
    const repository = await openInMemory(await newStore())
    await backUpBytes(repository, 'm', noise('much', 24 * MIB))
    const reader = await readerOf(repository)
    const stream = reader.stream(0, reader.sizeBytes)
    await stream.next()
    const cache = frameCacheOf(repository)
    while (cache.figures.bytes <= READ_AHEAD_BYTES / 2) await sleep(10)
    // Time for more, if it were to read more.
    await sleep(300)
    expect(cache.figures.bytes).toBeLessThan(2 * READ_AHEAD_BYTES)
    await stream.return(undefined)
    reader.close()
  })

  it('keeps no more decoded frames than its limit, and reads each once while it keeps them', async () => {
    const repository = await openInMemory(await newStore())
    await backUpBytes(repository, 'm', noise('frames', 4 * MIB))
    const reader = await readerOf(repository)
    const packId = reader.extents.packs.idOf(reader.extents.pack[0] ?? 0)
    const directory = await repository.catalog.directory(packId)
    const roomForOne = directory.framePlain[0] ?? 0
    const cache = new FrameCache(repository, roomForOne)
    await Promise.all([cache.frame(directory, 0), cache.frame(directory, 0)])
    await cache.frame(directory, 0)
    expect(cache.figures).toMatchObject({ misses: 1, hits: 2 })
    for (let frame = 0; frame < directory.frameCount; frame++) await cache.frame(directory, frame)
    expect(cache.figures.bytes).toBeLessThanOrEqual(roomForOne)
    reader.close()
  })

  it('is given back with the last reader, and used anew by the next one', async () => {
    const repository = await openInMemory(await newStore())
    await backUpBytes(repository, 'm', noise('given back', 4 * MIB))
    const cache = frameCacheOf(repository)
    const readers = [await readerOf(repository), await readerOf(repository)] as const
    await readers[0].read(0, 2 * MIB)
    readers[0].close()
    expect(cache.figures.bytes).toBeGreaterThan(0)
    readers[1].close()
    expect(cache.figures.bytes).toBe(0)
    const again = await readerOf(repository)
    await again.read(0, 2 * MIB)
    expect(cache.figures.bytes).toBeGreaterThan(0)
    again.close()
  })

  it('decodes only what is wanted of a frame at the first small read, and keeps all of it from the second on', async () => {
    const repository = await openInMemory(await newStore())
    const bytes = diskLike('touched', 2 * MIB)
    await backUpBytes(repository, 'm', bytes)
    const reader = await readerOf(repository)
    const cache = frameCacheOf(repository)
    const SMALL = 4 * KIB
    for (const at of [SMALL, 3 * SMALL])
      expectSame(await reader.read(at, SMALL), bytes.subarray(at, at + SMALL), `at ${at}`)
    const { bytes: kept, misses, hits } = cache.figures
    expect({ misses, hits }).toEqual({ misses: 2, hits: 0 })
    expect(kept).toBeGreaterThan(SMALL)
    expectSame(await reader.read(0, SMALL), bytes.subarray(0, SMALL), 'from the frame that is kept')
    expect(cache.figures).toMatchObject({ misses: 2, hits: 1 })
    reader.close()
  })

  it('does not remember for ever which frames were read a little of', async () => {
    const repository = await openInMemory(await newStore())
    await backUpBytes(repository, 'm', noise('forgotten', 4 * MIB))
    const reader = await readerOf(repository)
    const directory = await repository.catalog.directory(
      reader.extents.packs.idOf(reader.extents.pack[0] ?? 0),
    )
    expect(directory.frameCount).toBeGreaterThan(1)
    const framePlain = directory.framePlain[0] ?? 0
    const cache = new FrameCache(repository, framePlain * 4)
    expect(cache.wantsWhole(directory, 0, 0, 100)).toBe(false)
    expect(cache.wantsWhole(directory, 1, framePlain, 100)).toBe(false)
    expect(cache.wantsWhole(directory, 0, 0, 100)).toBe(false)
    expect(cache.wantsWhole(directory, 0, 0, 100)).toBe(true)
    expect(cache.wantsWhole(directory, 0, 0, framePlain)).toBe(true)
    reader.close()
  })

  it('takes a frame as a whole for small reads that go on from each other, not for those here and there', async () => {
    const repository = await openInMemory(await newStore())
    await backUpBytes(repository, 'm', noise('onwards', MIB))
    const reader = await readerOf(repository)
    const directory = await repository.catalog.directory(
      reader.extents.packs.idOf(reader.extents.pack[0] ?? 0),
    )
    const cache = new FrameCache(repository)
    const [, second = 0, third = 0, fourth = 0] = directory.chunkStart
    const wants = (position: number): boolean => cache.wantsWhole(directory, 0, position, 100)
    expect([wants(second), wants(0), wants(fourth), wants(second), wants(third)]).toEqual([
      false,
      false,
      false,
      false,
      true,
    ])
    expect([wants(second), wants(second + 200)]).toEqual([false, true])
    reader.close()
  })

  it('ends a stream when it is told to', async () => {
    const repository = await openInMemory(await newStore())
    await backUpBytes(repository, 'm', noise('ended', 2 * MIB))
    const reader = await readerOf(repository)
    const stop = new AbortController()
    const stream = reader.stream(0, reader.sizeBytes, stop.signal)
    await stream.next()
    stop.abort(new Error('enough'))
    await expect(stream.next()).rejects.toThrow('enough')
    reader.close()
  })
})

describe('damage', () => {
  it('fails the reads that meet it before a wrong byte, names it, and leaves all other bytes readable', async () => {
    const bytes = noise('damaged', 2 * MIB)
    const sound = await newStore()
    await backUpBytes(await openInMemory(sound), 'm', bytes, { chunker: 'fixed' })
    const objects = await objectsOf(sound)
    const [key, pack] = [...objects].find(([name]) => name.startsWith('packs/')) ?? ['', new Uint8Array()]
    const broken = pack.slice()
    broken[100_000] = (broken[100_000] ?? 0) ^ 1
    const repository = await openInMemory(await storeOf(objects.set(key, broken)))
    const reader = await readerOf(repository)
    let lost = 0
    for (let offset = 0; offset < bytes.length; offset += 64 * KIB) {
      try {
        expectSame(await reader.read(offset, 64 * KIB), bytes.subarray(offset, offset + 64 * KIB), 'a read')
      } catch (error) {
        expect(error).toMatchObject({
          code: 'DATA_DAMAGED',
          details: { machine: 'm', disk: 'vda', lost: [{ offset, length: 64 * KIB }] },
        })
        lost++
      }
    }
    expect(lost).toBe(1)
    let at = 0
    const whole = async (): Promise<void> => {
      for await (const piece of reader.stream(0, bytes.length)) {
        expectSame(piece, bytes.subarray(at, at + piece.length), `stream at ${at}`)
        at += piece.length
      }
    }
    await expect(whole()).rejects.toMatchObject({ code: 'DATA_DAMAGED' })
    reader.close()
  })

  it('of a pack that is gone is told the same way', async () => {
    const sound = await newStore()
    await backUpBytes(await openInMemory(sound), 'm', noise('gone', MIB))
    const objects = await objectsOf(sound)
    for (const key of objects.keys()) if (key.startsWith('packs/')) objects.delete(key)
    const reader = await readerOf(await openInMemory(await storeOf(objects)))
    await expect(reader.read(0, 10)).rejects.toMatchObject({ code: 'DATA_DAMAGED' })
    reader.close()
  })
})
