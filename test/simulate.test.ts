/**
 * Lives of a repository with crashes and faults: fresh ones with every run, and all that ever failed. A failure names its seed:
 * npm run simulate -- --seed SEED. EVERFOLD_TEST_LIFE_SECONDS sets for how long (default 75).
 */

import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { FAILED_SEEDS } from '../src/simulate/failed-seeds.js'
import { simulate } from '../src/simulate/many-lives.js'
import { MUTATIONS } from '../src/simulate/mutations.js'

const SECONDS = Number(process.env['EVERFOLD_TEST_LIFE_SECONDS'] ?? 75)
const STEPS = 60
const FROM = Math.floor(Math.random() * 2 ** 31)

describe('whole lives of a repository', () => {
  it(`lose nothing, whatever goes wrong (seeds from ${FROM} on, for ${SECONDS} s)`, async () => {
    const result = await simulate({
      from: FROM,
      forMs: SECONDS * 1000,
      processes: 1,
      steps: STEPS,
      stopEarly: false,
    })
    expect(result.failures).toEqual([])
    expect(result.lives).toBeGreaterThan(0)
    expect(result.comparedPoints).toBeGreaterThan(0)
  }, 600_000)

  it('lose nothing where they once did', async () => {
    const result = await simulate({ seeds: FAILED_SEEDS, steps: STEPS, stopEarly: false })
    expect(result.failures).toEqual([])
  }, 600_000)
})

describe('the deliberate mistakes that the simulator has to notice', () => {
  it.each(MUTATIONS)('still fit the code: $name', async ({ edits }) => {
    for (const { file, find } of edits) {
      const code = await readFile(new URL(`../dist/src/${file}`, import.meta.url), 'utf8')
      expect(code.split(find)).toHaveLength(2)
    }
  })
})
