import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { PointState } from '../src/chain/chain-state.js'
import { ExtentList } from '../src/chain/extent-list.js'
import { PackTable } from '../src/chain/pack-table.js'
import { Repository } from '../src/chain/repository.js'
import { type RunRef, SEGMENT_EXTENTS_MAX, type SegmentRef } from '../src/chain/run-store.js'
import { LevelIndex } from '../src/index/level-index.js'
import { MemoryIndex } from '../src/index/memory-index.js'
import { collectGarbage, type GcResult } from '../src/merge/gc.js'
import { allHeads, markHeads } from '../src/merge/live.js'
import { InlineCrew } from '../src/pack/inline-crew.js'
import { LocalStore } from '../src/store/local-store.js'
import { requireSpace } from './image.js'
import { positiveList, wholePositive } from './options.js'
import { repositoryRoot } from './paths.js'
import { type Effort, measureHere } from './peak-memory.js'
import {
  type Bar,
  describeCommit,
  describeMachine,
  formatBar,
  formatBytes,
  formatNumber,
  formatTable,
  verdict,
  writeResults,
} from './report.js'
import { SeededBytes } from './seeded-bytes.js'
import { chunkLengths, layDownPack } from './synthetic-packs.js'
import { chunksPerPack, Scatter, storeRun, syntheticPoint } from './synthetic-runs.js'
import { spaceAdvice, type Workspace } from './workspace.js'

export const markUsage = `mark: what garbage collection takes to find what is needed, and to let go of what is not
  --chunks N         chunks of 64 KiB, cut by content, that a disk of 1 TiB consists of (default 16777216)
  --incrementals N   of 400 scattered extents each (default 100)
  --packs A,B        packs, and chunks in each, of the repository of which half is dead (default 10000,256)
  --seed TEXT        where everything lies (default "everfold")
  --results FOLDER   where the raw figures go (default bench/results)`

export interface MarkOptions {
  readonly chunks: number
  readonly incrementals: number
  readonly packs: number
  readonly packChunks: number
  readonly seed: string
  readonly results: string
}

export function parseMarkOptions(args: readonly string[]): MarkOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      chunks: { type: 'string', default: '16777216' },
      incrementals: { type: 'string', default: '100' },
      packs: { type: 'string', default: '10000,256' },
      seed: { type: 'string', default: 'everfold' },
      results: { type: 'string', default: join(repositoryRoot, 'bench/results') },
    },
  })
  const [packs, packChunks, ...more] = positiveList('packs', values.packs)
  if (packs === undefined || packChunks === undefined || more.length > 0)
    throw new Error(`--packs takes two numbers, not "${values.packs}"`)
  return {
    chunks: wholePositive('chunks', values.chunks),
    incrementals: wholePositive('incrementals', values.incrementals),
    packs,
    packChunks,
    seed: values.seed,
    results: values.results,
  }
}

const memoryBar = 512e6
/** "Takes seconds": what we hold ourselves to. */
const secondsBar = 10
/** Extents of an incremental: 25 MiB of scattered changes. */
const incrementalExtents = 400
/** A directory, its file and a share of the runs. Bytes. */
const spacePerChunk = 80

/** One thing that was measured. */
interface Step {
  readonly name: string
  readonly extents: number
  readonly packs: number
  readonly wallSeconds: number
  readonly cpuSeconds: number
  readonly baselineBytes: number
  readonly peakMemoryBytes: number
}

function stepOf(name: string, extents: number, packs: number, effort: Effort<unknown>): Step {
  const { wallSeconds, cpuSeconds, baselineBytes, peakMemoryBytes } = effort
  return { name, extents, packs, wallSeconds, cpuSeconds, baselineBytes, peakMemoryBytes }
}

interface PackedDisk {
  readonly ids: readonly string[]
  readonly lengths: Uint32Array
}

/** Packs for all chunks of a disk. */
function layDownPacks(folder: string, chunks: number, random: SeededBytes): PackedDisk {
  const lengths = chunkLengths(Math.min(chunksPerPack, chunks), random)
  const count = Math.ceil(chunks / lengths.length)
  const ids = Array.from({ length: count }, () => layDownPack(folder, lengths, random).id)
  return { ids, lengths }
}

