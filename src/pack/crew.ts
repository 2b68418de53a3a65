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

/** Works on threads: one from the first job on, more as jobs wait; or all from {@link prepare} on. */
export class ThreadCrew implements Crew {
  readonly size: number
  #threads: Promise<Piscina> | undefined

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

  /** Starts all threads now, while the caller does other things. */
  prepare(): void {
    this.#threads ??= takePrepared(this.size) ?? startThreads(this.size, this.size)
    // Whoever gives it a job hears of a failure.
    this.#threads.catch(() => undefined)
  }

  async close(): Promise<void> {
    const threads = this.#threads
    this.#threads = undefined
    await (await threads)?.destroy()
  }

  async #run(name: string, job: object, ...handedOver: (ArrayBufferLike | undefined)[]): Promise<unknown> {
    this.#threads ??= startThreads(this.size, 1)
    return (await this.#threads).run(job, {
      name,
      transferList: handedOver.filter((buffer) => buffer instanceof ArrayBuffer),
    })
  }
}

function sizeByDefault(): number {
  return Math.max(2, availableParallelism())
}

let prepared: Promise<Piscina> | undefined

/**
 * Starts threads for the crew that will be prepared, before anything else is loaded: they take as long as the rest of a command
 * until it can use them. They keep no process alive.
 */
export function prepareThreads(): void {
  prepared ??= startThreads(sizeByDefault(), sizeByDefault())
  prepared.catch(() => undefined)
}

function takePrepared(size: number): Promise<Piscina> | undefined {
  if (size !== sizeByDefault()) return undefined
  const threads = prepared
  prepared = undefined
  return threads
}

/** Commands that need no threads do not load what starts them, either. */
async function startThreads(size: number, atOnce: number): Promise<Piscina> {
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
