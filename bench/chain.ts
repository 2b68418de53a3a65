import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { type ChainDisk, copyDisk, hashFile, provideChainDisk } from './chain-disk.js'
import { type Command, ensurePackages, run } from './command.js'
import { allocatedBytes, type Sample, warm, writeOut } from './engine-round.js'
import { GiB, MiB, requireSpace } from './image.js'
import { measurePackages, measureWithOutput, medianOf } from './measure.js'
import { wholePositive } from './options.js'
import { everfoldMain, repositoryRoot } from './paths.js'
import { everfold, type Place, peers, type Tool } from './peers.js'
import {
  type Bar,
  describeCommit,
  describeMachine,
  formatBar,
  formatNumber,
  formatTable,
  verdict,
  writeResults,
} from './report.js'
import { spaceAdvice, type Workspace } from './workspace.js'

export const chainUsage = `chain: a Debian system upgraded, with a database and packages coming and going: seven points, with QEMU's own bitmaps as feeds,
       beside restic and borg. Needs root, loop devices, /dev/fuse and a Debian package source; making the chain takes some 5 minutes, once
  --rounds N         rounds, of which the medians are shown (default 1)
  --tools A,B,…      of everfold, restic, borg (default: all)
  --results FOLDER   where the raw figures go (default bench/results)
  --everfold FILE    another build's main.js, to compare with this one`

export interface ChainOptions {
  readonly rounds: number
  readonly tools: readonly Tool[]
  readonly main: string
  readonly results: string
}

export function parseChainOptions(args: readonly string[]): ChainOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: 'string', default: '1' },
      tools: { type: 'string', default: 'everfold,restic,borg' },
      results: { type: 'string', default: join(repositoryRoot, 'bench/results') },
      everfold: { type: 'string', default: everfoldMain },
    },
  })
  const known = [everfold(values.everfold), ...peers]
  const tools = values.tools.split(',').map((name) => {
    const tool = known.find((candidate) => candidate.name === name)
    if (tool === undefined) throw new Error(`--tools takes everfold, restic and borg, not "${name}"`)
    return tool
  })
  return {
    rounds: wholePositive('rounds', values.rounds),
    tools,
    main: values.everfold,
    results: values.results,
  }
}

/** What each point cost, and all of them. */
interface ChainSample {
  readonly points: Readonly<Record<string, Sample>>
  readonly storedBytes: number
  readonly wallSeconds: number
}

/** A copy of the disk, a repository, and a restored disk without holes. */
const spaceBytes = 8 * GiB

/** The bars: shares of the smaller and of the faster peer. */
const storedBar = 0.83
const secondsBar = 0.2

const full = 'full'

/** Everfold's points, oldest first, are restored one by one. */
async function requireAllIdentical(disk: ChainDisk, main: string, place: Place): Promise<void> {
  const listed = await run({
    program: process.execPath,
    args: [main, 'points', 'bench', '--repo', place.repository, '--json'],
  })
  const ids = [...listed.stdout.matchAll(/"(?:point|id)":\s*"([0-9a-z]{8})"/g)].map(([, id = '']) => id)
  if (ids.length !== disk.points.length + 1) throw new Error(`${ids.length} points were listed`)
  const restored = join(place.output, 'point.img')
  const wanted = [await hashFile(disk.base), ...disk.points.map(({ sha256 }) => sha256)]
  for (const [i, id] of ids.entries()) {
    const args = [main, 'restore', 'bench', id, `disk0=${restored}`, '--repo', place.repository]
    await run({ program: process.execPath, args })
    if ((await hashFile(restored)) !== wanted[i])
      throw new Error(`Point ${i} of the chain is not what was saved`)
    await rm(restored)
  }
}

/** Takes a tool along the chain, in a new repository, and proves what it restores. */
async function runChainRound(
  tool: Tool,
  disk: ChainDisk,
  options: ChainOptions,
  scratch: string,
): Promise<ChainSample> {
  const place: Place = {
    imageFolder: scratch,
    imageName: 'disk.img',
    secondName: '',
    repository: join(scratch, 'repository'),
    state: join(scratch, 'state'),
    feed: '',
    archive: full,
    output: join(scratch, 'output'),
  }
  const image = join(scratch, place.imageName)
  await mkdir(place.state, { recursive: true })
  await mkdir(place.output)
  await copyDisk(disk, image)
  await run(tool.init(place))
  const sample = async (command: Command): Promise<Sample> => {
    await writeOut(scratch)
    await warm(image)
    const before = await allocatedBytes(place.repository)
    const { cost } = await measureWithOutput(command, join(scratch, 'cost'))
    return { ...cost, storedBytes: (await allocatedBytes(place.repository)) - before }
  }
  const points: Record<string, Sample> = { [full]: await sample(tool.full(place)) }
  let newest = place
  for (const [i, { name }] of disk.points.entries()) {
    await disk.apply(image, i + 1)
    newest = { ...place, feed: disk.feedPath(i + 1), archive: name }
    points[name] = await sample(tool.incremental(newest))
  }
  await run(tool.restore(newest))
  if ((await hashFile(tool.restoredFile(newest))) !== disk.points.at(-1)?.sha256)
    throw new Error(`What ${tool.name} restored is not what it saved`)
  await rm(tool.restoredFile(newest))
  if (tool.name === 'everfold') await requireAllIdentical(disk, options.main, place)
  await rm(scratch, { recursive: true })
  const all = Object.values(points)
  const sum = (figure: (one: Sample) => number): number => all.reduce((total, one) => total + figure(one), 0)
  return { points, storedBytes: sum((one) => one.storedBytes), wallSeconds: sum((one) => one.wallSeconds) }
}

