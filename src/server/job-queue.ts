import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Repository } from '../chain/repository.js'
import { EverfoldError, errorJson, isEverfoldError } from '../errors.js'
import { JOBS_KEPT } from '../merge/spent-jobs.js'
import { JOB_STEP_END } from '../store/keys.js'
import { countTraffic } from '../store/traffic.js'
import { LANE_OF, runJob, UNIT_OF } from './job-kinds.js'
import { readJob, readJobs, writeJob } from './job-list.js'
import { type Job, type JobRequest, type JobWithResult, jobRequestSchema } from './job-schemas.js'

/** Jobs that wait for their turn. */
export const JOBS_QUEUED_MAX = 64
/** A job during which the service was killed so often is not begun again: it may be the cause. */
export const JOB_ATTEMPTS_MAX = 3

/** Who asked for a job. */
export interface Asker {
  readonly by: string
  readonly token?: string
}

/** Told of each change of a job; `end` comes last, also when the service stops while the job goes on later. */
export type JobWatcher = (event: 'job' | 'progress' | 'end' | 'stopping', job: JobWithResult) => void

interface Entry {
  readonly number: number
  readonly request: JobRequest
  readonly cancelling: AbortController
  readonly watchers: Set<JobWatcher>
  job: Job
  step: number
  /** Of a job that has ended and could not be recorded; others have it in the store. */
  result?: Readonly<Record<string, unknown>>
  /** Resolves when the job has ended, or is left to the next start. */
  over: Promise<void> | undefined
}

/** The long work of a service: queued, run one at a time per lane, recorded so that a restart goes on with it. */
export class JobQueue {
  readonly #repository: Repository
  readonly #log: Logger
  readonly #onEnd: (job: JobWithResult) => Promise<void>
  /** By number, oldest first. */
  readonly #entries = new Map<number, Entry>()
  readonly #lanes = new Set<string>()
  readonly #loaded: Promise<void>
  #next = 0
  #taking = 0
  #begun = false
  #stopping = false

  /** @param onEnd  told of each job that ended, with its result */
  constructor(repository: Repository, log: Logger, onEnd: (job: JobWithResult) => Promise<void>) {
    this.#repository = repository
    this.#log = log
    this.#onEnd = onEnd
    this.#loaded = this.#load()
    this.#loaded.catch((error: unknown) => log.error({ err: error }, 'the list of jobs cannot be read'))
  }

  /** From now on jobs run: those that were left, first. */
  begin(): void {
    this.#begun = true
    this.#pump()
  }

