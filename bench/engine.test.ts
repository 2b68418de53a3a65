import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { applyChanges, changeBytes, feedOf, planChanges, revertChanges } from './changes.js'
import { parseEngineOptions, runEngine } from './engine.js'
import { engineBars } from './engine-bars.js'
import { compareImages } from './feed.js'
import { MiB } from './image.js'
import { type Limits, leastSeconds } from './limits.js'
import { median, medianOf } from './measure.js'
import type { Tool } from './peers.js'
import { formatBar, verdict } from './report.js'
import { SeededBytes } from './seeded-bytes.js'

/** The simplest backup program: a repository of copies. */
const copying: Tool = {
  name: 'everfold',
  settings: 'copies',
  packages: [],
  version: async () => '1',
  init: (place) => ({ program: 'mkdir', args: [place.repository] }),
  full: (place) => copy(join(place.imageFolder, place.imageName), join(place.repository, 'full')),
  again: (place) => copy(join(place.imageFolder, place.imageName), join(place.repository, 'again')),
  second: (place) => copy(join(place.imageFolder, place.secondName), join(place.repository, 'second')),
  incremental: (place) => copy(join(place.imageFolder, place.imageName), join(place.repository, 'next')),
  restore: (place) => copy(join(place.repository, 'next'), join(place.output, 'restored')),
  restoredFile: (place) => join(place.output, 'restored'),
}

function copy(from: string, to: string): { program: string; args: string[] } {
  return { program: 'cp', args: ['--sparse=always', from, to] }
}

let folder = ''

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'everfold-bench-test.'))
})

afterEach(() => {
  rmSync(folder, { recursive: true })
})

function makeFile(name: string, blocks: number): string {
  const path = join(folder, name)
  writeFileSync(path, new SeededBytes(name).next(blocks * changeBytes))
  return path
}

describe('scattered changes', () => {
  it('are the same for the same seed, distinct, and in the order of the disk', async () => {
    const path = makeFile('image', 64)
    const changes = await planChanges(path, 10, 'a')
    expect(await planChanges(path, 10, 'a')).toEqual(changes)
    expect(await planChanges(path, 10, 'b')).not.toEqual(changes)
    const offsets = changes.map(({ offset }) => offset)
    expect(new Set(offsets).size).toBe(10)
    expect(offsets.toSorted((a, b) => a - b)).toEqual(offsets)
  })

  it('are what a comparison of the images finds, and can be undone', async () => {
    const path = makeFile('image', 64)
    const before = readFileSync(path)
    const changes = await planChanges(path, 10, 'a')
    await applyChanges(path, changes)
    const original = join(folder, 'before')
    writeFileSync(original, before)
    const found = await compareImages(original, path)
    const blocks = found.flatMap(({ offset, length }) =>
      Array.from({ length: length / changeBytes }, (_, n) => offset + n * changeBytes),
    )
    expect(blocks).toEqual(feedOf(changes).map(({ offset }) => offset))
    await revertChanges(path)
    expect(readFileSync(path).equals(before)).toBe(true)
    await revertChanges(path)
    expect(readFileSync(path).equals(before)).toBe(true)
  })
})

describe('comparing images', () => {
  it('reports what was appended, up to a short last block', async () => {
    const before = makeFile('before', 3)
    const after = join(folder, 'after')
    writeFileSync(after, Buffer.concat([readFileSync(before), Buffer.alloc(changeBytes + 5)]))
    expect(await compareImages(before, after)).toEqual([{ offset: 3 * changeBytes, length: changeBytes + 5 }])
    expect(await compareImages(before, before)).toEqual([])
  })
})

