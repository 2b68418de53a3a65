import { copyFile, type FileHandle, open, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { backUp } from '../src/chain/backup.js'
import { ZEROS } from '../src/chain/extent-list.js'
import { Repository } from '../src/chain/repository.js'
import { ByteExtents } from '../src/feed/byte-extents.js'
import { openDiskSource } from '../src/feed/disk-source.js'
import { LevelIndex } from '../src/index/level-index.js'
import { foldTo } from '../src/merge/fold.js'
import { collectGarbage } from '../src/merge/gc.js'
import { ThreadCrew } from '../src/pack/crew.js'
import { openFileTarget } from '../src/restore/file-target.js'
import { planDisk } from '../src/restore/plan.js'
import { type DiskTarget, restoreDisk } from '../src/restore/restore.js'
import { bundlesPrefix, packsPrefix } from '../src/store/keys.js'
import { LocalStore } from '../src/store/local-store.js'
import { AgingDisk } from './aging.js'
import { provideImage } from './cached-image.js'
import { ensurePackages } from './command.js'
import { CountingStore } from './counting-store.js'
import { GiB, imagePackages, requireSpace } from './image.js'
import { median } from './measure.js'
import { positive, wholePositive } from './options.js'
import { repositoryRoot } from './paths.js'
import { drawPlot, type Panel } from './plot.js'
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
import { spaceAdvice, type Workspace } from './workspace.js'

export const decayUsage = `decay: how fast the newest point restores after two weeks of incrementals, folds and collections
  --size-gib N       size of the image (default 1)
  --points N         incrementals (default 1344)
  --keep N           points that folding leaves (default 96)
  --every N          points between collections, each followed by restores (default 96)
  --changes N        blocks of 64 KiB that change from point to point (default 40)
  --rounds N         restores each time, of which the median counts (default 3)
  --seed TEXT        what changes, and where (default "everfold")
  --results FOLDER   where the raw figures and the plot go (default bench/results)`

export interface DecayOptions {
  readonly sizeGib: number
  readonly points: number
  readonly keep: number
  readonly every: number
  readonly changes: number
  readonly rounds: number
  readonly seed: string
  readonly results: string
}

export function parseDecayOptions(args: readonly string[]): DecayOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      'size-gib': { type: 'string', default: '1' },
      points: { type: 'string', default: '1344' },
      keep: { type: 'string', default: '96' },
      every: { type: 'string', default: '96' },
      changes: { type: 'string', default: '40' },
      rounds: { type: 'string', default: '3' },
      seed: { type: 'string', default: 'everfold' },
      results: { type: 'string', default: join(repositoryRoot, 'bench/results') },
    },
  })
  return {
    sizeGib: positive('size-gib', values['size-gib']),
    points: wholePositive('points', values.points),
    keep: wholePositive('keep', values.keep),
    every: wholePositive('every', values.every),
    changes: wholePositive('changes', values.changes),
    rounds: wholePositive('rounds', values.rounds),
    seed: values.seed,
    results: values.results,
  }
}

/** The newest point's speed at the end, as a share of the first. */
const speedBar = 0.8
/** The image, its copy, a restored file, and a repository with what waits for its removal: times the image's size. */
const spaceShare = 6

const machine = 'machine'
const diskId = 'disk'

/** What restoring the newest point took, after so many incrementals. */
interface Sample {
  readonly points: number
  /** To nowhere: planning, reading, decompressing and checking. */
  readonly seconds: number
  readonly cpuSeconds: number
  /** To a file, with its sync. */
  readonly fileSeconds: number
  /** Of the store: requests and bytes, of which the latter repeat what has to be read more than once. */
  readonly reads: number
  readonly readBytes: number
  readonly extents: number
  readonly packs: number
  /** Of all packs, those in bundles and in quarantine included. */
  readonly storedBytes: number
  readonly objects: number
  /** Of packs, by collections since the sample before. */
  readonly rewrittenBytes: number
  /** Of packs, by backups likewise. */
  readonly newBytes: number
}

