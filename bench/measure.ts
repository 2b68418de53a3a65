import { readFile, rm } from 'node:fs/promises'
import { type Command, type CommandOutput, run } from './command.js'

/** What one run of a program cost. */
export interface Cost {
  readonly wallSeconds: number
  /** User and system time of the process and of all its descendants that were waited for. */
  readonly cpuSeconds: number
  /** The largest resident set of any one of these processes. */
  readonly peakMemoryBytes: number
}

/** What measuring needs, as `scripts/prepare` takes it. The shell's own `time` knows no memory. */
export const measurePackages = ['time:/usr/bin/time']

/**
 * Runs a program under GNU time, whose figures come from wait4(2). Wall time is taken here: GNU time rounds it to
 * 10 ms, and includes starting it (about 1 ms).
 *
 * @param scratch  A path that may be written and is removed again.
 * @throws Error if the program fails.
 */
export async function measure(command: Command, scratch: string): Promise<Cost> {
  return (await measureWithOutput(command, scratch)).cost
}

/** The same, with what the program printed. */
export async function measureWithOutput(
  command: Command,
  scratch: string,
): Promise<{ readonly cost: Cost; readonly output: CommandOutput }> {
  const args = ['--quiet', '--output', scratch, '--format', '%U %S %M', command.program, ...command.args]
  const startMs = performance.now()
  // Node.js would read the certificates that it names at every start, 36 ms of an incremental: a setting of the place, which nothing here needs.
  const env = { NODE_EXTRA_CA_CERTS: '', ...command.env }
  const output = await run({ ...command, env, program: '/usr/bin/time', args })
  const wallSeconds = Math.round(performance.now() - startMs) / 1000
  const [user, system, kib] = (await readFile(scratch, 'utf8')).trim().split(' ').map(Number)
  await rm(scratch)
  if (user === undefined || system === undefined || kib === undefined || Number.isNaN(user + system + kib)) {
    throw new Error('/usr/bin/time printed something else than three numbers: is it GNU time?')
  }
  const cpuSeconds = Math.round((user + system) * 100) / 100
  return { cost: { wallSeconds, cpuSeconds, peakMemoryBytes: kib * 1024 }, output }
}

/** The middle one, or the mean of the middle two. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const upper = sorted[sorted.length >> 1]
  const lower = sorted[(sorted.length - 1) >> 1]
  if (upper === undefined || lower === undefined) throw new RangeError('The median of nothing')
  return (lower + upper) / 2
}

/** The median of each number of things of one shape. What one of them lacks is not in the answer. */
export function medianOf<T extends object>(rounds: readonly T[]): T {
  const [first] = rounds
  if (first === undefined) throw new RangeError('The median of nothing')
  const middle = Object.entries(first).flatMap(([key, value]: [string, unknown]): [string, unknown][] => {
    const all = rounds.map((round) => (round as Record<string, unknown>)[key])
    if (typeof value === 'number' && all.every((one) => typeof one === 'number')) return [[key, median(all)]]
    const nested = all.filter((one) => typeof one === 'object' && one !== null)
    return nested.length === all.length ? [[key, medianOf(nested)]] : []
  })
  return Object.fromEntries(middle) as T
}

/** Seconds of wall time that some work took. */
export async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now()
  await work()
  return (performance.now() - startMs) / 1000
}
