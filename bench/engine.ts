import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { filledShare, provideImage, provideSecondImage } from './cached-image.js'
import { changeBytes, planChanges } from './changes.js'
import { ensurePackages } from './command.js'
import { engineBars } from './engine-bars.js'
import { type BystanderRow, Bystanders, bystanderRows } from './engine-beside.js'
import { zstdBytes } from './engine-copy.js'
import { type Images, runRound, type Samples, type Step, steps } from './engine-round.js'
import { formatLimits, formatLoop, formatMedians, limitRows } from './engine-summary.js'
import { allocatedFileBytes, GiB, imagePackages, requireSpace } from './image.js'
import { type Limits, measureLimits } from './limits.js'
import { measurePackages, medianOf } from './measure.js'
import { positive, wholePositive } from './options.js'
import { everfoldMain, repositoryRoot } from './paths.js'
import { everfold, peers, type Tool } from './peers.js'
import { describeCommit, describeMachine, formatBar, formatNumber, verdict, writeResults } from './report.js'
import { spaceAdvice, type Workspace } from './workspace.js'

export const engineUsage = `engine: one disk image beside restic and borg, what it is held against, and this machine's limits
  --rounds N         rounds, of which the medians are shown (default 3)
  --size-gib N       size of the image; 0.7 of it is filled with real files (default 8)
  --tools A,B,…      of everfold, restic, borg (default: all)
  --rows A,B,…       what is measured (default: all)
                     of each tool: full; again, without a feed, when nothing changed; second, the same files on another machine's disk;
                     incremental, from a feed; restore, until the disk is on stable storage
                     of Everfold: copy, that is cp --sparse of the image; service, a full through it; random, a full of random bytes;
                     loop, what keeps the main thread busy
  --changes N        scattered 64 KiB changes before the incremental (default 400)
  --random-gib N     random bytes (default 2)
  --seed TEXT        where and what these changes are (default "everfold")
  --results FOLDER   where the raw figures go (default bench/results)
  --everfold FILE    another build's main.js, to compare with this one (not through the service)`

export type Row = Step | BystanderRow

export interface EngineOptions {
  readonly rounds: number
  readonly sizeGib: number
  readonly randomGib: number
  readonly changes: number
  readonly seed: string
  readonly tools: readonly Tool[]
  readonly rows: readonly Row[]
  readonly main: string
  readonly results: string
}

/** Space for two images, a repository, and a restored disk without holes or random bytes, as a share of the image's size. */
const spaceShare = 3.5

function chooseTools(names: string, main: string): Tool[] {
  const known = [everfold(main), ...peers]
  return names.split(',').map((name) => {
    const tool = known.find((candidate) => candidate.name === name)
    if (tool === undefined) throw new Error(`--tools takes everfold, restic and borg, not "${name}"`)
    return tool
  })
}

/** All steps need the first, and the last needs the one before it. */
function chooseRows(names: string): Row[] {
  const known: readonly Row[] = [...steps, ...bystanderRows]
  const chosen = new Set(
    names.split(',').map((name) => {
      const row = known.find((candidate) => candidate === name)
      if (row === undefined) throw new Error(`--rows takes ${known.join(', ')}, not "${name}"`)
      return row
    }),
  )
  if (chosen.has('restore')) chosen.add('incremental')
  if (steps.some((step) => chosen.has(step))) chosen.add('full')
  return known.filter((row) => chosen.has(row))
}

export function parseEngineOptions(args: readonly string[]): EngineOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: 'string', default: '3' },
      'size-gib': { type: 'string', default: '8' },
      'random-gib': { type: 'string', default: '2' },
      tools: { type: 'string', default: 'everfold,restic,borg' },
      rows: { type: 'string', default: [...steps, ...bystanderRows].join(',') },
      changes: { type: 'string', default: '400' },
      seed: { type: 'string', default: 'everfold' },
      results: { type: 'string', default: join(repositoryRoot, 'bench/results') },
      everfold: { type: 'string', default: everfoldMain },
    },
  })
  return {
    rounds: wholePositive('rounds', values.rounds),
    sizeGib: positive('size-gib', values['size-gib']),
    randomGib: positive('random-gib', values['random-gib']),
    changes: wholePositive('changes', values.changes),
    seed: values.seed,
    tools: chooseTools(values.tools, values.everfold),
    rows: chooseRows(values.rows),
    main: values.everfold,
    results: values.results,
  }
}

/** Tools in another order each round, so that none profits from its place. */
function rotate<T>(list: readonly T[], by: number): T[] {
  const at = by % list.length
  return [...list.slice(at), ...list.slice(0, at)]
}

