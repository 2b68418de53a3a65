import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { Piscina } from 'piscina'
import {
  type CutJob,
  type CutResult,
  type DecodeJob,
  type DecodeResult,
  type EncodeJob,
  type EncodeResult,
  type HashJob,
  type HashResult,
  runCut,
  runDecode,
  runEncode,
  runHash,
} from './jobs.js'

/** Does the heavy work on batches. Buffers in a job are handed over: they are detached for the caller. */
export interface Crew {
  /** How many jobs are worked on at once: keep about twice as many under way. */
  readonly size: number
  cut(job: CutJob): Promise<CutResult>
  hash(job: HashJob): Promise<HashResult>
  encode(job: EncodeJob): Promise<EncodeResult>
  decode(job: DecodeJob): Promise<DecodeResult>
  close(): Promise<void>
}

/** Works on the calling thread, in the order asked: for simulation and small tests. */
export class InlineCrew implements Crew {
  readonly size = 1

  cut(job: CutJob): Promise<CutResult> {
    return Promise.resolve().then(() => runCut(job))
  }

  hash(job: HashJob): Promise<HashResult> {
    return Promise.resolve().then(() => runHash(job))
  }

  encode(job: EncodeJob): Promise<EncodeResult> {
    return Promise.resolve().then(() => runEncode(job))
  }

  decode(job: DecodeJob): Promise<DecodeResult> {
    return Promise.resolve().then(() => runDecode(job))
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}

/** Works on threads, started with the first job. */
export class ThreadCrew implements Crew {
  readonly size: number
  #threads: Piscina | undefined

  constructor(size = Math.max(2, availableParallelism())) {
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

  async close(): Promise<void> {
    const threads = this.#threads
    this.#threads = undefined
    await threads?.destroy()
  }

  #run(name: string, job: object, handedOver: ArrayBuffer): Promise<unknown> {
    this.#threads ??= new Piscina({
      filename: workerFile(),
      minThreads: this.size,
      maxThreads: this.size,
      concurrentTasksPerWorker: 1,
      recordTiming: false,
    })
    return this.#threads.run(job, { name, transferList: [handedOver] })
  }
}

/** Threads load built JavaScript, also when this module runs from TypeScript source under the test runner. */
function workerFile(): string {
  const here = import.meta.url
  const built = here.endsWith('.ts')
    ? here.replace('/src/pack/crew.ts', '/dist/src/pack/worker.js')
    : here.replace('/crew.js', '/worker.js')
  return fileURLToPath(built)
}