/** What all backups, folds or collections took together. */
interface Spent {
  seconds: number
  cpuSeconds: number
}

const nowhere: DiskTarget = { write: async () => undefined, zeros: async () => undefined }

/** A machine that lives on in a repository. */
class Life {
  readonly #options: DecayOptions
  readonly #repository: Repository
  readonly #store: CountingStore
  readonly #imagePath: string
  readonly #image: FileHandle
  readonly #disk: AgingDisk
  readonly #scratch: string
  readonly #spent: Record<'backup' | 'fold' | 'gc', Spent> = {
    backup: { seconds: 0, cpuSeconds: 0 },
    fold: { seconds: 0, cpuSeconds: 0 },
    gc: { seconds: 0, cpuSeconds: 0 },
  }
  #rewrittenBytes = 0
  #newBytes = 0

  constructor(parts: {
    readonly options: DecayOptions
    readonly repository: Repository
    readonly store: CountingStore
    readonly imagePath: string
    readonly image: FileHandle
    readonly disk: AgingDisk
    readonly scratch: string
  }) {
    this.#options = parts.options
    this.#repository = parts.repository
    this.#store = parts.store
    this.#imagePath = parts.imagePath
    this.#image = parts.image
    this.#disk = parts.disk
    this.#scratch = parts.scratch
  }

  async live(): Promise<Sample[]> {
    const { points, every } = this.#options
    await this.#backUp(undefined)
    const samples = [await this.#sample(0)]
    for (let point = 1; point <= points; point += 1) {
      await this.#backUp(ByteExtents.from(await this.#disk.age(this.#options.changes)))
      await this.#timed('fold', () => foldTo(this.#repository, machine, this.#options.keep))
      if (point % every !== 0 && point !== points) continue
      const { writtenBytes } = await this.#timed('gc', () => collectGarbage(this.#repository))
      this.#rewrittenBytes += writtenBytes
      samples.push(await this.#sample(point))
    }
    await this.#compare()
    return samples
  }

  /** What backups, folds and collections took, in all. */
  get spent(): Readonly<Record<'backup' | 'fold' | 'gc', Readonly<Spent>>> {
    return this.#spent
  }

  async #timed<T>(what: 'backup' | 'fold' | 'gc', work: () => Promise<T>): Promise<T> {
    const startCpu = process.cpuUsage()
    const startMs = performance.now()
    const result = await work()
    const spent = this.#spent[what]
    spent.seconds += (performance.now() - startMs) / 1000
    spent.cpuSeconds += cpuSecondsSince(startCpu)
    return result
  }

  async #backUp(changed: ByteExtents | undefined): Promise<void> {
    const source = await openDiskSource(this.#imagePath)
    try {
      const disks = [{ id: diskId, source, changed }]
      const { storedBytes } = await this.#timed('backup', () => backUp(this.#repository, { machine, disks }))
      this.#newBytes += storedBytes
    } finally {
      await source.close()
    }
  }

  async #sample(points: number): Promise<Sample> {
    const times: number[] = []
    const cpu: number[] = []
    let extents = 0
    let packs = 0
    for (let round = 0; round < this.#options.rounds; round += 1) {
      this.#store.reads = 0
      this.#store.readBytes = 0
      const startCpu = process.cpuUsage()
      const startMs = performance.now()
      const counts = await this.#restore(nowhere)
      times.push((performance.now() - startMs) / 1000)
      cpu.push(cpuSecondsSince(startCpu))
      extents = counts.extents
      packs = counts.packs
    }
    const { reads, readBytes } = this.#store
    const fileSeconds = await this.#restoreToFile(async () => undefined)
    let storedBytes = 0
    let objects = 0
    for (const prefix of [packsPrefix, bundlesPrefix])
      for await (const object of this.#store.list(prefix)) {
        storedBytes += object.sizeBytes
        objects += 1
      }
    const sample = {
      points,
      seconds: median(times),
      cpuSeconds: median(cpu),
      fileSeconds,
      reads,
      readBytes,
      extents,
      packs,
      storedBytes,
      objects,
      rewrittenBytes: this.#rewrittenBytes,
      newBytes: this.#newBytes,
    }
    this.#rewrittenBytes = 0
    this.#newBytes = 0
    console.log(
      `point ${points}: restored in ${formatNumber(sample.seconds)} s (CPU ${formatNumber(sample.cpuSeconds)}), ` +
        `to a file in ${formatNumber(fileSeconds)} s; ${extents} extents in ${packs} packs, ${reads} reads of ${formatBytes(readBytes)}`,
    )
    return sample
  }

  /** Like a process of its own would: it knows no directory yet. */
  async #restore(target: DiskTarget): Promise<{ extents: number; packs: number }> {
    const { state } = await this.#repository.chains.get(machine)
    const fresh = await Repository.open({
      store: this.#store,
      crew: this.#repository.crew,
      openIndex: () => this.#repository.index(),
    })
    const plan = await planDisk(fresh, state, state.points.length - 1, diskId)
    try {
      await restoreDisk(fresh, plan, target, () => undefined)
      const used = new Set(plan.extents.pack.subarray(0, plan.extents.length))
      used.delete(ZEROS)
      return { extents: plan.extents.length, packs: used.size }
    } finally {
      plan.pins.end()
    }
  }

  async #restoreToFile(look: (path: string) => Promise<void>): Promise<number> {
    const path = join(this.#scratch, 'restored')
    const { size } = await this.#image.stat()
    const startMs = performance.now()
    const target = await openFileTarget(path, size, false)
    await this.#restore(target)
    await target.finish()
    const seconds = (performance.now() - startMs) / 1000
    await look(path)
    await rm(path)
    return seconds
  }

  /** The newest point is the image, byte for byte. */
  async #compare(): Promise<void> {
    await this.#restoreToFile(async (path) => {
      const restored = await open(path)
      const { size } = await this.#image.stat()
      const [a, b] = [Buffer.alloc(1 << 20), Buffer.alloc(1 << 20)]
      for (let offset = 0; offset < size; offset += a.length) {
        const length = Math.min(a.length, size - offset)
        await this.#image.read(a, 0, length, offset)
        await restored.read(b, 0, length, offset)
        if (!a.subarray(0, length).equals(b.subarray(0, length)))
          throw new Error(`The restored disk differs from the image after byte ${offset}`)
      }
      await restored.close()
    })
  }
}

