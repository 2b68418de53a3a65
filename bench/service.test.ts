import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { MiB } from './image.js'
import { SeededBytes } from './seeded-bytes.js'
import { parseServiceOptions, runService } from './service.js'

it('the service benchmark runs from the image to the results file', async () => {
  expect(() => parseServiceOptions(['--in-flight', '0'])).toThrow('--in-flight')
  const folder = mkdtempSync(join(tmpdir(), 'everfold-bench-test.'))
  writeFileSync(join(folder, 'image-0.00390625gib.img'), new SeededBytes('service image').next(4 * MiB))
  const load = ['--clients', '3', '--load-seconds', '1', '--rounds', '1']
  const reads = ['--size-gib', '0.00390625', '--seconds', '0.5', '--results', folder]
  const options = parseServiceOptions([...load, ...reads])
  await runService(options, { cache: folder, scratch: folder })
  const figures = JSON.parse(readFileSync(join(folder, 'service.json'), 'utf8'))
  expect(figures.whole.bytes).toBe(4 * MiB)
  expect(figures.random.reads).toBeGreaterThan(10)
  expect(figures.load.failures).toBe(0)
  expect(figures.load.commits).toBeGreaterThanOrEqual(3)
  expect(figures.upload.serviceSeconds).toBeGreaterThan(0)
  rmSync(folder, { recursive: true })
})
