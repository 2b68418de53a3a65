import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { parseDecayOptions, runDecay } from './decay.js'
import { GiB, MiB } from './image.js'
import { SeededBytes } from './seeded-bytes.js'

it('the decay benchmark ages a disk, restores it byte for byte, and draws the curve', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'everfold-bench-test.'))
  try {
    const image = join(folder, `image-${(16 * MiB) / GiB}gib.img`)
    writeFileSync(image, new SeededBytes('image').next(6 * MiB))
    truncateSync(image, 16 * MiB)
    const small = ['--size-gib', `${(16 * MiB) / GiB}`, '--points', '12', '--keep', '3', '--every', '6']
    const options = parseDecayOptions([...small, '--changes', '5', '--rounds', '1', '--results', folder])
    await runDecay(options, { cache: folder, scratch: folder })
    const { samples, dataBytes } = JSON.parse(readFileSync(join(folder, 'decay.json'), 'utf8'))
    expect(dataBytes).toBe(6 * MiB)
    expect(samples.map((sample: { points: number }) => sample.points)).toEqual([0, 6, 12])
    expect(samples[2].packs).toBeGreaterThan(samples[0].packs)
    expect(samples[2].readBytes).toBeGreaterThan(0)
    expect(readFileSync(join(folder, 'decay.svg'), 'utf8')).toMatch(/^<svg[^]*<polyline[^]*<\/svg>\n$/)
  } finally {
    rmSync(folder, { recursive: true })
  }
}, 60_000)
