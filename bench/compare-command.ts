import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { compareWithCommitted } from './compare.js'
import type { Workspace } from './workspace.js'

export const compareUsage = `--compare [NAME… | FILE…] [OPTIONS]
  Runs the benchmarks NAME (default: engine) with OPTIONS, without touching bench/results, and prints what changed by more than the noise
  against the last committed results. A FILE (*.json) was written by an earlier run: it is compared as it is.
  Noise is the spread of the rounds, 3 % at least; 15 % for times without rounds (50 % for p99), and 1 % for bytes and counts.`

/** Runs one benchmark with its options. */
export type RunBenchmark = (name: string, args: readonly string[]) => Promise<void>

/** @param args  What follows `--compare`. */
export async function runCompare(
  args: readonly string[],
  workspace: () => Promise<Workspace>,
  runBenchmark: RunBenchmark,
): Promise<void> {
  const firstOption = args.findIndex((arg) => arg.startsWith('-'))
  const named = firstOption === -1 ? args : args.slice(0, firstOption)
  const options = firstOption === -1 ? [] : args.slice(firstOption)
  const files = named.filter((name) => name.endsWith('.json'))
  const names = named.filter((name) => !name.endsWith('.json'))
  for (const file of files) await compareWithCommitted(file)
  for (const name of named.length === 0 ? ['engine'] : names) {
    const results = join((await workspace()).cache, 'compared', name)
    await rm(results, { recursive: true, force: true })
    await mkdir(results, { recursive: true })
    await runBenchmark(name, [...options, '--results', results])
    for (const file of (await readdir(results)).filter((entry) => entry.endsWith('.json')).sort())
      await compareWithCommitted(join(results, file))
  }
}