describe('the figures', () => {
  it('are medians, which one outlier does not move', () => {
    expect(median([3, 1000, 1])).toBe(3)
    expect(median([4, 2])).toBe(3)
  })

  it('have medians of all that every round has', () => {
    const rounds = [
      { full: { seconds: 3, more: 1 } },
      { full: { seconds: 1, more: 1 } },
      { full: { seconds: 2 } },
    ]
    expect(medianOf<object>(rounds)).toEqual({ full: { seconds: 2 } })
  })

  it('say how long work takes at least', () => {
    const gigabyte = 1e9
    const limits: Limits = {
      cores: 2,
      sha256OneBytesPerSecond: gigabyte,
      sha256AllBytesPerSecond: 2 * gigabyte,
      zstdOneBytesPerSecond: gigabyte / 4,
      zstdAllBytesPerSecond: gigabyte / 2,
      unzstdOneBytesPerSecond: gigabyte,
      unzstdAllBytesPerSecond: 2 * gigabyte,
      readBytesPerSecond: 5 * gigabyte,
      writeBytesPerSecond: gigabyte,
    }
    const work = { read: gigabyte, hashed: gigabyte, compressed: gigabyte, decompressed: gigabyte }
    expect(leastSeconds({ ...work, written: gigabyte / 2 }, limits)).toBeCloseTo(0.1 + 0.5 + 2 + 0.5)
    // What is written is written meanwhile.
    expect(leastSeconds({ ...work, written: 4 * gigabyte }, limits)).toBeCloseTo(4)
  })

  it('say of a bar that it holds, falls short, or was not measured', () => {
    const bar = { text: 'peak memory', unit: 'MB', limit: 500 }
    expect(verdict({ ...bar, measured: 500 })).toBe('holds')
    expect(verdict({ ...bar, measured: 501 })).toBe('falls short')
    expect(formatBar({ ...bar, measured: undefined })).toBe(
      'bar: peak memory (at most 500 MB); measured: -: not measured',
    )
    expect(engineBars(new Map(), {}, 25 * MiB).map(verdict)).not.toContain('holds')
  })
})

describe('the engine benchmark', () => {
  it('refuses options that mean nothing', () => {
    expect(() => parseEngineOptions(['--rounds', '0'])).toThrow('--rounds')
    expect(() => parseEngineOptions(['--tools', 'tar'])).toThrow('"tar"')
    expect(() => parseEngineOptions(['--size-gib', 'big'])).toThrow('--size-gib')
    expect(() => parseEngineOptions(['--rows', 'full,empty'])).toThrow('"empty"')
    expect(parseEngineOptions(['--rows', 'restore']).rows).toEqual(['full', 'incremental', 'restore'])
  })

  const small = ['--size-gib', '0.03125', '--random-gib', '0.015625', '--changes', '8']

  it('runs from the image to the results file, and leaves nothing else', async () => {
    const options = parseEngineOptions([...small, '--rounds', '2', '--rows', 'restore'])
    const results = join(folder, 'results')
    await runEngine({ ...options, tools: [copying], results }, { cache: folder, scratch: folder })
    const figures = JSON.parse(readFileSync(join(results, 'engine-0.03125gib.json'), 'utf8'))
    expect(figures.tools[0].rounds).toHaveLength(2)
    expect(figures.tools[0].medians.full.storedBytes).toBeGreaterThan(8 * MiB)
    expect(figures.tools[0].medians.restore.wallSeconds).toBeGreaterThan(0)
    expect(figures.limits.medians.sha256AllBytesPerSecond).toBeGreaterThan(0)
    expect(figures.beside).toEqual([])
    expect(existsSync(join(folder, 'everfold-0'))).toBe(false)
    expect(existsSync(join(folder, 'image-0.03125gib.img.undo'))).toBe(false)
  }, 120_000)

  it('measures every row of Everfold', async () => {
    const options = parseEngineOptions([
      ...small,
      '--rounds',
      '1',
      '--tools',
      'everfold',
      '--results',
      folder,
    ])
    await runEngine(options, { cache: folder, scratch: folder })
    const figures = JSON.parse(readFileSync(join(folder, 'engine-0.03125gib.json'), 'utf8'))
    const { full, second } = figures.tools[0].medians
    expect(full.newBytes).toBeGreaterThan(8 * MiB)
    expect(second.newBytes).toBeLessThan(full.newBytes / 2)
    expect(figures.limited.map((row: { name: string }) => row.name)).toEqual([
      ...['full', 'again', 'second', 'incremental', 'restore', 'service', 'random'],
    ])
    const [copy, service, random, loop] = figures.beside.map((one: { medians: object }) => one.medians)
    expect(copy.wallSeconds).toBeGreaterThan(0)
    expect(service.cpuSeconds).toBeGreaterThan(0)
    expect(random.storedBytes).toBeGreaterThan(15 * MiB)
    expect(loop.collectingShare).toBeLessThan(1)
  }, 120_000)
})
