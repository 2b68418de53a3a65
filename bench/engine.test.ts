import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { applyChanges, changeBytes, feedOf, planChanges, revertChanges } from './changes.js'
import { parseEngineOptions, runEngine } from './engine.js'
import { engineBars } from './engine-summary.js'
import { compareImages } from './feed.js'
import { MiB } from './image.js'
import { median } from './measure.js'
import { everfold, type Tool } from './peers.js'
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

  it('say of a bar that it holds, falls short, or was not measured', () => {
    const bar = { text: 'peak memory', unit: 'MB', limit: 500 }
    expect(verdict({ ...bar, measured: 500 })).toBe('holds')
    expect(verdict({ ...bar, measured: 501 })).toBe('falls short')
    expect(formatBar({ ...bar, measured: undefined })).toBe(
      'bar: peak memory (at most 500 MB); measured: -: not measured',
    )
    expect(engineBars(new Map(), 25 * MiB).map(verdict)).not.toContain('holds')
  })
})

describe('the engine benchmark', () => {
  it('refuses options that mean nothing', () => {
    expect(() => parseEngineOptions(['--rounds', '0'])).toThrow('--rounds')
    expect(() => parseEngineOptions(['--tools', 'tar'])).toThrow('"tar"')
    expect(() => parseEngineOptions(['--size-gib', 'big'])).toThrow('--size-gib')
  })

  it.each([copying, everfold()])(
    'runs from the image to the results file, and leaves nothing else (%#)',
    async (tool) => {
      const options = parseEngineOptions(['--size-gib', '0.03125', '--rounds', '2', '--changes', '8'])
      const results = join(folder, 'results')
      const workspace = { cache: folder, scratch: folder }
      await runEngine({ ...options, tools: [tool], results }, workspace)
      const figures = JSON.parse(readFileSync(join(results, 'engine-0.03125gib.json'), 'utf8'))
      expect(figures.tools[0].rounds).toHaveLength(2)
      expect(figures.tools[0].medians.full.storedBytes).toBeGreaterThan(8 * MiB)
      expect(figures.tools[0].medians.restore.wallSeconds).toBeGreaterThan(0)
      expect(existsSync(join(folder, 'everfold-0'))).toBe(false)
      expect(existsSync(join(folder, 'image-0.03125gib.img.undo'))).toBe(false)
    },
    120_000,
  )
})