/** All chunks of all packs, whole packs in a row: a fresh disk. */
function freshDisk({ ids, lengths }: PackedDisk): ExtentList {
  const packs = new PackTable()
  const list = new ExtentList(0, packs, ids.length)
  const size = lengths.reduce((sum, length) => sum + length, 0)
  for (const [i, id] of ids.entries()) list.append(i * size, size, packs.slotOf(id), 0, 0)
  return list
}

/** All chunks of all packs, each in another pack than its neighbours: the worst that can be. A segment at a time. */
async function shuffledDisk(
  repository: Repository,
  machine: string,
  { ids, lengths }: PackedDisk,
): Promise<RunRef> {
  const chunks = ids.length * lengths.length
  const stepWidth = coprimeNear(chunks * 0.618, chunks)
  const segments: SegmentRef[] = []
  let offset = 0
  for (let first = 0; first < chunks; first += SEGMENT_EXTENTS_MAX) {
    const packs = new PackTable()
    const list = new ExtentList(0, packs, SEGMENT_EXTENTS_MAX)
    for (let i = first; i < Math.min(chunks, first + SEGMENT_EXTENTS_MAX); i += 1) {
      const place = (i * stepWidth) % chunks
      const chunk = place % lengths.length
      const length = lengths[chunk] ?? 0
      list.append(offset, length, packs.slotOf(ids[Math.floor(place / lengths.length)] ?? ''), chunk, 0)
      offset += length
    }
    segments.push(...(await storeRun(repository, machine, list)).segments)
  }
  return { stride: 0, segments }
}

/** A step that comes to each of `count` places once, if it is taken `count` times. */
function coprimeNear(wanted: number, count: number): number {
  const divisor = (a: number, b: number): number => (b === 0 ? a : divisor(b, a % b))
  let step = Math.max(1, Math.floor(wanted))
  while (divisor(step, count) !== 1) step += 1
  return step
}

/** Scattered changes that refer to chunks of the same packs. */
async function incrementals(
  repository: Repository,
  machine: string,
  disk: PackedDisk,
  sizeBytes: number,
  options: MarkOptions,
  random: SeededBytes,
): Promise<PointState[]> {
  const points: PointState[] = []
  const scatter = new Scatter(random)
  for (let n = 0; n < options.incrementals; n += 1) {
    const packs = new PackTable()
    const list = new ExtentList(0, packs, incrementalExtents)
    const room = Math.floor(sizeBytes / incrementalExtents)
    for (let i = 0; i < incrementalExtents; i += 1) {
      const chunk = scatter.below(disk.lengths.length)
      const length = Math.min(disk.lengths[chunk] ?? 0, Math.floor(room / 2))
      const id = disk.ids[scatter.below(disk.ids.length)] ?? ''
      list.append(i * room + scatter.below(Math.floor(room / 2)), length, packs.slotOf(id), chunk, 0)
    }
    points.push(syntheticPoint(random, sizeBytes, await storeRun(repository, machine, list), false))
  }
  return points
}

async function openSynthetic(
  folder: string,
  index?: string,
): Promise<{ readonly repository: Repository; readonly close: () => Promise<void> }> {
  const store = await LocalStore.open(folder, { create: true })
  await Repository.init(store, {})
  const repository = await Repository.open({
    store,
    crew: new InlineCrew(),
    openIndex: async () => (index === undefined ? new MemoryIndex() : LevelIndex.open(index)),
  })
  const close = async (): Promise<void> => {
    await repository.close()
    await store.close()
  }
  return { repository, close }
}

/** Marks a disk of 1 TiB whose packs are all needed, laid out as well and as badly as can be. */
async function measureMark(options: MarkOptions, folder: string): Promise<Step[]> {
  const random = new SeededBytes(options.seed)
  const { repository, close } = await openSynthetic(folder)
  const disk = layDownPacks(folder, options.chunks, random)
  const sizeBytes = disk.ids.length * disk.lengths.reduce((sum, length) => sum + length, 0)
  const machine = 'machine'
  const steps: Step[] = []
  for (const layout of ['fresh', 'shuffled'] as const) {
    const run =
      layout === 'fresh'
        ? await storeRun(repository, machine, freshDisk(disk))
        : await shuffledDisk(repository, machine, disk)
    const points = [
      syntheticPoint(random, sizeBytes, run, true),
      ...(await incrementals(repository, machine, disk, sizeBytes, options, random)),
    ]
    await repository.chains.edit(machine, () => ({ points }))
    const extents = points.reduce(
      (sum, point) =>
        sum + (point.disks[0]?.run.segments.reduce((all, { extents }) => all + extents, 0) ?? 0),
      0,
    )
    const marked = await measureHere(async () => {
      const pins = repository.pins.begin()
      try {
        return (await markHeads(repository, await allHeads(repository, pins))).count
      } finally {
        pins.end()
      }
    })
    steps.push(stepOf(`${layout} disk: runs alone`, extents, disk.ids.length, marked))
    const collected = await measureHere(() => collectGarbage(repository, { dryRun: true }))
    if (collected.result.condemnedObjects > 0) throw new Error('Something that is needed was found dead')
    steps.push(stepOf(`${layout} disk: runs and directories`, extents, disk.ids.length, collected))
  }
  await close()
  return steps
}

