#!/usr/bin/env node
import { Command } from 'commander'
import { FAILED_SEEDS } from './failed-seeds.js'
import { type SimulationResult, simulate } from './many-lives.js'
import { testMutations } from './test-mutations.js'

interface Options {
  readonly seed?: string
  readonly seeds?: string
  readonly steps: string
  readonly minutes?: string
  readonly processes: string
  readonly atMost?: string
  readonly mutations?: true | string
  readonly failed?: true
  readonly stopEarly?: true
  readonly json?: true
}

const SEEDS_MAX = 2 ** 31

const program = new Command('simulate')
  .description(
    'Lives whole lives of a repository, with crashes and faults, and compares every byte of every point.',
  )
  .option('--seed <n>', 'live this one life')
  .option('--seeds <list>', 'live these lives, such as 7,9,20..29 (default: 100 fresh ones)')
  .option('--failed', 'live all lives that ever failed')
  .option('--steps <n>', 'steps of a life', '60')
  .option('--minutes <n>', 'begin new lives, with fresh seeds, for so long')
  .option('--processes <n>', 'with --minutes: so many at once', '1')
  .option('--at-most <seconds>', 'with --seeds: begin no new life after that')
  .option(
    '--mutations [name]',
    'make deliberate mistakes in copies of the code (or those whose names have this in them), and see that each is noticed',
  )
  .option('--stop-early', 'end with the first failure, and do not shorten it')
  .option('--json', 'print the counts as one JSON document')
  .addHelpText(
    'after',
    `
Examples:
  npm run simulate -- --seed 7 --steps 60
  npm run simulate -- --minutes 60 --processes 2
  npm run simulate -- --mutations`,
  )
  .parse()

const options: Options = program.opts()
const fresh = Number(process.env['EVERFOLD_SIMULATE_FROM'] ?? Math.floor(Math.random() * SEEDS_MAX))
const steps = Number(options.steps)
const stopEarly = options.stopEarly === true

if (options.mutations !== undefined)
  process.exitCode = (await testMutations(options.mutations === true ? '' : options.mutations)) ? 0 : 1
else {
  const result = await run()
  process.stdout.write(options.json === true ? `${JSON.stringify(result)}\n` : describe(result))
  process.exitCode = result.failures.length === 0 ? 0 : 1
}

function run(): Promise<SimulationResult> {
  if (options.seed !== undefined) return simulate({ seeds: [Number(options.seed)], steps, stopEarly })
  if (options.failed === true) return simulate({ seeds: FAILED_SEEDS, steps, stopEarly })
  const minutes = Number(options.minutes ?? 0)
  if (minutes > 0)
    return simulate({
      from: fresh,
      forMs: minutes * 60_000,
      processes: Number(options.processes),
      steps,
      stopEarly,
    })
  const seeds = listOf(options.seeds ?? `${fresh}..${fresh + 99}`)
  const forMs = options.atMost === undefined ? Infinity : Number(options.atMost) * 1000
  return simulate({ seeds, forMs, steps, stopEarly })
}

/** Numbers and ranges of them. */
function listOf(text: string): number[] {
  return text.split(',').flatMap((part) => {
    const [from = 0, to = from] = part.split('..').map(Number)
    return Array.from({ length: to - from + 1 }, (_, i) => from + i)
  })
}

function describe(result: SimulationResult): string {
  const sum = (counts: Readonly<Record<string, number>>): number =>
    Object.values(counts).reduce((a, b) => a + b, 0)
  const list = (counts: Readonly<Record<string, number>>): string =>
    Object.entries(counts)
      .sort(([, a], [, b]) => b - a)
      .map(([name, count]) => `${name} ${count}`)
      .join(', ')
  return [
    `${result.lives} lives, ${sum(result.operations)} operations, ${result.turns} turns, in ${(result.ms / 1000).toFixed(0)} s.`,
    `  operations: ${list(result.operations)}`,
    `  ${sum(result.faults)} faults: ${list(result.faults)}`,
    `  ${sum(result.refusals)} operations ended with an error, as they may`,
    `  ${result.comparedPoints} times a point was restored and compared, byte for byte`,
    result.failures.length === 0
      ? 'Nothing was lost.'
      : `FAILED: seeds ${result.failures.map(({ seed }) => seed).join(', ')}`,
    '',
  ].join('\n')
}
