/**
 * Loaded into a command before its own code (`node --import`), where EVERFOLD_BENCH_PROBE names a file: writes there, when the process ends, how long its
 * main thread kept events waiting, and what share of its time that thread collected garbage. At SIGUSR2 it does so at once, and begins anew. The command
 * knows nothing of it.
 */
import { renameSync, writeFileSync } from 'node:fs'
import { monitorEventLoopDelay, PerformanceObserver } from 'node:perf_hooks'
import { isMainThread } from 'node:worker_threads'

/** Of the main thread. */
export interface LoopFigures {
  readonly delayP50Ms: number
  readonly delayP99Ms: number
  readonly delayMaxMs: number
  readonly collectingShare: number
}

/** How often it is looked, which is a delay by itself, and is taken off. */
const resolutionMs = 1

const path = process.env['EVERFOLD_BENCH_PROBE']
if (path !== undefined && isMainThread) {
  const delay = monitorEventLoopDelay({ resolution: resolutionMs })
  delay.enable()
  let collectingMs = 0
  const observer = new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) collectingMs += duration
  })
  observer.observe({ entryTypes: ['gc'] })
  let beganMs = 0
  const tell = (): void => {
    for (const { duration } of observer.takeRecords()) collectingMs += duration
    const ms = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e6 - resolutionMs)
    const figures: LoopFigures = {
      delayP50Ms: ms(delay.percentile(50)),
      delayP99Ms: ms(delay.percentile(99)),
      delayMaxMs: ms(delay.max),
      collectingShare: collectingMs / (performance.now() - beganMs),
    }
    delay.reset()
    collectingMs = 0
    beganMs = performance.now()
    // Whoever waits for it finds all of it.
    writeFileSync(`${path}.part`, JSON.stringify(figures))
    renameSync(`${path}.part`, path)
  }
  process.once('exit', tell)
  process.on('SIGUSR2', tell)
}
