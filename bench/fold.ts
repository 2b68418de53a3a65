import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { PointState } from '../src/chain/chain-state.js'
import { PackTable } from '../src/chain/pack-table.js'
import { Repository, type RepositoryParts } from '../src/chain/repository.js'
import { MemoryIndex } from '../src/index/memory-index.js'
import { removePoints } from '../src/merge/fold.js'
import { InlineCrew } from '../src/pack/inline-crew.js'
import { LocalStore } from '../src/store/local-store.js'
import { MiB, requireSpace } from './image.js'
import { median } from './measure.js'
import { positiveList, wholePositive } from './options.js'
import { repositoryRoot } from './paths.js'
import { type Effort, measureHere } from './peak-memory.js'
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
import { SeededBytes } from './seeded-bytes.js'
import {
  gridBytes,
  packIds,
  Scatter,
  scatteredChanges,
  scatteredDisk,
  storeRun,
  syntheticPoint,
} from './synthetic-runs.js'
import { spaceAdvice, type Workspace } from './workspace.js'

export const foldUsage = `fold: folding scattered incrementals into a scattered parent, runs alone, with every sync
  --rounds N         rounds, of which the medians are shown (default 5). In each, one incremental after the other is folded
                     until all runs have been joined once, after 1000 at the latest: figures of a fold are means
  --parent N         extents of the parent (default 1000000)
  --child N          extents of an incremental (default 10000)
  --packs N          packs that the parent is scattered over (default 20000)
  --children A,B,…   incrementals of 400 extents folded at once (default 1,10,100,1000)
  --seed TEXT        where everything lies (default "everfold")
  --results FOLDER   where the raw figures go (default bench/results)`

export interface FoldOptions {
  readonly rounds: number
  readonly parent: number
  readonly child: number
  readonly packs: number
  readonly children: readonly number[]
  readonly seed: string
  readonly results: string
}

export function parseFoldOptions(args: readonly string[]): FoldOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: 'string', default: '5' },
      parent: { type: 'string', default: '1000000' },
      child: { type: 'string', default: '10000' },
      packs: { type: 'string', default: '20000' },
      children: { type: 'string', default: '1,10,100,1000' },
      seed: { type: 'string', default: 'everfold' },
      results: { type: 'string', default: join(repositoryRoot, 'bench/results') },
    },
  })
  return {
    rounds: wholePositive('rounds', values.rounds),
    parent: wholePositive('parent', values.parent),
    child: wholePositive('child', values.child),
    packs: wholePositive('packs', values.packs),
    children: positiveList('children', values.children),
    seed: values.seed,
    results: values.results,
  }
}

/** Runs before and after all folds of a round, about. Bytes. */
const spacePerExtent = 500

/** Extents of one of many incrementals that are folded at once: 25 MiB of scattered changes. */
export const smallChild = 400

/** The bars, for a child of 10,000 extents in a parent of 1,000,000. */
const secondsBar = 1
const writtenBar = 16 * MiB
const memoryBar = 256e6

/** One kind of fold, and the medians of its rounds. */
export interface FoldCase {
  readonly stride: number
  readonly parentExtents: number
  readonly childExtents: number
  readonly children: number
}

/** Means of the folds of a round; the medians of these. */
export interface FoldSample extends FoldCase {
  /** Of a round. */
  readonly folds: number
  readonly wallSeconds: number
  readonly cpuSeconds: number
  readonly readBytes: number
  readonly writtenBytes: number
  /** Of the fold that took or wrote most, which joined all runs. */
  readonly slowestSeconds: number
  readonly mostWrittenBytes: number
  /** Of the whole process. */
  readonly peakMemoryBytes: number
  readonly baselineBytes: number
}

/** Folds of a round at most: the last one joins all runs, whether it is time or not. */
const foldsMost = 1000

interface Round {
  readonly folds: readonly Fold[]
}

interface Fold {
  readonly wallSeconds: number
  readonly cpuSeconds: number
  readonly readBytes: number
  readonly writtenBytes: number
}

/** A repository that holds runs and chain states, and no packs. */
export class Folds {
  readonly #repository: Repository
  /** The same one, but that it joins all runs with every fold. */
  readonly #joining: Repository
  readonly #random: SeededBytes
  readonly #packs: number
  readonly #seed: string
  #machines = 0

