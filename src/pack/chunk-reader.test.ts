import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { flipped, packBytes, packOf, sampleChunks } from '../../test/format-samples.js'
import { MemoryStore } from '../store/memory-store.js'
import { PackCatalog } from './catalog.js'
import { ChunkReader, planTasks, type ReadTask, type Span, TASK_PLAIN_MAX } from './chunk-reader.js'
import { InlineCrew } from './inline-crew.js'
import type { SealedPack } from './pack-builder.js'
import { type PackDirectory, plainPosition } from './pack-format.js'

const KiB = 1024

/** The directory of a pack with these chunks and frames, not compressed, without their bytes. */
function shapeOf(id: string, frames: readonly (readonly number[])[]): PackDirectory {
  const lengths = frames.flat()
  const sums = (values: readonly number[], from: number): number[] =>
    values.reduce((all, value) => [...all, all.at(-1)! + value], [from])
  const plain = frames.map((frame) => frame.reduce((sum, length) => sum + length, 0))
  return {
    id: id.repeat(64),
    generation: 0,
    key: '',
    base: 0,
    sizeBytes: 0,
    frameCount: frames.length,
    chunkCount: lengths.length,
    frameOffset: Float64Array.from(sums(plain, 8)),
    framePlain: Uint32Array.from(plain),
    frameCrc: new Uint32Array(frames.length),
    frameCodec: new Uint8Array(frames.length),
    frameFirst: Uint32Array.from(
      sums(
        frames.map((frame) => frame.length),
        0,
      ),
    ),
    chunkLength: Uint32Array.from(lengths),
    chunkStart: Float64Array.from(sums(lengths, 0)),
    present: new Uint8Array(Math.ceil(lengths.length / 8)).fill(0xff),
    hashes: new Uint8Array(lengths.length * 32),
  }
}

/** What each byte of the targets gets: its place in a pack. Throws if two pieces write one byte of a target. */
function delivered(tasks: readonly ReadTask[], directories: readonly PackDirectory[]): Map<number, string> {
  const result = new Map<number, string>()
  for (const task of tasks) {
    const directory = directories.find((one) => one.id === task.packId)!
    const places: string[] = []
    for (const chunk of task.chunks)
      for (let i = 0; i < directory.chunkLength[chunk]!; i++)
        places.push(`${task.packId[0] ?? ''} ${directory.chunkStart[chunk]! + i}`)
    expect(places.length).toBe(task.plainBytes)
    for (const piece of task.pieces)
      for (let i = 0; i < piece.length; i++) {
        expect(result.has(piece.target + i)).toBe(false)
        result.set(piece.target + i, places[piece.from + i]!)
      }
  }
  return result
}

