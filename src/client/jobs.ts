import { EverfoldError } from '../errors.js'
import type { Job, JobProgress, JobRequest } from './answers.js'
import { connectionFailed } from './failure.js'
import type { Http } from './http.js'
import { partsOf } from './parts-of.js'
import { PATIENCE_MS_DEFAULT } from './patience.js'

/** What the service tells of a job. */
export type JobEvent =
  | { readonly event: 'job' | 'end'; readonly job: Job }
  | { readonly event: 'progress'; readonly progress: JobProgress }

export interface FollowOptions {
  /** How long to go on while the service cannot be reached. */
  readonly patienceMs?: number
  readonly signal?: AbortSignal
}

/** Long work of the service. */
export class Jobs {
  readonly #http: Http

  constructor(http: Http) {
    this.#http = http
  }

  /** Newest first. */
  async list(
    filter: { readonly state?: Job['state']; readonly kind?: Job['kind'] } = {},
  ): Promise<readonly Job[]> {
    const answer = (await this.#http.json({ path: '/v1/jobs', query: { ...filter } })) as {
      jobs: readonly Job[]
    }
    return answer.jobs
  }

  async get(id: string): Promise<Job> {
    return (await this.#http.json({ path: pathOf(id) })) as Job
  }

  async start(request: JobRequest): Promise<Job> {
    return (await this.#http.json({ method: 'POST', path: '/v1/jobs', json: request })) as Job
  }

  /** Asks it to end at its next safe point. */
  async cancel(id: string): Promise<Job> {
    return (await this.#http.json({ method: 'DELETE', path: pathOf(id), repeatable: true })) as Job
  }

  /**
   * What happens to a job, from how it is now to its end. A broken connection, or a restart of the service, is gone over.
   * @throws JOB_UNKNOWN, and as all requests
   */
  async *events(id: string, options: FollowOptions = {}): AsyncGenerator<JobEvent, void, undefined> {
    const patience = this.#http.patience(options.patienceMs ?? PATIENCE_MS_DEFAULT, options.signal)
    for (;;) {
      const headers = { Accept: 'text/event-stream' }
      const request = { path: `${pathOf(id)}/events`, headers, patience }
      const { body } = await this.#http.send(request)
      try {
        if (body === null) throw new Error('there was no answer')
        for await (const { event, data } of serverSentEvents(body)) {
          patience.progress()
          if (event === 'progress') yield { event, progress: JSON.parse(data) as JobProgress }
          else if (event === 'job' || event === 'end') yield { event, job: JSON.parse(data) as Job }
          if (event === 'end') return
        }
        throw new Error('the events ended before the job')
      } catch (error) {
        patience.signal?.throwIfAborted()
        await patience.wait(connectionFailed(this.#http.url, error))
      }
    }
  }

  /**
   * Starts a job and waits for its end. When the signal is aborted, the job is cancelled.
   * @returns its result
   * @throws what it failed with; CANCELLED; the signal's reason
   */
  async run(
    request: JobRequest,
    onProgress: (progress: JobProgress) => void = () => undefined,
    options: FollowOptions = {},
  ): Promise<unknown> {
    const { id } = await this.start(request)
    try {
      for await (const happened of this.events(id, options)) {
        if (happened.event === 'progress') onProgress(happened.progress)
        else if (happened.event === 'job') {
          if (happened.job.progress !== null) onProgress(happened.job.progress)
        } else return resultOf(happened.job)
      }
    } catch (error) {
      if (options.signal?.aborted === true) await this.cancel(id).catch(() => undefined)
      throw error
    }
    throw new EverfoldError('SERVICE_FAILED', `Job ${id} came to no end.`)
  }
}

function resultOf({ state, result, error }: Job): unknown {
  if (state === 'done') return result
  const { code = 'INTERNAL', message = `The job ended as ${state}.`, details = {} } = error ?? {}
  throw new EverfoldError(code, message, { details })
}

function pathOf(id: string): string {
  return `/v1/jobs/${encodeURIComponent(id)}`
}

/** Reads text/event-stream (https://html.spec.whatwg.org/multipage/server-sent-events.html): what we use of it. */
async function* serverSentEvents(
  body: ReadableStream<Uint8Array>,
): AsyncGenerator<{ readonly event: string; readonly data: string }> {
  let event = 'message'
  let data: string[] = []
  for await (const line of linesOf(body)) {
    if (line === '') {
      if (data.length > 0) yield { event, data: data.join('\n') }
      event = 'message'
      data = []
      continue
    }
    const [, field = '', value = ''] = /^([^:]*):? ?(.*)$/s.exec(line) ?? []
    if (field === 'event') event = value
    else if (field === 'data') data.push(value)
  }
}

async function* linesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const part of partsOf(body)) {
    const lines = (rest + decoder.decode(part, { stream: true })).split(/\r?\n/)
    rest = lines.pop() ?? ''
    yield* lines
  }
}
