import { copyFile, cp, type FileHandle, open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { backUp } from '../src/chain/backup.js'
import { Repository } from '../src/chain/repository.js'
import { ByteExtents } from '../src/feed/byte-extents.js'
import { openDiskSource } from '../src/feed/disk-source.js'
import { LevelIndex } from '../src/index/level-index.js'
import { foldTo } from '../src/merge/fold.js'
import { collectGarbage } from '../src/merge/gc.js'
import { ThreadCrew } from '../src/pack/crew.js'
import { bundlesPrefix, packsPrefix } from '../src/store/keys.js'
import { LocalStore } from '../src/store/local-store.js'
import { AgingDisk } from './aging.js'
import { provideImage } from './cached-image.js'
import { ensurePackages } from './command.js'
import { CountingStore } from './counting-store.js'
import { type Curve, plotDecay } from './decay-plot.js'
import { GiB, imagePackages, requireSpace } from './image.js'
import { positive, wholePositive } from './options.js'
import { repositoryRoot } from './paths.js'
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
import { diskId, machine, openOn, type Speed, Timing } from './restore-timing.js'
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

/** What restoring the newest point took, after so many incrementals. */
interface Sample {
  readonly points: number
  /** To nowhere: planning, reading, decompressing and checking. */
  readonly now: Speed
  /** The first point, from a copy of the repository as it was then, in turns with it: what else the machine does hits both. */
  readonly first: Speed
  /** Of the newest point's: requests and bytes, of which the latter repeat what has to be read more than once. */
  readonly reads: number
  readonly readBytes: number
  readonly extents: number
  readonly packs: number
  readonly storedBytes: number
  readonly objects: number
}

/** A machine that lives on in a repository. */
class Life {
  readonly #options: DecayOptions
  readonly #repository: Repository
  readonly #store: CountingStore
  readonly #imagePath: string
  readonly #image: FileHandle
  readonly #disk: AgingDisk
  readonly #scratch: string
  #first: Repository
  #firstStore: CountingStore
  readonly #seconds = { backup: 0, fold: 0, gc: 0 }

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
    this.#first = parts.repository
    this.#firstStore = parts.store
  }

  async live(): Promise<Sample[]> {
    const { points, every } = this.#options
    await this.#backUp(undefined)
    await this.#keepFirst()
    const samples = [await this.#sample(0)]
    for (let point = 1; point <= points; point += 1) {
      await this.#backUp(ByteExtents.from(await this.#disk.age(this.#options.changes)))
      await this.#timed('fold', () => foldTo(this.#repository, machine, this.#options.keep))
      if (point % every !== 0 && point !== points) continue
      await this.#timed('gc', () => collectGarbage(this.#repository))
      samples.push(await this.#sample(point))
    }
    await this.#compare()
    await this.#firstStore.close()
    return samples
  }

  /** A copy of the repository as it is now, to restore from in turns. */
  async #keepFirst(): Promise<void> {
    const folder = join(this.#scratch, 'first')
    await cp(this.#store.location, folder, { recursive: true })
    this.#firstStore = new CountingStore(await LocalStore.open(folder))
    this.#first = await openOn(this.#firstStore, this.#repository.crew)
  }

  /** Seconds that backups, folds and collections took, in all. */
  get seconds(): { readonly backup: number; readonly fold: number; readonly gc: number } {
    return this.#seconds
  }

  async #timed(what: 'backup' | 'fold' | 'gc', work: () => Promise<unknown>): Promise<void> {
    const startMs = performance.now()
    await work()
    this.#seconds[what] += (performance.now() - startMs) / 1000
  }

  async #backUp(changed: ByteExtents | undefined): Promise<void> {
    const source = await openDiskSource(this.#imagePath)
    try {
      const disks = [{ id: diskId, source, changed }]
      await this.#timed('backup', () => backUp(this.#repository, { machine, disks }))
    } finally {
      await source.close()
    }
  }

  async #sample(points: number): Promise<Sample> {
    const now = new Timing(this.#repository, this.#store, this.#scratch)
    const first = new Timing(this.#first, this.#firstStore, this.#scratch)
    for (let round = 0; round < this.#options.rounds; round += 1) {
      await now.restore()
      await first.restore()
    }
    await now.restoreToFile()
    await first.restoreToFile()
    let storedBytes = 0
    let objects = 0
    for (const prefix of [packsPrefix, bundlesPrefix])
      for await (const object of this.#store.list(prefix)) {
        storedBytes += object.sizeBytes
        objects += 1
      }
    const { reads, readBytes, extents, packs } = now
    console.log(
      `point ${points}: restored in ${formatNumber(now.speed.seconds)} s, the first beside it in ${formatNumber(first.speed.seconds)}; ` +
        `${extents} extents in ${packs} packs, ${reads} reads of ${formatBytes(readBytes)}`,
    )
    return {
      points,
      now: now.speed,
      first: first.speed,
      reads,
      readBytes,
      extents,
      packs,
      storedBytes,
      objects,
    }
  }

  /** The newest point is the image, byte for byte. */
  async #compare(): Promise<void> {
    const timing = new Timing(this.#repository, this.#store, this.#scratch)
    await timing.restoreToFile(async (path) => {
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

/** Bars say "at most": time of the newest point against time of the first, side by side at the end. */
function barsOf(samples: readonly Sample[]): Bar[] {
  const last = samples.at(-1)
  const slower = (figure: (speed: Speed) => number): number | undefined =>
    last && figure(last.now) / figure(last.first)
  const common = { limit: 1 / speedBar, unit: 'times the first' }
  return [
    { text: 'restoring the newest point: time', measured: slower(({ seconds }) => seconds), ...common },
    { text: 'restoring it to a file: time', measured: slower(({ fileSeconds }) => fileSeconds), ...common },
    { text: 'restoring it: CPU time', measured: slower(({ cpuSeconds }) => cpuSeconds), ...common },
  ]
}

function formatSamples(samples: readonly Sample[]): string {
  const percent = ({ now, first }: Sample, figure: (speed: Speed) => number): string =>
    `${Math.round((100 * figure(first)) / figure(now))} %`
  const rows = samples.map((sample) => [
    formatNumber(sample.points),
    formatNumber(sample.now.seconds),
    percent(sample, ({ seconds }) => seconds),
    formatNumber(sample.now.cpuSeconds),
    percent(sample, ({ cpuSeconds }) => cpuSeconds),
    formatNumber(sample.now.fileSeconds),
    percent(sample, ({ fileSeconds }) => fileSeconds),
    formatNumber(sample.reads),
    formatBytes(sample.readBytes),
    formatNumber(sample.extents),
    formatNumber(sample.packs),
    formatNumber(sample.objects),
    formatBytes(sample.storedBytes),
  ])
  const head = [
    ['points', 's', 'speed', 'CPU s', 'speed', 'to file s', 'speed'],
    ['reads', 'read', 'extents', 'packs', 'objects', 'stored'],
  ].flat()
  return formatTable([head, ...rows], 0)
}

function curvesOf(samples: readonly Sample[]): Curve[] {
  const curve = (name: string, color: string, figure: (speed: Speed) => number): Curve => ({
    name,
    color,
    points: samples.map(({ points, now, first }) => ({ at: points, share: figure(first) / figure(now) })),
  })
  return [
    curve('speed, to nowhere', '#06c', ({ seconds }) => seconds),
    curve('speed, to a file', '#393', ({ fileSeconds }) => fileSeconds),
    curve('speed by CPU time alone', '#999', ({ cpuSeconds }) => cpuSeconds),
  ]
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
  const { backup, fold, gc } = life.seconds
  console.log(`\n${formatSamples(samples)}\n`)
  console.log(
    `${formatBytes(disk.dataBytes)} of data; in all, backups took ${formatNumber(backup)} s, folds ${formatNumber(fold)} s, collections ${formatNumber(gc)} s`,
  )
  for (const bar of bars) console.log(formatBar(bar))
  const { results, ...parameters } = options
  const path = await writeResults(results, 'decay', {
    benchmark: 'decay',
    commit: await describeCommit(),
    machine: describeMachine(),
    parameters,
    dataBytes: disk.dataBytes,
    seconds: life.seconds,
    samples,
    bars: bars.map((bar) => ({ ...bar, verdict: verdict(bar) })),
  })
  const title = `Restoring the newest point after up to ${formatNumber(points)} incrementals; the first point = 100 %`
  const plot = path.replace(/\.json$/, '.svg')
  await writeFile(plot, plotDecay(title, curvesOf(samples), speedBar))
  console.log(`\nraw figures: ${path}, plot: ${plot}`)
}