describe('planTasks', () => {
  it('delivers every byte that is wanted once to each who wants it, reading each chunk once', () => {
    const frames = fc.array(fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 5 }), {
      minLength: 1,
      maxLength: 6,
    })
    const wanted = fc.array(fc.record({ pack: fc.nat(2), at: fc.nat(), length: fc.nat() }), { maxLength: 12 })
    fc.assert(
      fc.property(fc.tuple(frames, frames, frames), wanted, (shapes, wishes) => {
        const directories = shapes.map((shape, i) => shapeOf('abc'[i]!, shape))
        const expected = new Map<number, string>()
        let target = 0
        const spans = wishes.map(({ pack, at, length }): Span => {
          const directory = directories[pack]!
          const total = directory.chunkStart[directory.chunkCount]!
          const position = at % total
          const own = 1 + (length % (total - position))
          for (let i = 0; i < own; i++) expected.set(target + i, `${directory.id[0] ?? ''} ${position + i}`)
          const span = { directory, position, length: own, target }
          target += own + 5
          return span
        })
        const tasks = planTasks(spans)
        expect(delivered(tasks, directories)).toEqual(expected)
        const read = tasks.flatMap((task) => task.chunks.map((chunk) => `${task.packId} ${chunk}`))
        expect(new Set(read).size).toBe(read.length)
        for (const task of tasks)
          expect(task.chunks.every((c, i) => i === 0 || c > task.chunks[i - 1]!)).toBe(true)
      }),
      { numRuns: 1000 },
    )
  })

  it('keeps within its limits of plain bytes, stored bytes and holes', () => {
    const shape = Array.from({ length: 64 }, () => new Array<number>(8).fill(64 * KiB))
    const directory = shapeOf('a', shape)
    const everyOther = Array.from({ length: 64 }, (_, frame): Span => {
      const position = directory.chunkStart[directory.frameFirst[frame]!]!
      return { directory, position, length: 64 * KiB, target: frame * 64 * KiB }
    })
    const whole = { directory, position: 0, length: directory.chunkStart[512]!, target: 0 }
    const tasks = planTasks([whole])
    expect(tasks.every((task) => task.plainBytes <= TASK_PLAIN_MAX)).toBe(true)
    expect(tasks.length).toBe(8)
    // One chunk of each frame: at most 8 MiB stored are read for a task, so 16 frames of 512 KiB.
    expect(planTasks(everyOther).map((task) => task.chunks.length)).toEqual([16, 16, 16, 16])
    // Every other frame: what lies between is more than is read along.
    expect(planTasks(everyOther.filter((_, i) => i % 2 === 0)).length).toBe(32)
  })

  it('gives what lies together in one piece, though others want the same chunks', () => {
    const directory = shapeOf('a', [[10, 20, 30], [40]])
    const tasks = planTasks([
      { directory, position: 5, length: 95, target: 1000 },
      { directory, position: 0, length: 60, target: 500 },
      // Goes on where the one before ends, there as here.
      { directory, position: 60, length: 40, target: 560 },
    ])
    expect(tasks.map((task) => task.pieces)).toEqual([
      [
        { from: 0, length: 100, target: 500 },
        { from: 5, length: 95, target: 1000 },
      ],
    ])
  })

  it('reads a chunk that is larger than a task alone', () => {
    const directory = shapeOf('a', [[5 * 1024 * KiB], [5 * 1024 * KiB]])
    const tasks = planTasks([{ directory, position: 0, length: 10 * 1024 * KiB, target: 0 }])
    expect(tasks.map((task) => task.chunks)).toEqual([[0], [1]])
  })

  it('plans nothing for nothing', () => {
    expect(planTasks([])).toEqual([])
  })
})

describe('plainPosition', () => {
  it('is undefined for bytes that the pack does not have', () => {
    const directory = shapeOf('a', [[10, 5], [7]])
    expect(plainPosition(directory, 1, 2, 10)).toBe(12)
    expect(plainPosition(directory, 1, 2, 11)).toBeUndefined()
    expect(plainPosition(directory, 2, 0, 7)).toBe(15)
    expect(plainPosition(directory, 3, 0, 0)).toBeUndefined()
    expect(plainPosition(directory, 500, 0, 1)).toBeUndefined()
  })
})

