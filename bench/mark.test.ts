import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { parseMarkOptions, runMark } from './mark.js'

it('the mark benchmark finds all that is needed alive and half of the packs dead', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'everfold-bench-test.'))
  try {
    const small = ['--chunks', '8192', '--incrementals', '2', '--packs', '20,40']
    const options = parseMarkOptions([...small, '--results', folder])
    await runMark(options, { cache: folder, scratch: folder })
    const { steps, bars } = JSON.parse(readFileSync(join(folder, 'mark.json'), 'utf8'))
    expect(steps.map((step: { name: string }) => step.name)).toContain('shuffled disk: runs and directories')
    expect(steps.at(-1)).toMatchObject({ name: 'half dead: remove', packs: 20 })
    expect(bars).toHaveLength(4)
    expect(() => parseMarkOptions(['--packs', '3'])).toThrow('two numbers')
  } finally {
    rmSync(folder, { recursive: true })
  }
}, 60_000)
