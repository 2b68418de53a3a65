import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import type { Piscina } from 'piscina'
import type { CutJob, CutResult, HashJob, HashResult } from '../chunker/batch-jobs.js'
import type { CompareJob, CompareResult } from './compare.js'
import type { CheckJob, CheckResult, DecodeJob, DecodeResult, EncodeJob, EncodeResult } from './jobs.js'
import type { PickJob } from './pick.js'
import type { ScanJob, ScanResult } from './scan.js'
import { SharedWork, THREAD_JOBS_MAX } from './shared-work.js'

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
  scan(job: ScanJob): Promise<ScanResult>
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

/** Some threads, and how many jobs they were given that are not done yet. */
interface Pool {
  readonly threads: number
  readonly started: Promise<Piscina>
  jobs: number
}

/** Threads that are there, or that come as jobs wait. */
interface Threads {
  readonly count: number
  readonly pools: readonly Pool[]
  /** Of a single one, when all is little: its work is shared with whoever asks. */
  readonly shared?: SharedWork
}

/** Works on threads: one from the first job on, more as jobs wait; or on those that were prepared. */
export class ThreadCrew implements Crew {
  readonly size: number
  #threads: Threads | undefined

  constructor(size = sizeByDefault()) {
    this.size = size
  }

  cut(job: CutJob): Promise<CutResult> {
    return this.#run('cut', job, (crew) => crew.cut(job), job.plain)
  }

  hash(job: HashJob): Promise<HashResult> {
    return this.#run('hash', job, (crew) => crew.hash(job), job.plain)
  }

  encode(job: EncodeJob): Promise<EncodeResult> {
    return this.#run('encode', job, (crew) => crew.encode(job), job.plain)
  }

  decode(job: DecodeJob): Promise<DecodeResult> {
    return this.#run('decode', job, (crew) => crew.decode(job), job.stored)
  }

  check(job: CheckJob): Promise<CheckResult> {
    return this.#run('check', job, (crew) => crew.check(job), job.stored)
  }

  compare(job: CompareJob): Promise<CompareResult> {
    const { from } = job
    const plain = 'plain' in from ? from.plain : undefined
    return this.#run('compare', job, (crew) => crew.compare(job), plain)
  }

  scan(job: ScanJob): Promise<ScanResult> {
    return this.#run('scan', job, (crew) => crew.scan(job), job.plain)
  }

  pick(job: PickJob): Promise<number> {
    return this.#run('pick', job, (crew) => crew.pick(job))
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
    const others = this.size - few.count
    this.#threads = { count: this.size, pools: [...few.pools, newPool(others, others, 1)] }
  }

  async close(): Promise<void> {
    const threads = this.#threads
    this.#threads = undefined
    await Promise.all((threads?.pools ?? []).map(async ({ started }) => (await started).destroy()))
  }

  /** @param here  does the same where it is called */
  async #run<Result>(
    name: string,
    job: object,
    here: (crew: Crew) => Promise<Result>,
    ...handedOver: (ArrayBufferLike | undefined)[]
  ): Promise<Result> {
    this.#threads ??= startThreads(this.size, 1)
    const { pools, shared } = this.#threads
    const transferList = handedOver.filter((buffer) => buffer instanceof ArrayBuffer)
    const onThread = (): Promise<Result> => runOn(idlest(pools), name, job, transferList) as Promise<Result>
    if (shared === undefined) return onThread()
    return shared.run(onThread, async () => here(new (await import('./inline-crew.js')).InlineCrew()))
  }
}

/** The one that has the fewest jobs for each of its threads. */
function idlest(pools: readonly Pool[]): Pool {
  return pools.reduce((best, pool) => (pool.jobs / pool.threads < best.jobs / best.threads ? pool : best))
}

async function runOn(
  pool: Pool,
  name: string,
  job: object,
  transferList: readonly ArrayBuffer[],
): Promise<unknown> {
  pool.jobs++
  try {
    return await (await pool.started).run(job, { name, transferList: [...transferList] })
  } finally {
    pool.jobs--
  }
}

function sizeByDefault(): number {
  return Math.max(2, availableParallelism())
}

let prepared: Threads | undefined

/**
 * Starts threads for the crew that will be prepared, before anything else is loaded: they take as long as the rest of a command
 * until it can use them. They keep no process alive.
 * @returns once they have begun to start: to be waited for before anything else is loaded, which would hold them up
 * @param count  one, if there may be little to do: it shares that with whoever asks. Then the crew has to be told what to expect
 */
export async function prepareThreads(count = sizeByDefault()): Promise<void> {
  prepared ??= startThreads(count, count, count === 1)
  // Whoever gives them a job hears of a failure.
  await Promise.allSettled(prepared.pools.map(({ started }) => started))
}

function takePrepared(size: number): Threads | undefined {
  if (size !== sizeByDefault()) return undefined
  const threads = prepared
  prepared = undefined
  return threads
}

function startThreads(count: number, atOnce: number, isShared = false): Threads {
  const pools = [newPool(count, atOnce, isShared ? THREAD_JOBS_MAX : 1)]
  return { count, pools, ...(isShared && { shared: new SharedWork() }) }
}

function newPool(threads: number, atOnce: number, jobsEach: number): Pool {
  const started = startPool(threads, atOnce, jobsEach)
  // Whoever gives it a job hears of a failure.
  started.catch(() => undefined)
  return { threads, started, jobs: 0 }
}

/** Commands that need no threads do not load what starts them, either. */
async function startPool(size: number, atOnce: number, jobsEach: number): Promise<Piscina> {
  const { Piscina } = await import('piscina')
  return new Piscina({
    filename: workerFile(),
    // Named, so that require() finds it as a thread starts: what it does not find is loaded once more by import(), and parsed for that.
    name: 'hash',
    minThreads: atOnce,
    maxThreads: size,
    idleTimeout: IDLE_TIMEOUT_MS,
    concurrentTasksPerWorker: jobsEach,
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