function cpuSecondsSince(start: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(start)
  return (user + system) / 1e6
}

function shareOf(samples: readonly Sample[], figure: (sample: Sample) => number): number | undefined {
  const [first, last] = [samples[0], samples.at(-1)]
  return first === undefined || last === undefined ? undefined : figure(first) / figure(last)
}

/** Bars say "at most": time at the end against time at the start. */
function barsOf(samples: readonly Sample[]): Bar[] {
  const slower = (figure: (sample: Sample) => number): number | undefined => {
    const share = shareOf(samples, figure)
    return share === undefined ? undefined : 1 / share
  }
  const limit = 1 / speedBar
  const unit = 'times the first'
  return [
    {
      text: 'restoring the newest point: time at the end',
      limit,
      measured: slower((sample) => sample.seconds),
      unit,
    },
    {
      text: 'restoring the newest point: CPU time at the end',
      limit,
      measured: slower((sample) => sample.cpuSeconds),
      unit,
    },
    {
      text: 'restoring it to a file: time at the end',
      limit,
      measured: slower((sample) => sample.fileSeconds),
      unit,
    },
  ]
}

function formatSpent({ seconds, cpuSeconds }: Spent): string {
  return `${formatNumber(seconds)} s (CPU ${formatNumber(cpuSeconds)})`
}