  /** Newest first. @throws STORE_FAILED */
  async list(): Promise<Job[]> {
    await this.#loaded
    return [...this.#entries.values()].map((entry) => entry.job).reverse()
  }

  /** @throws JOB_UNKNOWN, STORE_FAILED */
  async get(id: string): Promise<JobWithResult> {
    return this.#whole(await this.#find(id))
  }

  /** Takes a job. Durable when it resolves, unless the store is full. @throws TOO_MANY_REQUESTS, STORE_FAILED */
  async submit(request: JobRequest, asker: Asker): Promise<Job> {
    await this.#loaded
    const queued = [...this.#entries.values()].filter(({ job }) => job.state === 'queued').length
    if (queued + this.#taking >= JOBS_QUEUED_MAX || this.#stopping)
      throw new EverfoldError(
        'TOO_MANY_REQUESTS',
        this.#stopping
          ? 'The service is stopping. Try again when it is back.'
          : `${JOBS_QUEUED_MAX} jobs are waiting already. Try again when some are done.`,
      )
    this.#taking++
    try {
      const entry = await this.#take(request, asker)
      const { job } = entry
      this.#entries.set(entry.number, entry)
      this.#pump()
      return job
    } finally {
      this.#taking--
    }
  }

  /** Cancels a job at its next safe point; one that has ended stays as it is. @returns the promise of its end @throws JOB_UNKNOWN */
  async cancel(id: string): Promise<{ readonly over: Promise<void> }> {
    const entry = await this.#find(id)
    entry.cancelling.abort()
    if (entry.job.state === 'queued') entry.over ??= this.#end(entry, 'cancelled', cancelled())
    return { over: entry.over ?? Promise.resolve() }
  }

  /** Tells of a job from now on, first how it is. @returns what ends the watch @throws JOB_UNKNOWN, STORE_FAILED */
  async watch(id: string, watcher: JobWatcher): Promise<() => void> {
    const entry = await this.#find(id)
    if (hasEnded(entry.job)) watcher('end', await this.#whole(entry))
    else {
      watcher('job', entry.job)
      entry.watchers.add(watcher)
    }
    return () => entry.watchers.delete(watcher)
  }

  /** Begins nothing more, ends what runs at its next safe point, and leaves it to the next start. @param limitMs  to wait for that */
  async stop(limitMs: number): Promise<void> {
    this.#stopping = true
    await this.#loaded.catch(() => undefined)
    for (const entry of this.#entries.values()) {
      this.#tell(entry, 'stopping')
      if (entry.job.state === 'running') entry.cancelling.abort()
    }
    const over = Promise.all([...this.#entries.values()].map(async (entry) => entry.over))
    await Promise.race([over, sleep(limitMs, undefined, { ref: false })])
  }

  async #load(): Promise<void> {
    const { jobs, next } = await readJobs(this.#repository.store)
    this.#next = next
    for (const { number, step, job } of jobs) {
      const { result: _result, ...head } = job
      const parsed = jobRequestSchema.safeParse({ kind: job.kind, ...job.parameters })
      if (!parsed.success) continue
      const { startedAt: _started, ...fresh } = head
      const entry = newEntry(number, step, parsed.data, hasEnded(job) ? head : { ...fresh, state: 'queued' })
      this.#entries.set(number, entry)
      if (job.state === 'running' && job.attempt >= JOB_ATTEMPTS_MAX)
        entry.over = this.#end(entry, 'cancelled', tooOften())
    }
    this.#pump()
  }

  /** Records a new job under the next number that is free. */
  async #take(request: JobRequest, asker: Asker): Promise<Entry> {
    const { kind, ...parameters } = request
    const createdAt = this.#now()
    for (;;) {
      const number = this.#next++
      const id = String(number)
      const job: Job = {
        id,
        kind,
        parameters,
        state: 'queued',
        createdAt,
        attempt: 0,
        ...asker,
        progress: null,
      }
      try {
        // The listing that the numbers began with may have been short.
        if ((await writeJob(this.#repository.store, number, 0, job)) === 'exists') continue
      } catch (error) {
        // On a full disk, jobs run all the same: gc may be what makes room. Only a restart forgets them then.
        if (!isEverfoldError(error, 'STORE_FULL')) throw error
      }
      return newEntry(number, 0, request, job)
    }
  }

  async #find(id: string): Promise<Entry> {
    await this.#loaded
    const entry = /^\d{1,12}$/.test(id) ? this.#entries.get(Number(id)) : undefined
    if (entry?.job.id === id) return entry
    throw new EverfoldError('JOB_UNKNOWN', `There is no job "${id}". The last ${JOBS_KEPT} are kept.`, {
      details: { job: id },
    })
  }

  /** With its result, if it has one. */
  async #whole(entry: Entry): Promise<JobWithResult> {
    if (entry.job.state !== 'done') return entry.job
    const result =
      entry.result ?? (await readJob(this.#repository.store, entry.number, entry.step))?.job.result
    return result === undefined ? entry.job : { ...entry.job, result }
  }

  /** Begins the oldest job of each lane that is free. */
  #pump(): void {
    if (!this.#begun || this.#stopping) return
    for (const entry of this.#entries.values()) {
      const lane = LANE_OF[entry.job.kind]
      if (entry.job.state !== 'queued' || entry.over !== undefined || this.#lanes.has(lane)) continue
      this.#lanes.add(lane)
      entry.over = this.#run(entry).finally(() => {
        this.#lanes.delete(lane)
        this.#pump()
      })
    }
  }

  async #run(entry: Entry): Promise<void> {
    const { request, cancelling } = entry
    const job: Job = {
      ...entry.job,
      state: 'running',
      startedAt: this.#now(),
      attempt: entry.job.attempt + 1,
    }
    // Recorded before anyone hears of it, so that an attempt that is cut short counts.
    await this.#record(entry, nextStep(entry), job)
    entry.job = job
    this.#tell(entry, 'job')
    this.#log.info({ job: job.id, kind: job.kind, parameters: job.parameters, by: job.by }, 'job begins')
    const unit = UNIT_OF[job.kind]
    try {
      const started = new Date()
      const result = await countTraffic(async (traffic) => {
        try {
          return await runJob(
            this.#repository,
            request,
            (done, total) => {
              entry.job = { ...entry.job, progress: { done, total, unit } }
              this.#tell(entry, 'progress')
            },
            cancelling.signal,
          )
        } finally {
          await this.#repository.requestLog?.add(`serve: ${job.kind}`, started, traffic)
        }
      })
      await this.#end(entry, 'done', undefined, plainJson(result))
    } catch (error) {
      // Whatever it failed with: the store is being closed.
      if (this.#stopping) await this.#leave(entry)
      else if (isEverfoldError(error, 'CANCELLED')) await this.#end(entry, 'cancelled', cancelled())
      else await this.#end(entry, 'failed', error)
    }
  }

  /** The service stops: the next start begins the job anew, and does not count this attempt. */
  async #leave(entry: Entry): Promise<void> {
    const { startedAt: _started, ...job } = entry.job
    entry.job = { ...job, state: 'queued', attempt: job.attempt - 1, progress: null }
    await this.#record(entry, nextStep(entry), entry.job)
  }

  async #end(
    entry: Entry,
    state: 'done' | 'failed' | 'cancelled',
    error?: unknown,
    result?: Readonly<Record<string, unknown>>,
  ): Promise<void> {
    const details = error instanceof EverfoldError ? error.details : {}
    const ended: Job = {
      ...entry.job,
      state,
      endedAt: this.#now(),
      ...(error === undefined ? {} : { error: { ...errorJson(error), details } }),
    }
    const whole: JobWithResult = result === undefined ? ended : { ...ended, result }
    const recorded = await this.#record(entry, JOB_STEP_END, whole)
    // Whoever is told that it ended, now or later, finds that noted.
    await this.#onEnd(whole)
    entry.job = ended
    if (!recorded && result !== undefined) entry.result = result
    const { id, kind } = ended
    const line = { job: id, kind, state, by: ended.by, ...(ended.error && { code: ended.error.code }) }
    if (isEverfoldError(error) || error === undefined) this.#log.info(line, 'job ended')
    else this.#log.error({ ...line, err: error }, 'job ended')
    this.#tell(entry, 'end', whole)
    entry.watchers.clear()
    this.#forgetOldest()
  }

  /** Those that ended first are forgotten; garbage collection removes their records. */
  #forgetOldest(): void {
    const ended = [...this.#entries.values()].filter(({ job }) => hasEnded(job))
    for (const { number } of ended.slice(0, Math.max(0, ended.length - JOBS_KEPT)))
      this.#entries.delete(number)
  }

  #tell(entry: Entry, event: Parameters<JobWatcher>[0], job: JobWithResult = entry.job): void {
    for (const watcher of entry.watchers) watcher(event, job)
  }

  /** What cannot be recorded goes on all the same: a restart only knows less of it. */
  async #record(entry: Entry, step: number, job: JobWithResult): Promise<boolean> {
    try {
      await writeJob(this.#repository.store, entry.number, step, job)
      entry.step = step
      return true
    } catch (error) {
      this.#log.warn({ job: job.id, err: error }, 'a job could not be recorded')
      return false
    }
  }

  #now(): string {
    return new Date(this.#repository.environment.now()).toISOString()
  }
}

export function hasEnded(job: Job): boolean {
  return job.state !== 'queued' && job.state !== 'running'
}

/** One that was interrupted hundreds of times is not recorded any more until it ends. */
function nextStep(entry: Entry): number {
  return Math.min(entry.step + 1, JOB_STEP_END - 1)
}

function newEntry(number: number, step: number, request: JobRequest, job: Job): Entry {
  return {
    number,
    step,
    request,
    job,
    cancelling: new AbortController(),
    watchers: new Set(),
    over: hasEnded(job) ? Promise.resolve() : undefined,
  }
}

function cancelled(): EverfoldError {
  return new EverfoldError(
    'CANCELLED',
    'It was cancelled. What it had done by then is consistent, and stays.',
  )
}

function tooOften(): EverfoldError {
  return new EverfoldError(
    'CANCELLED',
    `The service was killed ${JOB_ATTEMPTS_MAX} times while this job ran, so it is not begun again.`,
  )
}

/** As it is going to be read: what JSON leaves out is not there. */
function plainJson(result: object): Readonly<Record<string, unknown>> {
  return JSON.parse(JSON.stringify(result)) as Record<string, unknown>
}
