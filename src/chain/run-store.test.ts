import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { anyStride, listOf, modelOf, sampleExtents, samplePacks } from '../../test/format-extents.js'
import { flipped } from '../../test/format-samples.js'
import { runKey, runsPrefix } from '../store/keys.js'
import { MemoryStore } from '../store/memory-store.js'
import { ExtentList, ZEROS } from './extent-list.js'
import { type RunRef, readRun, SEGMENT_EXTENTS_MAX, writeRun } from './run-store.js'

/** A list of that many extents that do not join. */
function longList(extents: number): ExtentList {
  const list = new ExtentList(4096, samplePacks())
  for (let i = 0; i < extents; i++) list.append(i * 8192, 4096, i % 3, i % 1000, 0)
  return list
}

/** Nothing collects garbage here. */
async function ignore(_id: string): Promise<void> {}

async function keysOf(store: MemoryStore): Promise<string[]> {
  const keys: string[] = []
  for await (const { key } of store.list(runsPrefix())) keys.push(key)
  return keys
}

describe('writeRun and readRun', () => {
  it('give back every list', async () => {
    await fc.assert(
      fc.asyncProperty(sampleExtents, anyStride, async (extents, stride) => {
        const packs = samplePacks()
        const list = listOf(extents, stride, packs)
        const store = new MemoryStore()
        const { run, writtenBytes } = await writeRun(store, 'm', list, ignore)
        expect(writtenBytes).toBe(store.usedBytes)
        expect(run.segments.length).toBe(list.length === 0 ? 0 : 1)
        expect(modelOf(await readRun(store, 'm', run, packs))).toEqual(modelOf(list))
      }),
      { numRuns: 200 },
    )
  })

  it('divide a long list into segments of about the same length, within the limit', async () => {
    const third = Math.floor(SEGMENT_EXTENTS_MAX * 0.7)
    const list = longList(third * 3)
    const store = new MemoryStore()
    const { run } = await writeRun(store, 'm', list, ignore)
    expect(run.segments.map((segment) => segment.extents)).toEqual([third, third, third])
    expect(run.segments.map(({ start, end }) => end - start)).toEqual(
      new Array(3).fill((third - 1) * 8192 + 4096),
    )
    const again = await readRun(store, 'm', run, list.packs)
    expect(again.length).toBe(list.length)
    expect(
      Buffer.compare(
        Buffer.from(again.chunk.buffer, 0, 4 * list.length),
        Buffer.from(list.chunk.buffer, 0, 4 * list.length),
      ),
    ).toBe(0)
  })

  it('read only the segments that reach into a range', async () => {
    const list = longList(SEGMENT_EXTENTS_MAX + 2)
    const store = new MemoryStore()
    const { run } = await writeRun(store, 'm', list, ignore)
    const [first, second] = run.segments
    await store.remove(runKey('m', first!.id))
    const part = await readRun(store, 'm', run, list.packs, second!.start, second!.start + 1)
    expect(part.length).toBe(second!.extents)
    await expect(readRun(store, 'm', run, list.packs)).rejects.toMatchObject({ code: 'OBJECT_NOT_FOUND' })
  })

  it('pin each segment before it is written', async () => {
    const store = new MemoryStore()
    const pinned: string[] = []
    const { run } = await writeRun(store, 'm', longList(3), async (id) => {
      expect(store.usedBytes).toBe(0)
      pinned.push(id)
    })
    expect(pinned).toEqual(run.segments.map((segment) => segment.id))
  })

  it('write nothing twice', async () => {
    const store = new MemoryStore()
    const list = longList(10)
    const first = await writeRun(store, 'm', list, ignore)
    const second = await writeRun(store, 'm', list, ignore)
    expect(second).toEqual({ run: first.run, writtenBytes: 0 })
    expect((await keysOf(store)).length).toBe(1)
  })
})

describe('a run that is not what its chain state says', () => {
  async function written(): Promise<{ store: MemoryStore; run: RunRef; key: string }> {
    const store = new MemoryStore()
    const list = longList(3)
    list.append(list.end, 4096, ZEROS, 0, 0)
    const { run } = await writeRun(store, 'm', list, ignore)
    return { store, run, key: runKey('m', run.segments[0]!.id) }
  }

  it('is damaged where a bit is flipped, and the error names it', async () => {
    const { store, run, key } = await written()
    const bytes = await store.readAll(key)
    await store.remove(key)
    await store.put(key, [flipped(bytes, 100)])
    await expect(readRun(store, 'm', run, samplePacks())).rejects.toMatchObject({
      code: 'DATA_DAMAGED',
      details: { machine: 'm', run: run.segments[0]!.id, key },
    })
  })

  it('is damaged where range, number of extents, stride or order differ', async () => {
    const { store, run } = await written()
    const [segment] = run.segments
    const wrong: RunRef[] = [
      { ...run, stride: 0 },
      { ...run, segments: [segment!, segment!] },
      { ...run, segments: [{ ...segment!, start: 4096 }] },
      { ...run, segments: [{ ...segment!, end: segment!.end + 4096 }] },
      { ...run, segments: [{ ...segment!, extents: 3 }] },
    ]
    for (const one of wrong)
      await expect(readRun(store, 'm', one, samplePacks())).rejects.toMatchObject({ code: 'DATA_DAMAGED' })
  })
})