function formatSamples(samples: readonly Sample[]): string {
  const first = samples[0]
  const rows = samples.map((sample) => [
    formatNumber(sample.points),
    formatNumber(sample.seconds),
    `${Math.round((100 * (first?.seconds ?? 0)) / sample.seconds)} %`,
    formatNumber(sample.cpuSeconds),
    `${Math.round((100 * (first?.cpuSeconds ?? 0)) / sample.cpuSeconds)} %`,
    formatNumber(sample.fileSeconds),
    `${Math.round((100 * (first?.fileSeconds ?? 0)) / sample.fileSeconds)} %`,
    formatNumber(sample.reads),
    formatBytes(sample.readBytes),
    formatNumber(sample.extents),
    formatNumber(sample.packs),
    formatNumber(sample.objects),
    formatBytes(sample.storedBytes),
    formatBytes(sample.newBytes),
    formatBytes(sample.rewrittenBytes),
  ])
  const head = [
    'points',
    's',
    'speed',
    'CPU s',
    'speed',
    'to file s',
    'speed',
    'reads',
    'read',
    'extents',
    'packs',
    'objects',
    'stored',
    'came in',
    'rewritten',
  ]
  return formatTable([head, ...rows], 0)
}

/** Speed, as a share of what it was at the start, in per cent. */
function speedPanel(samples: readonly Sample[]): Panel {
  const series = (name: string, figure: (sample: Sample) => number) => ({
    name,
    points: samples.map((sample) => ({
      at: sample.points,
      value: (100 * figure(samples[0] ?? sample)) / figure(sample),
    })),
  })
  return {
    y: { label: 'speed; at the start = 100 %', format: (value) => `${value} %` },
    series: [
      series('to nowhere', (sample) => sample.seconds),
      series('to a file', (sample) => sample.fileSeconds),
      series('by CPU time alone', (sample) => sample.cpuSeconds),
    ],
    bar: 100 * speedBar,
  }
}

/** Runs the benchmark, prints the curve and the bars, and writes raw figures and plot. */
export async function runDecay(options: DecayOptions, workspace: Workspace): Promise<void> {
  const { sizeGib, points } = options
  await ensurePackages(imagePackages)
  requireSpace(workspace.cache, sizeGib * GiB * spaceShare, spaceAdvice)
  const imagePath = join(workspace.scratch, 'aging.img')
  await copyFile(await provideImage(workspace, sizeGib), imagePath)
  const image = await open(imagePath, 'r+')
  const disk = await AgingDisk.open(image, new SeededBytes(options.seed))
  const folder = join(workspace.scratch, 'decay')
  const store = new CountingStore(await LocalStore.open(folder, { create: true }))
  await Repository.init(store, {})
  const crew = new ThreadCrew()
  const index = await LevelIndex.open(join(folder, 'index'))
  const repository = await Repository.open({ store, crew, openIndex: async () => index })
  const life = new Life({ options, repository, store, imagePath, image, disk, scratch: workspace.scratch })
  const samples = await life.live()
  await repository.close()
  await crew.close()
  await store.close()
  await image.close()

  const bars = barsOf(samples)
  const { backup, fold, gc } = life.spent
  console.log(`\n${formatSamples(samples)}\n`)
  console.log(
    `${formatBytes(disk.dataBytes)} of data; in all, backups took ${formatSpent(backup)}, folds ${formatSpent(fold)}, collections ${formatSpent(gc)}`,
  )
  for (const bar of bars) console.log(formatBar(bar))
  const { results, ...parameters } = options
  const path = await writeResults(results, 'decay', {
    benchmark: 'decay',
    commit: await describeCommit(),
    machine: describeMachine(),
    parameters,
    dataBytes: disk.dataBytes,
    spent: life.spent,
    samples,
    bars: bars.map((bar) => ({ ...bar, verdict: verdict(bar) })),
  })
  const title = `Restoring the newest point, ${formatNumber(points)} incrementals of ${formatNumber(options.changes)} blocks`
  const plot = path.replace(/\.json$/, '.svg')
  const x = { label: 'points taken', format: formatNumber }
  await writeFile(plot, drawPlot({ title, x, panels: [speedPanel(samples)] }))
  console.log(`\nraw figures: ${path}, plot: ${plot}`)
}
