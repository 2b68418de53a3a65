import { setTimeout as sleep } from 'node:timers/promises'
import * as z from 'zod'
import { EverfoldError } from '../errors.js'
import { requireMachine } from './access.js'
import { sendEvents } from './job-events.js'
import { JOB_KINDS, JOB_STATES, type Job, jobRequestSchema, jobSchema, jobsSchema } from './job-schemas.js'
import { coversAll, coversMachine } from './roles.js'
import { noParams, noQuery, type Route, route } from './route.js'
import type { TokenInfo } from './token-book.js'

/** How long a cancellation is waited for before it is answered all the same. */
const CANCEL_WAIT_MS = 10_000

const jobParams = z.strictObject({ job: z.string().min(1).max(12) })

const startJob = route({
  name: 'startJob',
  method: 'post',
  path: '/v1/jobs',
  summary: 'Verify, collect garbage, rebuild the index or apply retention, in the background',
  params: noParams,
  query: noQuery,
  body: jobRequestSchema,
  answers: {
    202: {
      description: 'The job, queued',
      content: { 'application/json': jobSchema },
      headers: { Location: 'The job' },
    },
  },
  handle: async ({ jobs }, { body, token, response, facts }) => {
    const machine = body.kind === 'retain' ? body.machine : undefined
    if (machine !== undefined) facts.machine = machine
    facts['kind'] = body.kind
    requireMachine(token, machine)
    const job = await jobs.submit(body, { by: token?.name ?? '', ...(token && { token: token.id }) })
    facts['job'] = job.id
    response.set('Location', `/v1/jobs/${job.id}`)
    return { status: 202, json: job }
  },
})

const listJobs = route({
  name: 'listJobs',
  method: 'get',
  path: '/v1/jobs',
  summary: 'Jobs that wait, run, or have ended, without their results',
  params: noParams,
  query: z.strictObject({ kind: z.enum(JOB_KINDS).optional(), state: z.enum(JOB_STATES).optional() }),
  answers: { 200: { description: 'Newest first', content: { 'application/json': jobsSchema } } },
  handle: async ({ jobs }, { query: { kind, state }, token }) => {
    const wanted = (await jobs.list()).filter(
      (job) => (kind ?? job.kind) === job.kind && (state ?? job.state) === job.state && maySee(token, job),
    )
    return { json: { jobs: wanted } }
  },
})

const getJob = route({
  name: 'getJob',
  method: 'get',
  path: '/v1/jobs/{job}',
  summary: 'One job; once it is done, with its result',
  params: jobParams,
  query: noQuery,
  answers: { 200: { description: 'The job', content: { 'application/json': jobSchema } } },
  handle: async ({ jobs }, { params, token, facts }) => {
    facts['job'] = params.job
    return { json: known(token, await jobs.get(params.job)) }
  },
})

const followJob = route({
  name: 'followJob',
  method: 'get',
  path: '/v1/jobs/{job}/events',
  summary: 'What happens to a job as it happens: job (first, and when its state changes), progress, end',
  params: jobParams,
  query: noQuery,
  answers: {
    200: { description: 'Server-sent events', content: { 'text/event-stream': null } },
    204: { description: 'With Last-Event-ID: end. There is nothing to come' },
  },
  handle: async ({ jobs }, { params, token, request, response, facts }) => {
    facts['job'] = params.job
    known(token, await jobs.get(params.job))
    if (request.headers['last-event-id'] === 'end' || request.method === 'HEAD')
      response.status(request.method === 'HEAD' ? 200 : 204).end()
    else await sendEvents(jobs, params.job, response)
    return 'sent'
  },
})

const cancelJob = route({
  name: 'cancelJob',
  method: 'delete',
  path: '/v1/jobs/{job}',
  summary: 'Cancel a job at its next safe point; one that has ended stays as it is',
  params: jobParams,
  query: noQuery,
  answers: {
    200: { description: 'The job, which has ended', content: { 'application/json': jobSchema } },
    202: { description: 'It takes a moment longer', content: { 'application/json': jobSchema } },
  },
  handle: async ({ jobs }, { params, token, facts }) => {
    facts['job'] = params.job
    known(token, await jobs.get(params.job))
    const { over } = await jobs.cancel(params.job)
    const late = new AbortController()
    const waited = sleep(CANCEL_WAIT_MS, 'late' as const, { signal: late.signal }).catch(
      () => 'late' as const,
    )
    const first = await Promise.race([over, waited])
    late.abort()
    return { status: first === 'late' ? 202 : 200, json: await jobs.get(params.job) }
  },
})

/** A job of one machine is seen by whoever may see the machine; what is about all of them, by tokens for all. */
function maySee(token: TokenInfo | undefined, job: Job): boolean {
  const { machine } = job.parameters
  const patterns = token?.machines ?? []
  return typeof machine === 'string' ? coversMachine(patterns, machine) : coversAll(patterns)
}

/** Who may not see a job does not learn whether there is one. @throws JOB_UNKNOWN */
function known<J extends Job>(token: TokenInfo | undefined, job: J): J {
  if (maySee(token, job)) return job
  throw new EverfoldError('JOB_UNKNOWN', `There is no job "${job.id}" that this token may see.`)
}

export const jobRoutes: readonly Route[] = [startJob, listJobs, getJob, followJob, cancelJob]
