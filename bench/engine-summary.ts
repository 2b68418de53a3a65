import type { CopyFigures } from './engine-copy.js'
import type { RandomFigures } from './engine-random.js'
import { type Sample, type Samples, type Step, steps } from './engine-round.js'
import type { ServiceFigures } from './engine-service.js'
import { MiB } from './image.js'
import { type Limits, leastSeconds, type Work } from './limits.js'
import type { LoopFigures } from './loop-probe.js'
import { formatNumber, formatTable } from './report.js'

/** A tool's median samples, by its name. `everfold` is what the others are compared with. */
export type Medians = ReadonlyMap<string, Samples>

/** Medians of what was measured beside the tools' steps, as far as it was. */
export interface Beside {
  readonly copy?: CopyFigures
  readonly random?: RandomFigures
  readonly service?: ServiceFigures
  readonly loop?: LoopFigures
}

const figures = ['wallSeconds', 'cpuSeconds', 'peakMemoryBytes', 'storedBytes'] as const

function ratio(ours: number | undefined, theirs: number): string {
  return ours === undefined || theirs === 0 ? '' : formatNumber(ours / theirs)
}

/** A row per step and tool. Ratios are Everfold's figure divided by the peer's. */
export function formatMedians(medians: Medians): string {
  const rows = steps.flatMap((step) =>
    [...medians].flatMap(([tool, samples]) => {
      const sample = samples[step]
      if (sample === undefined) return []
      const ours = tool === 'everfold' ? undefined : medians.get('everfold')?.[step]
      const storing = step !== 'restore' && step !== 'again'
      return [
        [
          step,
          tool,
          formatNumber(sample.wallSeconds),
          formatNumber(sample.cpuSeconds),
          formatNumber(sample.peakMemoryBytes / MiB),
          storing ? formatNumber(sample.storedBytes / MiB) : '-',
          ...figures.map((name) =>
            ratio(ours?.[name], !storing && name === 'storedBytes' ? 0 : sample[name]),
          ),
        ],
      ]
    }),
  )
  const head = ['', '', 'wall s', 'CPU s', 'memory MiB', 'stored MiB']
  return formatTable([[...head, 'wall ratio', 'CPU ratio', 'memory ratio', 'stored ratio'], ...rows], 2)
}

/** A row of work, with the least time that it can take on this machine. */
export interface LimitRow {
  readonly name: string
  readonly wallSeconds: number
  readonly leastSeconds: number
  /** Of our time. */
  readonly limitShare: number
}

/** Bytes of the disks. */
export interface DataSizes {
  readonly dataBytes: number
  readonly secondDataBytes: number
  readonly changedBytes: number
  readonly randomBytes: number
}

/** What a step cannot do without: what is new is compressed, and decompressed once to prove it. */
function worksOf(ours: Samples, sizes: DataSizes): Readonly<Record<Step, Work>> {
  const backup = (bytes: number, sample: Sample | undefined): Work => {
    const fresh = sample?.newBytes ?? bytes
    return {
      read: bytes,
      hashed: bytes,
      compressed: fresh,
      decompressed: fresh,
      written: sample?.storedBytes ?? 0,
    }
  }
  const { dataBytes, secondDataBytes, changedBytes } = sizes
  return {
    full: backup(dataBytes, ours.full),
    again: { read: dataBytes, hashed: dataBytes },
    second: backup(secondDataBytes, ours.second),
    incremental: backup(changedBytes, ours.incremental),
    restore: {
      read: ours.full?.storedBytes ?? 0,
      decompressed: ours.full?.newBytes ?? dataBytes,
      hashed: dataBytes,
      written: dataBytes,
    },
  }
}

/** Our time beside the least that is possible. */
export function limitRows(medians: Medians, beside: Beside, sizes: DataSizes, limits: Limits): LimitRow[] {
  const ours = medians.get('everfold') ?? {}
  const works = worksOf(ours, sizes)
  const row = (name: string, wallSeconds: number | undefined, work: Work): LimitRow[] => {
    if (wallSeconds === undefined) return []
    const least = leastSeconds(work, limits)
    return [{ name, wallSeconds, leastSeconds: least, limitShare: least / wallSeconds }]
  }
  const { randomBytes } = sizes
  return [
    ...steps.flatMap((step) => row(step, ours[step]?.wallSeconds, works[step])),
    ...row('service', beside.service?.wallSeconds, works.full),
    ...row('random', beside.random?.wallSeconds, {
      read: randomBytes,
      hashed: randomBytes,
      written: randomBytes,
    }),
  ]
}

export function formatLimits(limits: Limits, rows: readonly LimitRow[]): string {
  const gigabytes = (rate: number): string => formatNumber(rate / 1e9)
  const rates = [
    `SHA-256 ${gigabytes(limits.sha256OneBytesPerSecond)} and ${gigabytes(limits.sha256AllBytesPerSecond)}`,
    `zstd level 3 ${gigabytes(limits.zstdOneBytesPerSecond)} and ${gigabytes(limits.zstdAllBytesPerSecond)}`,
    `decompression ${gigabytes(limits.unzstdOneBytesPerSecond)} and ${gigabytes(limits.unzstdAllBytesPerSecond)}`,
    `reading ${gigabytes(limits.readBytesPerSecond)}, writing ${gigabytes(limits.writeBytesPerSecond)}`,
  ]
  const cells = rows.map((row) => [
    row.name,
    formatNumber(row.leastSeconds),
    formatNumber(row.wallSeconds),
    `${Math.round(100 * row.limitShare)} %`,
  ])
  return (
    `This machine's limits, GB/s of one thread and of ${limits.cores}: ${rates.join('; ')}\n` +
    formatTable([['', 'limit s', 'our s', 'share of the limit'], ...cells])
  )
}

/** @param when  during what */
export function formatLoop(loop: LoopFigures, when: string): string {
  const ms = (value: number): string => `${formatNumber(value)} ms`
  return (
    `main thread during ${when}: events waited ${ms(loop.delayP50Ms)} (p50), ${ms(loop.delayP99Ms)} (p99), ${ms(loop.delayMaxMs)} at most; ` +
    `${formatNumber(100 * loop.collectingShare)} % of its time went into collecting garbage`
  )
}