function describeSamples(samples: Samples): string {
  const described = Object.entries(samples).map(
    ([step, { wallSeconds, cpuSeconds }]) =>
      `${step} ${formatNumber(wallSeconds)} s (CPU ${formatNumber(cpuSeconds)})`,
  )
  return described.join(', ')
}

interface Measured {
  readonly tool: Tool
  readonly rounds: Samples[]
}

interface AllRounds {
  readonly measured: readonly Measured[]
  /** Of each round: a machine that shares its hardware does not have the same ones all the time. */
  readonly limits: readonly Limits[]
}

/** Takes all tools, and what they are held against, through all rounds. */
async function runRounds(
  options: EngineOptions,
  images: Images,
  bystanders: Bystanders,
  scratch: string,
): Promise<AllRounds> {
  const { rounds, tools, rows } = options
  const chosen = steps.filter((step) => rows.includes(step))
  const measured: Measured[] = tools.map((tool) => ({ tool, rounds: [] }))
  const limits: Limits[] = []
  for (let round = 0; round < rounds; round += 1) {
    const named = `round ${round + 1} of ${rounds}`
    for (const { tool, rounds: samples } of chosen.length === 0 ? [] : rotate(measured, round)) {
      const own = join(scratch, `${tool.name}-${round}`)
      await mkdir(own)
      const sample = await runRound(tool, images, chosen, own)
      samples.push(sample)
      const proved = sample.restore === undefined ? '' : ', identical'
      console.log(`${named}, ${tool.name}: ${describeSamples(sample)}${proved}`)
    }
    await bystanders.round(named)
    // An image for tests tells no figures.
    limits.push(await measureLimits(images.first, scratch, options.sizeGib < 0.1 ? 50 : undefined))
  }
  return { measured: measured.filter(({ rounds: samples }) => samples.length > 0), limits }
}

/** Runs the benchmark, prints the medians and the bars, and writes the raw figures. */
export async function runEngine(options: EngineOptions, workspace: Workspace): Promise<void> {
  const { rounds, sizeGib, randomGib, changes: changeCount, seed, tools, rows } = options
  await ensurePackages([...imagePackages, ...measurePackages, ...tools.flatMap((tool) => tool.packages)])
  requireSpace(workspace.cache, (sizeGib * spaceShare + randomGib) * GiB, spaceAdvice)
  const first = await provideImage(workspace, sizeGib)
  const second = rows.includes('second') ? await provideSecondImage(workspace, sizeGib) : undefined
  const images: Images = { first, second, changes: await planChanges(first, changeCount, seed) }
  const bystanders = new Bystanders(options, first, workspace.scratch)

  const all = await runRounds(options, images, bystanders, workspace.scratch)
  const { measured } = all
  const limits = medianOf(all.limits)
  const medians = new Map(measured.map(({ tool, rounds: list }) => [tool.name, medianOf(list)]))
  const beside = bystanders.medians
  const sizes = {
    dataBytes: allocatedFileBytes(first),
    secondDataBytes: second === undefined ? 0 : allocatedFileBytes(second),
    changedBytes: changeCount * changeBytes,
    randomBytes: randomGib * GiB,
  }
  const zstdOfChanges = zstdBytes(images.changes)
  const limited = limitRows(medians, beside, sizes, limits)
  const bars = engineBars(medians, beside, zstdOfChanges)
  if (measured.length > 0)
    console.log(`\nMedians of ${rounds}; ratio: Everfold / peer\n${formatMedians(medians)}`)
  console.log(`\n${formatLimits(limits, limited)}`)
  if (beside.loop !== undefined) console.log(`\n${formatLoop(beside.loop, 'the full')}`)
  console.log()
  for (const bar of bars) if (verdict(bar) !== 'not measured') console.log(formatBar(bar))

  const name = sizeGib === 8 ? 'engine' : `engine-${sizeGib}gib`
  const path = await writeResults(options.results, name, {
    benchmark: 'engine',
    commit: await describeCommit(),
    machine: describeMachine(),
    parameters: { rounds, sizeGib, randomGib, filledShare, changes: changeCount, changeBytes, seed, rows },
    sizes: { ...sizes, zstdOfChangesBytes: zstdOfChanges },
    limits: { medians: limits, rounds: all.limits },
    tools: await Promise.all(
      measured.map(async ({ tool, rounds: list }) => ({
        name: tool.name,
        version: await tool.version(),
        settings: tool.settings,
        medians: medians.get(tool.name),
        rounds: list,
      })),
    ),
    beside: bystanders.results,
    limited,
    bars: bars.map((bar) => ({ ...bar, verdict: verdict(bar) })),
  })
  console.log(`\nraw figures: ${path}`)
}
