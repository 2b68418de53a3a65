import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, vi } from 'vitest'
import { compareResults, formatComparison } from './compare.js'
import { runCompare } from './compare-command.js'
import { figuresOf } from './figures.js'
import { repositoryRoot } from './paths.js'

/** A results file with one step of one tool, and the wall time of each of its rounds. */
function results(walls: readonly number[], storedBytes = 1000): object {
  const sample = (wallSeconds: number) => ({ full: { wallSeconds, storedBytes } })
  return {
    parameters: { sizeGib: 1, rounds: walls.length },
    tools: [{ name: 'everfold', medians: sample(walls[walls.length >> 1] ?? 0), rounds: walls.map(sample) }],
    samples: [{ name: '10 chunks', lookupsPerSecond: 50 }],
  }
}

it('finds the figures of a results file, with the spread of their rounds', () => {
  expect([...figuresOf(results([1, 2, 4]))]).toEqual([
    { path: 'everfold full wallSeconds', value: 2, spread: 3 },
    { path: 'everfold full storedBytes', value: 1000, spread: 0 },
    { path: '10 chunks lookupsPerSecond', value: 50, spread: undefined },
  ])
})

it('calls a change what is more than the noise of either run, and says which way is better', () => {
  const verdicts = (before: object, after: object): string[] =>
    compareResults(before, after).differences.map(({ verdict }) => verdict)
  const steady = results([10, 10, 10])
  expect(verdicts(steady, results([10.2, 10.2, 10.2]))[0]).toBe('within the noise')
  expect(verdicts(steady, results([11, 11, 11]))[0]).toBe('worse')
  expect(verdicts(steady, results([9, 9, 9]))[0]).toBe('better')
  expect(verdicts(results([9, 10, 12]), results([11, 11, 11]))[0]).toBe('within the noise')
  // One round tells no noise.
  expect(verdicts(steady, results([11]))[0]).toBe('within the noise')
  expect(verdicts(steady, results([12]))[0]).toBe('worse')
  expect(verdicts(steady, results([10, 10, 10], 1020))[1]).toBe('worse')
})

it('names what makes two runs hard to compare, and what only one of them has', () => {
  const other = { ...results([10]), parameters: { sizeGib: 8, rounds: 1 }, samples: [] }
  const text = formatComparison(compareResults(results([10, 10, 10]), other))
  expect(text).toContain('parameters: sizeGib was 1, is 8')
  expect(text).not.toContain('rounds was')
  expect(text).toContain('2 figures compared: 0 changed')
  expect(text).toContain('1 only before: 10 chunks lookupsPerSecond')
})

it('compares a file, and what a benchmark writes, with what the repository has', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'everfold-bench-test.'))
  const lines: string[] = []
  const log = vi.spyOn(console, 'log').mockImplementation((line: string) => void lines.push(line))
  try {
    const committed = readFileSync(join(repositoryRoot, 'bench/results/engine.json'), 'utf8')
    const file = join(folder, 'engine.json')
    writeFileSync(file, committed)
    const workspace = async () => ({ cache: folder, scratch: folder })
    await runCompare([file], workspace, () => Promise.reject(new Error('nothing is to be run')))
    await runCompare(['--rounds', '1'], workspace, async (name, args) => {
      expect([name, ...args.slice(0, 3)]).toEqual(['engine', '--rounds', '1', '--results'])
      writeFileSync(join(args.at(-1) ?? '', 'engine.json'), committed)
    })
    expect(lines.filter((line) => /[1-9]\d* figures compared/.test(line))).toHaveLength(2)
    writeFileSync(join(folder, 'nothing.json'), '{}')
    await expect(runCompare([join(folder, 'nothing.json')], workspace, async () => {})).rejects.toThrow(
      'the repository has no bench/results/nothing.json',
    )
  } finally {
    log.mockRestore()
    rmSync(folder, { recursive: true })
  }
})