type ChainMedians = ReadonlyMap<string, ChainSample>

function barsOf(medians: ChainMedians): Bar[] {
  const ours = medians.get('everfold')
  const best = (figure: (sample: ChainSample) => number | undefined): number | undefined => {
    const values = [...medians]
      .filter(([tool]) => tool !== 'everfold')
      .flatMap(([, one]) => figure(one) ?? [])
    return values.length === 0 ? undefined : Math.min(...values)
  }
  const times = (factor: number, value: number | undefined): number | undefined =>
    value === undefined ? undefined : factor * value
  const steps = Object.keys([...medians.values()][0]?.points ?? {}).filter((name) => name !== full)
  return [
    {
      text: `all points, stored: at most ${storedBar} of the smaller peer`,
      limit: times(
        storedBar / MiB,
        best((sample) => sample.storedBytes),
      ),
      measured: times(1 / MiB, ours?.storedBytes),
      unit: 'MiB',
    },
    ...steps.map((name) => ({
      text: `incremental "${name}": at most ${secondsBar} of the faster peer`,
      limit: times(
        secondsBar,
        best((sample) => sample.points[name]?.wallSeconds),
      ),
      measured: ours?.points[name]?.wallSeconds,
      unit: 's',
    })),
  ]
}

function formatChain(disk: ChainDisk, medians: ChainMedians): string {
  const tools = [...medians.keys()]
  const cells = (figures: (sample: ChainSample) => readonly [number, number] | undefined): string[] =>
    tools.flatMap((tool) => {
      const sample = medians.get(tool)
      const pair = sample && figures(sample)
      return pair === undefined ? ['', ''] : [formatNumber(pair[0]), formatNumber(pair[1] / MiB)]
    })
  const rows = [full, ...disk.points.map(({ name }) => name)].map((name) => [
    name,
    formatNumber((disk.points.find((point) => point.name === name)?.dirtyBytes ?? 0) / MiB),
    ...cells(({ points }) => {
      const point = points[name]
      return point && [point.wallSeconds, point.storedBytes]
    }),
  ])
  const total = ['all', '', ...cells((sample) => [sample.wallSeconds, sample.storedBytes])]
  return formatTable([['', 'dirty MiB', ...tools.flatMap((tool) => [`${tool} s`, 'MiB'])], ...rows, total])
}

/** Runs the benchmark on a chain, prints the points and the bars, and writes the raw figures. */
export async function measureChain(options: ChainOptions, disk: ChainDisk, scratch: string): Promise<void> {
  const { rounds, tools, results } = options
  const measured = tools.map((tool) => ({ tool, rounds: [] as ChainSample[] }))
  for (let round = 0; round < rounds; round += 1)
    for (const { tool, rounds: samples } of measured) {
      const own = join(scratch, `chain-${tool.name}-${round}`)
      const sample = await runChainRound(tool, disk, options, own)
      samples.push(sample)
      console.log(
        `round ${round + 1} of ${rounds}, ${tool.name}: ${formatNumber(sample.storedBytes / MiB)} MiB in ${formatNumber(sample.wallSeconds)} s, identical`,
      )
    }
  const medians: ChainMedians = new Map(measured.map(({ tool, rounds: list }) => [tool.name, medianOf(list)]))
  const bars = barsOf(medians)
  console.log(`\n${formatChain(disk, medians)}\n`)
  for (const bar of bars) console.log(formatBar(bar))
  const path = await writeResults(results, 'chain', {
    benchmark: 'chain',
    commit: await describeCommit(),
    machine: describeMachine(),
    parameters: { rounds, points: disk.points.map(({ name }) => name) },
    points: disk.points.map(({ sha256: _, ...point }) => point),
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

export async function runChain(options: ChainOptions, workspace: Workspace): Promise<void> {
  await ensurePackages([...measurePackages, ...options.tools.flatMap((tool) => tool.packages)])
  requireSpace(workspace.cache, spaceBytes, spaceAdvice)
  await measureChain(options, await provideChainDisk(workspace), workspace.scratch)
}
