import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parseFramesOptions, runFrames } from './frames.js'
import { MiB } from './image.js'
import { SeededBytes } from './seeded-bytes.js'

let folder = ''

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'everfold-frames-test.'))
})

afterEach(() => {
  rmSync(folder, { recursive: true })
})

describe('the frames benchmark', () => {
  it('refuses options that mean nothing', () => {
    expect(() => parseFramesOptions(['--levels', '3,x'])).toThrow('--levels')
    expect(() => parseFramesOptions(['--frames-kib', '0'])).toThrow('--frames-kib')
    expect(() => parseFramesOptions(['--sample-mib', '-1'])).toThrow('--sample-mib')
  })

  it('finds that larger frames store less, counts repetition and zeros once, and reads back what it wrote', async () => {
    const random = new SeededBytes('image')
    const lines = Array.from({ length: 40_000 }, () => `line ${random.below(5000)} of a log\n`).join('')
    const text = Buffer.alloc(MiB, lines)
    // Text, the same text in another batch, and zeros behind them.
    const image = Buffer.concat([text, Buffer.alloc(3 * MiB), text, Buffer.alloc(3 * MiB)])
    writeFileSync(join(folder, 'image-0.0078125gib.img'), image)
    const results = join(folder, 'results')
    const options = parseFramesOptions(['--size-gib', '0.0078125', '--levels', '3', '--frames-kib', '64,512'])
    await runFrames({ ...options, results }, { cache: folder, scratch: folder })
    const figures = JSON.parse(readFileSync(join(results, 'frames-0.0078125gib.json'), 'utf8'))
    const [small, large] = figures.combinations
    expect(small.plainBytes).toBe(large.plainBytes)
    expect(small.plainBytes).toBeLessThan(1.1 * MiB)
    expect(large.storedBytes).toBeLessThan(small.storedBytes)
    expect(large.readMedianMs).toBeGreaterThan(0)
  }, 60_000)
})
