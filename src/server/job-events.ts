import type { ServerResponse } from 'node:http'
import { EverfoldError } from '../errors.js'
import type { JobQueue } from './job-queue.js'

/** Clients that follow jobs at once. */
export const EVENT_STREAMS_MAX = 128
/** Progress is told at most so often. */
const PROGRESS_EVERY_MS = 250
/** A line that means nothing, so that nobody in between takes the silence for the end. */
const HEARTBEAT_EVERY_MS = 15_000

let streams = 0

/**
 * Sends the events of a job (https://html.spec.whatwg.org/multipage/server-sent-events.html) until it ends, the client goes, or the
 * service stops. @throws JOB_UNKNOWN, TOO_MANY_REQUESTS, STORE_FAILED: before the first byte
 */
export async function sendEvents(jobs: JobQueue, id: string, response: ServerResponse): Promise<void> {
  if (streams >= EVENT_STREAMS_MAX)
    throw new EverfoldError('TOO_MANY_REQUESTS', `${EVENT_STREAMS_MAX} clients follow jobs already.`)
  streams++
  let number = 0
  let toldMs = Number.NEGATIVE_INFINITY
  const closed = new Promise<void>((resolve) => response.once('close', resolve))
  const send = (event: string, data: unknown, eventId = String(++number)): void => {
    if (!response.headersSent)
      response.writeHead(200, { 'Content-Type': 'text/event-stream', 'X-Accel-Buffering': 'no' })
    response.write(`event: ${event}\nid: ${eventId}\ndata: ${JSON.stringify(data)}\n\n`)
  }
  const heartbeat = setInterval(() => {
    if (!response.writableNeedDrain) response.write(':\n\n')
  }, HEARTBEAT_EVERY_MS)
  let unwatch = (): unknown => undefined
  try {
    unwatch = await jobs.watch(id, (event, job) => {
      if (event === 'progress') {
        const now = performance.now()
        // Whoever reads slowly gets fewer of them: none is kept for later.
        if (now - toldMs < PROGRESS_EVERY_MS || response.writableNeedDrain) return
        toldMs = now
        send('progress', job.progress)
        return
      }
      if (event !== 'stopping') send(event, job, event === 'end' ? 'end' : undefined)
      if (event !== 'job') response.end()
    })
    await closed
  } finally {
    unwatch()
    clearInterval(heartbeat)
    streams--
  }
}
