import { readFileSync, writeFileSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** What work in this very process took. */
export interface Effort<T> {
  readonly result: T
  readonly wallSeconds: number
  readonly cpuSeconds: number
  /** Resident memory of the whole process when the work began, after garbage was collected, and at its highest. */
  readonly baselineBytes: number
  readonly peakMemoryBytes: number
}

function residentBytes(field: 'VmRSS' | 'VmHWM'): number {
  const kib = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
  if (kib === undefined) throw new Error('/proc/self/status does not tell resident memory: is this Linux?')
  return Number(kib) * 1024
}

function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc()')
}

/**
 * Measures work in this process. Its memory is the kernel's high-water mark, which is set back first (proc(5),
 * clear_refs), so that what prepared the work does not count but for what it still holds.
 */
export async function measureHere<T>(work: () => Promise<T>): Promise<Effort<T>> {
  collectGarbage()
  writeFileSync('/proc/self/clear_refs', '5')
  const baselineBytes = residentBytes('VmRSS')
  const startCpu = process.cpuUsage()
  const startMs = performance.now()
  const result = await work()
  const wallSeconds = (performance.now() - startMs) / 1000
  const { user, system } = process.cpuUsage(startCpu)
  return {
    result,
    wallSeconds,
    cpuSeconds: (user + system) / 1e6,
    baselineBytes,
    peakMemoryBytes: residentBytes('VmHWM'),
  }
}