describe('ChunkReader', () => {
  const chunks = sampleChunks('reader', [4096, 3000, 100, 4096, 50])
  const pack: SealedPack = packOf(chunks)
  const { directory } = pack
  const all: Span = { directory, position: 0, length: directory.chunkStart[5]!, target: 0 }

  function readerOf(store: MemoryStore): ChunkReader {
    return new ChunkReader(store, new PackCatalog(store), new InlineCrew())
  }

  it('gives back the bytes of a task', async () => {
    const store = new MemoryStore()
    await store.put(pack.key, pack.parts)
    const [task] = planTasks([all])
    const { plain, damaged } = await readerOf(store).run(task!)
    expect(damaged).toEqual([])
    expect(Buffer.compare(plain, Buffer.concat(chunks))).toBe(0)
  })

  it('reads once more before it calls something damaged: a bad transfer is none', async () => {
    let reads = 0
    class FlakyStore extends MemoryStore {
      override async read(key: string, offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
        const bytes = await super.read(key, offset, length)
        return ++reads === 1 ? flipped(bytes, 77) : bytes
      }
    }
    const store = new FlakyStore()
    await store.put(pack.key, pack.parts)
    const result = await readerOf(store).run(planTasks([all])[0]!)
    expect(result.damaged).toEqual([])
    expect(reads).toBe(2)
    expect(Buffer.compare(result.plain, Buffer.concat(chunks))).toBe(0)
  })

  it('works in memory that it is lent, as far as that reaches, and reads into it again what looks damaged', async () => {
    let reads = 0
    class IntoStore extends MemoryStore {
      async readInto(key: string, offset: number, into: Uint8Array): Promise<void> {
        const bytes = await super.read(key, offset, into.length)
        into.set(++reads === 1 ? flipped(bytes, 77) : bytes)
      }
    }
    for (const [plainBytes, storedBytes, fits] of [
      [20_000, 20_000, true],
      [20_000, 10, true],
      [10, 20_000, false],
    ] as const) {
      const store = new IntoStore()
      await store.put(pack.key, pack.parts)
      reads = 0
      const memory = new SharedArrayBuffer(50_000)
      const plain = new Uint8Array(memory, 3, plainBytes)
      const stored = new Uint8Array(memory, 25_001, storedBytes)
      const result = await readerOf(store).run(planTasks([all])[0]!, { plain, stored })
      expect(reads).toBe(storedBytes === 10 ? 0 : 2)
      expect(result.damaged).toEqual([])
      expect(result.plain.buffer === memory).toBe(fits)
      expect(fits ? result.plain.byteOffset : 3).toBe(3)
      expect(Buffer.compare(result.plain, Buffer.concat(chunks))).toBe(0)
    }
  })

  it('names damaged chunks, and gives zeros for them', async () => {
    const store = new MemoryStore()
    // In the first frame's bytes.
    await store.put(pack.key, [flipped(packBytes(pack), 8 * 200)])
    const { plain, damaged } = await readerOf(store).run(planTasks([all])[0]!)
    expect(damaged.length).toBeGreaterThan(0)
    for (const { chunk } of damaged) {
      const start = directory.chunkStart[chunk]!
      expect(plain.subarray(start, start + directory.chunkLength[chunk]!).every((byte) => byte === 0)).toBe(
        true,
      )
    }
    expect(Buffer.compare(plain.subarray(directory.chunkStart[2]), Buffer.concat(chunks.slice(2)))).toBe(0)
  })

  it('takes from other generations what is damaged in the one that it reads, and names what is good in none', async () => {
    const rotten = async (...bits: readonly (readonly number[])[]): Promise<MemoryStore> => {
      const store = new MemoryStore()
      for (const [generation, flips] of bits.entries()) {
        const { key, parts } = packOf(chunks, 2, 3, generation)
        await store.put(key, [flips.reduce(flipped, new Uint8Array(Buffer.concat(parts)))])
      }
      return store
    }
    const [first, second] = [8 * 200, 8 * (directory.frameOffset[1]! + 50)]
    const bytes = Buffer.concat(chunks)
    for (const bits of [
      [[first], []],
      [[first], [second]],
      [[first, second], [second], [first]],
    ]) {
      const { plain, damaged } = await readerOf(await rotten(...bits)).run(planTasks([all])[0]!)
      expect(damaged).toEqual([])
      expect(Buffer.compare(plain, bytes)).toBe(0)
    }
    const { plain, damaged } = await readerOf(await rotten([first, second], [second])).run(
      planTasks([all])[0]!,
    )
    expect(damaged.length).toBeGreaterThan(0)
    expect(damaged.every(({ chunk }) => chunk === 2 || chunk === 3)).toBe(true)
    for (const { from, length } of damaged) bytes.fill(0, from, from + length)
    expect(Buffer.compare(plain, bytes)).toBe(0)
  })

  it('says that a pack is missing', async () => {
    const running = readerOf(new MemoryStore()).run(planTasks([all])[0]!)
    await expect(running).rejects.toMatchObject({ code: 'OBJECT_NOT_FOUND' })
  })
})
