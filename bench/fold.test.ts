import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { parseFoldOptions, runFold } from './fold.js'

it('the fold benchmark runs from the synthetic runs to the results file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'everfold-bench-test.'))
  try {
    const small = [
      '--rounds',
      '1',
      '--parent',
      '4000',
      '--child',
      '1000',
      '--packs',
      '50',
      '--children',
      '1,3',
    ]
    const options = parseFoldOptions([...small, '--results', folder])
    await runFold(options, { cache: folder, scratch: folder })
    const { samples, bars } = JSON.parse(readFileSync(join(folder, 'fold.json'), 'utf8'))
    expect(samples[0]).toMatchObject({ parentExtents: 4000, childExtents: 1000, children: 1 })
    for (const sample of samples) {
      expect(sample.readBytes).toBeGreaterThan(0)
      expect(sample.writtenBytes).toBeGreaterThan(0)
      // Not compared with each other: memory is given back at any time.
      expect(sample.peakMemoryBytes).toBeGreaterThan(0)
      expect(sample.baselineBytes).toBeGreaterThan(0)
    }
    expect(samples.at(-1)).toMatchObject({ childExtents: 400, children: 3 })
    expect(bars).toHaveLength(6)
  } finally {
    rmSync(folder, { recursive: true })
  }
}, 60_000)
