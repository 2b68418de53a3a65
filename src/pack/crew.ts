import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import type { Piscina } from 'piscina'
import type { CutJob, CutResult, HashJob, HashResult } from '../chunker/batch-jobs.js'
import type { CompareJob, CompareResult } from './compare.js'
import type { CheckJob, CheckResult, DecodeJob, DecodeResult, EncodeJob, EncodeResult } from './jobs.js'
import type { PickJob } from './pick.js'

/** Does the heavy work on batches. Buffers in a job are handed over: they are detached for the caller. */
export interface Crew {
  /** How many jobs are worked on at once: keep about twice as many under way. */
  readonly size: number
  /** Tells how much plain data is going to come, in bytes, before any job: little of it needs no more than one thread. */
  expect(bytes: number): void
  cut(job: CutJob): Promise<CutResult>
  hash(job: HashJob): Promise<HashResult>
  encode(job: EncodeJob): Promise<EncodeResult>
  decode(job: DecodeJob): Promise<DecodeResult>
  check(job: CheckJob): Promise<CheckResult>
  compare(job: CompareJob): Promise<CompareResult>
  /** As runPick. */
  pick(job: PickJob): Promise<number>
  close(): Promise<void>
}

/** A thread without work stays this long: its start costs more than its memory. */
const IDLE_TIMEOUT_MS = 60_000

/**
 * So much is done by one thread before another, which takes 40 ms of a core to start, has paid: 400 × 64 KiB take 302 ms with one and
 * 321 with two on two cores.
 */
const ONE_THREAD_BYTES_MAX = 64 * 1024 * 1024

/** Threads that are there, or that come as jobs wait. */
interface Threads {
  readonly count: number
  readonly pool: Promise<Piscina>
}

/** Works on threads: one from the first job on, more as jobs wait; or on those that were prepared. */
export class ThreadCrew implements Crew {
  readonly size: number
  #threads: Threads | undefined

  constructor(size = sizeByDefault()) {
    this.size = size
  }

  cut(job: CutJob): Promise<CutResult> {
    return this.#run('cut', job, job.plain) as Promise<CutResult>
  }

  hash(job: HashJob): Promise<HashResult> {
    return this.#run('hash', job, job.plain) as Promise<HashResult>
  }

  encode(job: EncodeJob): Promise<EncodeResult> {
    return this.#run('encode', job, job.plain) as Promise<EncodeResult>
  }

  decode(job: DecodeJob): Promise<DecodeResult> {
    return this.#run('decode', job, job.stored) as Promise<DecodeResult>
  }

  check(job: CheckJob): Promise<CheckResult> {
    return this.#run('check', job, job.stored) as Promise<CheckResult>
  }

  compare(job: CompareJob): Promise<CompareResult> {
    const { from } = job
    return this.#run('compare', job, 'plain' in from ? from.plain : undefined) as Promise<CompareResult>
  }

  pick(job: PickJob): Promise<number> {
    return this.#run('pick', job) as Promise<number>
  }

  /** Shared with the threads: what is handed over counts as garbage with each step, and one in ten seconds went into collecting it. */
  allocate(bytes: number): SharedArrayBuffer {
    return new SharedArrayBuffer(bytes)
  }

  /** Takes those that {@link prepareThreads} started, or starts all now, while the caller does other things. */
  prepare(): void {
    this.#threads ??= takePrepared(this.size) ?? startThreads(this.size, this.size)
  }

  expect(bytes: number): void {
    const few = this.#threads
    if (few === undefined || few.count >= this.size || bytes <= ONE_THREAD_BYTES_MAX) return
    this.#threads = startThreads(this.size, this.size)
    few.pool.then((pool) => pool.destroy()).catch(() => undefined)
  }

  async close(): Promise<void> {
    const threads = this.#threads
    this.#threads = undefined
    await (await threads?.pool)?.destroy()
  }

  async #run(name: string, job: object, ...handedOver: (ArrayBufferLike | undefined)[]): Promise<unknown> {
    this.#threads ??= startThreads(this.size, 1)
    return (await this.#threads.pool).run(job, {
      name,
      transferList: handedOver.filter((buffer) => buffer instanceof ArrayBuffer),
    })
  }
}

function sizeByDefault(): number {
  return Math.max(2, availableParallelism())
}

let prepared: Threads | undefined

/**
 * Starts threads for the crew that will be prepared, before anything else is loaded: they take as long as the rest of a command
 * until it can use them. They keep no process alive.
 * @param count  one, if there may be little to do; then the crew has to be told what to expect
 */
export function prepareThreads(count = sizeByDefault()): void {
  prepared ??= startThreads(count, count)
}

function takePrepared(size: number): Threads | undefined {
  if (size !== sizeByDefault()) return undefined
  const threads = prepared
  prepared = undefined
  return threads
}

function startThreads(count: number, atOnce: number): Threads {
  const pool = startPool(count, atOnce)
  // Whoever gives it a job hears of a failure.
  pool.catch(() => undefined)
  return { count, pool }
}

/** Commands that need no threads do not load what starts them, either. */
async function startPool(size: number, atOnce: number): Promise<Piscina> {
  const { Piscina } = await import('piscina')
  return new Piscina({
    filename: workerFile(),
    // Named, so that require() finds it as a thread starts: what it does not find is loaded once more by import(), and parsed for that.
    name: 'hash',
    minThreads: atOnce,
    maxThreads: size,
    idleTimeout: IDLE_TIMEOUT_MS,
    concurrentTasksPerWorker: 1,
    recordTiming: false,
  })
}

/** Threads load what `npm run build` bundled for them, from wherever this module runs: source, built or bundled. */
export function workerFile(): string {
  const here = import.meta.url
  const built = here.endsWith('/src/pack/crew.js') ? '../../bin/worker.cjs' : 'worker.cjs'
  const path = here.endsWith('/src/pack/crew.ts') ? '../../dist/bin/worker.cjs' : built
  return fileURLToPath(new URL(path, here))
}