/** Collects a repository of which every other pack is dead: out of the index, condemned, and two rounds later removed. */
async function measureCollection(options: MarkOptions, folder: string): Promise<Step[]> {
  const random = new SeededBytes(options.seed)
  const { repository, close } = await openSynthetic(folder, join(folder, 'index'))
  const lengths = chunkLengths(options.packChunks, random)
  const index = await repository.index()
  const living: string[] = []
  for (let i = 0; i < options.packs; i += 1) {
    const directory = layDownPack(folder, lengths, random)
    await index.addPack(directory.id, directory.hashes)
    if (i % 2 === 0) living.push(directory.id)
  }
  const list = freshDisk({ ids: living, lengths })
  const run = await storeRun(repository, 'machine', list)
  await repository.chains.edit('machine', () => ({
    points: [syntheticPoint(random, list.end, run, true)],
  }))
  const dead = options.packs - living.length
  const steps: Step[] = []
  const collect = async (name: string, check: (result: GcResult) => boolean): Promise<void> => {
    const effort = await measureHere(() => collectGarbage(repository))
    if (!check(effort.result)) throw new Error(`${name}: ${JSON.stringify(effort.result)}`)
    steps.push(stepOf(name, living.length, options.packs, effort))
  }
  await collect('half dead: condemn', (result) => result.condemnedObjects === dead)
  await collect('half dead: grace', (result) => result.condemnedObjects === 0)
  await collect('half dead: remove', (result) => result.removedObjects >= dead)
  await close()
  return steps
}

function barsOf(steps: readonly Step[]): Bar[] {
  return steps
    .filter(({ name }) => name.endsWith('runs and directories'))
    .flatMap((step) => [
      {
        text: `marking, ${step.name}: memory, whole process`,
        limit: memoryBar / 1e6,
        measured: step.peakMemoryBytes / 1e6,
        unit: 'MB',
      },
      { text: `marking, ${step.name}: time`, limit: secondsBar, measured: step.wallSeconds, unit: 's' },
    ])
}

function formatSteps(steps: readonly Step[]): string {
  const rows = steps.map((step) => [
    step.name,
    formatNumber(step.extents),
    formatNumber(step.packs),
    formatNumber(step.wallSeconds),
    formatNumber(step.cpuSeconds),
    formatBytes(step.baselineBytes),
    formatBytes(step.peakMemoryBytes),
  ])
  return formatTable([['step', 'extents', 'packs', 's', 'CPU s', 'memory before', 'memory peak'], ...rows])
}

/** Runs the benchmark, prints a row per step and the bars, and writes the raw figures. */
export async function runMark(options: MarkOptions, workspace: Workspace): Promise<void> {
  requireSpace(workspace.cache, options.chunks * spacePerChunk, spaceAdvice)
  const steps = [
    ...(await measureMark(options, join(workspace.scratch, 'mark'))),
    ...(await measureCollection(options, join(workspace.scratch, 'half-dead'))),
  ]
  const bars = barsOf(steps)
  console.log(`${formatSteps(steps)}\n`)
  for (const bar of bars) console.log(formatBar(bar))
  const { results, ...parameters } = options
  const path = await writeResults(results, 'mark', {
    benchmark: 'mark',
    commit: await describeCommit(),
    machine: describeMachine(),
    parameters,
    steps,
    bars: bars.map((bar) => ({ ...bar, verdict: verdict(bar) })),
  })
  console.log(`\nraw figures: ${path}`)
}
