import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { measureChain, parseChainOptions } from './chain.js'
import { readChainDisk } from './chain-disk.js'
import { ensurePackages } from './command.js'
import { KiB, MiB } from './image.js'
import { measurePackages } from './measure.js'
import { SeededBytes } from './seeded-bytes.js'

it('the chain benchmark takes a disk from point to point, and restores each of them', async () => {
  await ensurePackages(measurePackages)
  const folder = mkdtempSync(join(tmpdir(), 'everfold-bench-test.'))
  try {
    const random = new SeededBytes('chain')
    const disk = random.next(4 * MiB)
    writeFileSync(join(folder, 't0.raw'), disk)
    const points = ['one', 'two'].map((name, i) => {
      const extent = { offset: (3 * i + 1) * 64 * KiB, length: 128 * KiB }
      const delta = random.next(extent.length)
      delta.copy(disk, extent.offset)
      writeFileSync(join(folder, `delta-${i + 1}`), delta)
      writeFileSync(join(folder, `feed-${i + 1}.json`), JSON.stringify([extent]))
      const sha256 = createHash('sha256').update(disk).digest('hex')
      return { name, sha256, dirtyBytes: extent.length, changedBytes: extent.length }
    })
    writeFileSync(join(folder, 'chain.json'), JSON.stringify(points))
    const options = parseChainOptions(['--tools', 'everfold', '--results', folder])
    await measureChain(options, await readChainDisk(folder), folder)
    const { tools } = JSON.parse(readFileSync(join(folder, 'chain.json'), 'utf8'))
    expect(Object.keys(tools[0].medians.points)).toEqual(['full', 'one', 'two'])
    expect(tools[0].medians.points.two.storedBytes).toBeGreaterThan(128 * KiB)
    expect(() => parseChainOptions(['--tools', 'tar'])).toThrow('"tar"')
  } finally {
    rmSync(folder, { recursive: true })
  }
}, 60_000)
