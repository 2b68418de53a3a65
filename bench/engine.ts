import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { filledShare, provideImage } from './cached-image.js'
import { changeBytes, planChanges } from './changes.js'
import { ensurePackages } from './command.js'
import { runRound, type Samples, type Step, steps } from './engine-round.js'
import { engineBars, formatMedians, medianSamples } from './engine-summary.js'
import { GiB, imagePackages, requireSpace } from './image.js'
import { measurePackages } from './measure.js'
import { positive, wholePositive } from './options.js'
import { everfoldMain, repositoryRoot } from './paths.js'
import { everfold, peers, type Tool } from './peers.js'
import { describeCommit, describeMachine, formatBar, formatNumber, verdict, writeResults } from './report.js'
import { spaceAdvice, type Workspace } from './workspace.js'

export const engineUsage = `engine: full, incremental and restore of one disk image, beside restic and borg
  --rounds N         rounds, of which the medians are shown (default 3)
  --size-gib N       size of the image; 0.7 of it is filled with real files (default 8)
  --tools A,B,…      of everfold, restic, borg (default: all)
  --changes N        scattered 64 KiB changes before the incremental (default 400)
  --seed TEXT        where and what these changes are (default "everfold")
  --results FOLDER   where the raw figures go (default bench/results)
  --everfold FILE    another build's main.js, to compare with this one`

export interface EngineOptions {
  readonly rounds: number
  readonly sizeGib: number
  readonly changes: number
  readonly seed: string
  readonly tools: readonly Tool[]
  readonly results: string
}

/** Space for the image, a repository and a restored disk without holes, as a share of the image's size. */
const spaceShare = 2.5

function chooseTools(names: string, main: string): Tool[] {
  const known = [everfold(main), ...peers]
  return names.split(',').map((name) => {
    const tool = known.find((candidate) => candidate.name === name)
    if (tool === undefined) throw new Error(`--tools takes everfold, restic and borg, not "${name}"`)
    return tool
  })
}

export function parseEngineOptions(args: readonly string[]): EngineOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: 'string', default: '3' },
      'size-gib': { type: 'string', default: '8' },
      tools: { type: 'string', default: 'everfold,restic,borg' },
      changes: { type: 'string', default: '400' },
      seed: { type: 'string', default: 'everfold' },
      results: { type: 'string', default: join(repositoryRoot, 'bench/results') },
      everfold: { type: 'string', default: everfoldMain },
    },
  })
  return {
    rounds: wholePositive('rounds', values.rounds),
    sizeGib: positive('size-gib', values['size-gib']),
    changes: wholePositive('changes', values.changes),
    seed: values.seed,
    tools: chooseTools(values.tools, values.everfold),
    results: values.results,
  }
}

/** Tools in another order each round, so that none profits from its place. */
function rotate<T>(list: readonly T[], by: number): T[] {
  const at = by % list.length
  return [...list.slice(at), ...list.slice(0, at)]
}

function describeStep(samples: Samples, step: Step): string {
  const { wallSeconds, cpuSeconds } = samples[step]
  return `${step} ${formatNumber(wallSeconds)} s (CPU ${formatNumber(cpuSeconds)})`
}

/** Runs the benchmark, prints the medians and the bars, and writes the raw figures. */
export async function runEngine(options: EngineOptions, workspace: Workspace): Promise<void> {
  const { rounds, sizeGib, changes: changeCount, seed, tools } = options
  await ensurePackages([...imagePackages, ...measurePackages, ...tools.flatMap((tool) => tool.packages)])
  requireSpace(workspace.cache, sizeGib * GiB * spaceShare, spaceAdvice)
  const image = await provideImage(workspace, sizeGib)
  const changes = await planChanges(image, changeCount, seed)

  const measured = tools.map((tool) => ({ tool, rounds: [] as Samples[] }))
  for (let round = 0; round < rounds; round += 1) {
    for (const { tool, rounds: samples } of rotate(measured, round)) {
      const scratch = join(workspace.scratch, `${tool.name}-${round}`)
      await mkdir(scratch)
      const sample = await runRound(tool, image, changes, scratch)
      samples.push(sample)
      const shown = steps.map((step) => describeStep(sample, step)).join(', ')
      console.log(`round ${round + 1} of ${rounds}, ${tool.name}: ${shown}, identical`)
    }
  }

  const medians = new Map(measured.map(({ tool, rounds: list }) => [tool.name, medianSamples(list)]))
  const bars = engineBars(medians, changeCount * changeBytes)
  console.log(`\nMedians of ${rounds}; ratio: Everfold / peer\n${formatMedians(medians)}\n`)
  for (const bar of bars) console.log(formatBar(bar))

  const name = sizeGib === 8 ? 'engine' : `engine-${sizeGib}gib`
  const path = await writeResults(options.results, name, {
    benchmark: 'engine',
    commit: await describeCommit(),
    machine: describeMachine(),
    parameters: { rounds, sizeGib, filledShare, changes: changeCount, changeBytes, seed },
    tools: await Promise.all(
      measured.map(async ({ tool, rounds: list }) => ({
        name: tool.name,
        version: await tool.version(),
        settings: tool.settings,
        medians: medians.get(tool.name),
        rounds: list,
      })),
    ),
    bars: bars.map((bar) => ({ ...bar, verdict: verdict(bar) })),
  })
  console.log(`\nraw figures: ${path}`)
}
