import { type Sample, type Samples, type Step, steps } from './engine-round.js'
import { MiB } from './image.js'
import { median } from './measure.js'
import { type Bar, formatNumber, formatTable } from './report.js'

/** A tool's median samples, by its name. `everfold` is what the others are compared with. */
export type Medians = ReadonlyMap<string, Samples>

const figures = ['wallSeconds', 'cpuSeconds', 'peakMemoryBytes', 'storedBytes'] as const

/** The median of each figure by itself. */
export function medianSamples(rounds: readonly Samples[]): Samples {
  const of = (step: Step): Sample => {
    const figure = (name: (typeof figures)[number]): number =>
      median(rounds.map((samples) => samples[step][name]))
    return {
      wallSeconds: figure('wallSeconds'),
      cpuSeconds: figure('cpuSeconds'),
      peakMemoryBytes: figure('peakMemoryBytes'),
      storedBytes: figure('storedBytes'),
    }
  }
  return { full: of('full'), incremental: of('incremental'), restore: of('restore') }
}

function ratio(ours: number | undefined, theirs: number): string {
  return ours === undefined || theirs === 0 ? '' : formatNumber(ours / theirs)
}

/** A row per step and tool. Ratios are Everfold's figure divided by the peer's. */
export function formatMedians(medians: Medians): string {
  const rows = steps.flatMap((step) =>
    [...medians].map(([tool, samples]) => {
      const sample = samples[step]
      const ours = tool === 'everfold' ? undefined : medians.get('everfold')?.[step]
      const stored = step === 'restore' ? '-' : formatNumber(sample.storedBytes / MiB)
      return [
        step,
        tool,
        formatNumber(sample.wallSeconds),
        formatNumber(sample.cpuSeconds),
        formatNumber(sample.peakMemoryBytes / MiB),
        stored,
        ...figures.map((name) =>
          ratio(ours?.[name], step === 'restore' && name === 'storedBytes' ? 0 : sample[name]),
        ),
      ]
    }),
  )
  const head = ['', '', 'wall s', 'CPU s', 'memory MiB', 'stored MiB']
  return formatTable([[...head, 'wall ratio', 'CPU ratio', 'memory ratio', 'stored ratio'], ...rows], 2)
}

/** The smallest figure among the peers that were measured. */
function best(medians: Medians, step: Step, name: keyof Sample): number | undefined {
  const values = [...medians]
    .filter(([tool]) => tool !== 'everfold')
    .map(([, samples]) => samples[step][name])
  return values.length === 0 ? undefined : Math.min(...values)
}

function times(factor: number, value: number | undefined): number | undefined {
  return value === undefined ? undefined : factor * value
}

/** What the engine is to hold, at least, from its first day. */
export function engineBars(medians: Medians, changedBytes: number): Bar[] {
  const ours = medians.get('everfold')
  const peak = ours && Math.max(...steps.map((step) => ours[step].peakMemoryBytes))
  return [
    {
      text: 'full no slower than the faster peer',
      limit: best(medians, 'full', 'wallSeconds'),
      measured: ours?.full.wallSeconds,
      unit: 's',
    },
    {
      text: 'full stored no larger than the smaller of the peers',
      limit: times(1 / MiB, best(medians, 'full', 'storedBytes')),
      measured: times(1 / MiB, ours?.full.storedBytes),
      unit: 'MiB',
    },
    {
      text: 'incremental from a feed 20 times faster than the faster peer',
      limit: times(1 / 20, best(medians, 'incremental', 'wallSeconds')),
      measured: ours?.incremental.wallSeconds,
      unit: 's',
    },
    {
      text: 'incremental stores 1.1 times the changed bytes',
      limit: (1.1 * changedBytes) / MiB,
      measured: times(1 / MiB, ours?.incremental.storedBytes),
      unit: 'MiB',
    },
    {
      text: 'restore no slower than restic',
      limit: medians.get('restic')?.restore.wallSeconds,
      measured: ours?.restore.wallSeconds,
      unit: 's',
    },
    { text: 'peak memory', limit: 500, measured: times(1e-6, peak), unit: 'MB' },
  ]
}