  private constructor(repository: Repository, joining: Repository, packs: number, seed: string) {
    this.#repository = repository
    this.#joining = joining
    this.#random = new SeededBytes(seed)
    this.#packs = packs
    this.#seed = seed
  }

  /** @param packs  that a parent is scattered over, at most */
  static async open(folder: string, packs: number, seed: string): Promise<Folds> {
    const store = await LocalStore.open(folder, { create: true })
    await Repository.init(store, {})
    const openIndex = async (): Promise<MemoryIndex> => new MemoryIndex()
    const open = async (parts: Partial<RepositoryParts>): Promise<Repository> =>
      Repository.open({ store, crew: new InlineCrew(), openIndex, ...parts })
    const joinLimits = { smallRun: Infinity, times: 0, above: 0, between: 0 }
    return new Folds(await open({}), await open({ joinLimits }), packs, seed)
  }

  async close(): Promise<void> {
    await this.#repository.close()
    await this.#joining.close()
    await this.#repository.store.close()
  }

  async sample(kind: FoldCase, rounds: number): Promise<FoldSample> {
    const efforts: Effort<Round>[] = []
    for (let round = 0; round < rounds; round += 1) efforts.push(await this.#round(kind))
    const middle = (figure: (effort: Effort<Round>) => number): number => median(efforts.map(figure))
    const mean = (figure: (fold: Fold) => number): number =>
      middle(({ result: { folds } }) => folds.reduce((sum, fold) => sum + figure(fold), 0) / folds.length)
    const most = (figure: (fold: Fold) => number): number =>
      middle(({ result: { folds } }) => Math.max(...folds.map(figure)))
    return {
      ...kind,
      folds: middle((effort) => effort.result.folds.length),
      wallSeconds: mean((fold) => fold.wallSeconds),
      cpuSeconds: mean((fold) => fold.cpuSeconds),
      readBytes: mean((fold) => fold.readBytes),
      writtenBytes: mean((fold) => fold.writtenBytes),
      slowestSeconds: most((fold) => fold.wallSeconds),
      mostWrittenBytes: most((fold) => fold.writtenBytes),
      peakMemoryBytes: Math.max(...efforts.map((effort) => effort.peakMemoryBytes)),
      baselineBytes: middle((effort) => effort.baselineBytes),
    }
  }

  /** Another machine and other children each time: no segment that is written is there already. */
  async #round(kind: FoldCase): Promise<Effort<Round>> {
    const machine = `machine-${(this.#machines += 1)}`
    const sizeBytes = await this.#makeParent(kind, machine)
    return measureHere(async () => {
      const folds: Fold[] = []
      while (folds.length < foldsMost - 1) {
        await this.#appendChildren(kind, machine, sizeBytes)
        folds.push(await this.#fold(this.#repository, machine))
        const { state } = await this.#repository.chains.get(machine)
        if (state.points.every((point) => point.disks.every((disk) => disk.folded === undefined)))
          return { folds }
      }
      await this.#appendChildren(kind, machine, sizeBytes)
      folds.push(await this.#fold(this.#joining, machine))
      return { folds }
    })
  }

  /** All points into the newest. */
  async #fold(repository: Repository, machine: string): Promise<Fold> {
    const { state } = await repository.chains.get(machine)
    const removed = new Set(state.points.slice(0, -1).map((point) => point.id))
    const startCpu = process.cpuUsage()
    const startMs = performance.now()
    const { readBytes, writtenBytes } = await removePoints(repository, machine, removed)
    const wallSeconds = (performance.now() - startMs) / 1000
    const { user, system } = process.cpuUsage(startCpu)
    return { wallSeconds, cpuSeconds: (user + system) / 1e6, readBytes, writtenBytes }
  }

  async #appendChildren(kind: FoldCase, machine: string, sizeBytes: number): Promise<void> {
    const children: PointState[] = []
    for (let i = 0; i < kind.children; i += 1) {
      const packs = new PackTable()
      const list = scatteredChanges(kind.childExtents, kind.stride, sizeBytes, packs, this.#random)
      const run = await storeRun(this.#repository, machine, list)
      children.push(syntheticPoint(this.#random, sizeBytes, run, false))
    }
    await this.#repository.chains.edit(machine, (head) => ({
      points: [...(head?.state.points ?? []), ...children],
    }))
  }

  /** Runs belong to a machine, so each gets a copy; what is written under its name is its own. @returns the size of its disk */
  async #makeParent({ parentExtents, stride }: FoldCase, machine: string): Promise<number> {
    const packs = new PackTable()
    const random = new SeededBytes(`${this.#seed} ${machine}`)
    const ids = packIds(Math.min(this.#packs, parentExtents), random)
    const list = scatteredDisk(parentExtents, stride, packs, ids, new Scatter(random))
    const point = syntheticPoint(
      this.#random,
      list.end,
      await storeRun(this.#repository, machine, list),
      true,
    )
    await this.#repository.chains.edit(machine, () => ({ points: [point] }))
    return list.end
  }
}

/** What is measured: the bar's fold with both kinds of chunks, then one thing varied at a time. */
function casesOf({ parent, child, children }: FoldOptions): FoldCase[] {
  const base: FoldCase = { stride: gridBytes, parentExtents: parent, childExtents: child, children: 1 }
  const parts = (of: number, by: readonly number[]): number[] =>
    by.map((part) => Math.round(of * part)).filter((size) => size >= 1)
  return [
    base,
    { ...base, stride: 0 },
    ...parts(child, [0.001, 0.01, 0.1, 10]).map((childExtents) => ({ ...base, childExtents })),
    ...parts(parent, [0.01, 0.1, 4]).map((parentExtents) => ({
      ...base,
      parentExtents,
      childExtents: Math.min(child, parentExtents >> 2),
    })),
    ...children.map((count) => ({ ...base, childExtents: smallChild, children: count })),
  ]
}

function barsOf(samples: readonly FoldSample[]): Bar[] {
  return samples.slice(0, 2).flatMap((sample) => {
    const what = `folding ${formatNumber(sample.childExtents)} into ${formatNumber(sample.parentExtents)} extents, ${chunksOf(sample)}`
    return [
      { text: `${what}: time of the slowest`, limit: secondsBar, measured: sample.slowestSeconds, unit: 's' },
      {
        text: `${what}: written by that`,
        limit: writtenBar / MiB,
        measured: sample.mostWrittenBytes / MiB,
        unit: 'MiB',
      },
      {
        text: `${what}: memory, whole process`,
        limit: memoryBar / 1e6,
        measured: sample.peakMemoryBytes / 1e6,
        unit: 'MB',
      },
    ]
  })
}

function chunksOf({ stride }: FoldCase): string {
  return stride === 0 ? 'by content' : 'on the grid'
}

function formatSamples(samples: readonly FoldSample[]): string {
  const rows = samples.map((sample) => [
    chunksOf(sample),
    formatNumber(sample.parentExtents),
    formatNumber(sample.childExtents),
    formatNumber(sample.children),
    formatNumber(sample.folds),
    formatNumber(sample.wallSeconds),
    formatNumber(sample.cpuSeconds),
    formatNumber(sample.slowestSeconds),
    formatNumber(sample.readBytes / MiB),
    formatNumber(sample.writtenBytes / MiB),
    formatNumber(sample.baselineBytes / 1e6),
    formatNumber(sample.peakMemoryBytes / 1e6),
  ])
  const head = [
    'chunks',
    'parent',
    'child',
    'children',
    'folds',
    's',
    'CPU s',
    'slowest s',
    'read MiB',
    'written MiB',
    'MB before',
    'MB peak',
  ]
  return formatTable([head, ...rows])
}

/** Runs the benchmark, prints the bars and a row per case, and writes the raw figures. */
export async function runFold(options: FoldOptions, workspace: Workspace): Promise<void> {
  requireSpace(workspace.cache, options.parent * options.rounds * spacePerExtent, spaceAdvice)
  const folds = await Folds.open(join(workspace.scratch, 'fold'), options.packs, options.seed)
  const samples: FoldSample[] = []
  for (const kind of casesOf(options)) samples.push(await folds.sample(kind, options.rounds))
  await folds.close()
  const bars = barsOf(samples)
  console.log(
    `Medians of ${options.rounds}, of the means of a round's folds; extents; memory of the whole process, its highest.\n`,
  )
  console.log(`${formatSamples(samples)}\n`)
  for (const bar of bars) console.log(formatBar(bar))
  const { results, ...parameters } = options
  const path = await writeResults(results, 'fold', {
    benchmark: 'fold',
    commit: await describeCommit(),
    machine: describeMachine(),
    parameters,
    samples,
    bars: bars.map((bar) => ({ ...bar, verdict: verdict(bar) })),
  })
  console.log(`\nraw figures: ${path}`)
}
