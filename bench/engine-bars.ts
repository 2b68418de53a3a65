import type { Sample, Samples, Step } from './engine-round.js'
import type { Beside, Medians } from './engine-summary.js'
import { MiB } from './image.js'
import type { Bar } from './report.js'

/** Figures of peers that a bar may be about. */
type Compared = 'wallSeconds' | 'cpuSeconds' | 'storedBytes'

/** The smallest figure among the peers that were measured. */
function best(medians: Medians, step: Step, name: Compared): number | undefined {
  const values = [...medians]
    .filter(([tool]) => tool !== 'everfold')
    .flatMap(([, samples]) => samples[step]?.[name] ?? [])
  return values.length === 0 ? undefined : Math.min(...values)
}

function times(factor: number, value: number | undefined): number | undefined {
  return value === undefined ? undefined : factor * value
}

function highestMemory(ours: Samples | undefined): number | undefined {
  const peaks = Object.values(ours ?? {}).map((sample: Sample) => sample.peakMemoryBytes)
  return peaks.length === 0 ? undefined : Math.max(...peaks) / 1e6
}

/** What the engine is held to. `zstd` is what zstd makes of the changed bytes. */
export function engineBars(medians: Medians, beside: Beside, zstd: number): Bar[] {
  const ours = medians.get('everfold')
  const against = (text: string, step: Step, name: Compared, share: number, measured?: number): Bar => {
    const isBytes = name === 'storedBytes'
    const scale = isBytes ? 1 / MiB : 1
    return {
      text: `${text}: at most ${Number(share.toFixed(4))} of the ${isBytes ? 'smaller' : 'faster'} peer`,
      limit: times(share * scale, best(medians, step, name)),
      measured: measured ?? times(scale, ours?.[step]?.[name]),
      unit: isBytes ? 'MiB' : 's',
    }
  }
  const { copy, random, service, loop } = beside
  const restic = medians.get('restic')?.restore
  return [
    against('full', 'full', 'wallSeconds', 0.5),
    against('full, CPU', 'full', 'cpuSeconds', 0.7),
    ...(service === undefined
      ? []
      : [against('full through the service', 'full', 'wallSeconds', 0.65, service.wallSeconds)]),
    against('full, stored', 'full', 'storedBytes', 1),
    against('second machine, stored', 'second', 'storedBytes', 1),
    against('second machine', 'second', 'wallSeconds', 0.4),
    against('full again, nothing changed', 'again', 'wallSeconds', 0.35),
    against('incremental from a feed', 'incremental', 'wallSeconds', 1 / 60),
    {
      text: 'incremental, stored: at most 1.05 of what zstd -3 makes of the changed bytes',
      limit: (1.05 * zstd) / MiB,
      measured: times(1 / MiB, ours?.incremental?.storedBytes),
      unit: 'MiB',
    },
    {
      text: 'restore, until it is on stable storage: at most 0.65 of restic and sync',
      limit: times(0.65, restic?.wallSeconds),
      measured: ours?.restore?.wallSeconds,
      unit: 's',
    },
    {
      text: 'restore, until the command ends: at most 0.65 of restic, which does not wait for the disk',
      limit: times(0.65, restic?.unsyncedSeconds),
      measured: ours?.restore?.unsyncedSeconds,
      unit: 's',
    },
    {
      text: 'restore: at least 0.9 of the rate of cp --sparse and sync',
      limit: times(1 / 0.9, copy?.wallSeconds),
      measured: ours?.restore?.wallSeconds,
      unit: 's',
    },
    {
      text: 'random bytes: at least 0.75 of the rate of sha256sum on two cores, then writing',
      limit: times(1 / 0.75, random && random.sha256sumSeconds + random.writeSeconds),
      measured: random?.wallSeconds,
      unit: 's',
    },
    { text: 'events kept waiting during a full, p99', limit: 20, measured: loop?.delayP99Ms, unit: 'ms' },
    { text: 'peak memory', limit: 500, measured: highestMemory(ours), unit: 'MB' },
  ]
}
