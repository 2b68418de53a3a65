import type { Logger } from 'pino'
import * as z from 'zod'
import type { Repository } from '../../chain/repository.js'
import type { JobWithResult } from '../job-schemas.js'
import type { Facts } from '../route.js'
import type { TokenInfo } from '../token-book.js'
import type { AuditLog } from './audit-log.js'

/** What is read again and again is noted once in this time, for each token, or address, and thing that is read. */
const AGAIN_AFTER_MS = 3_600_000
const REMEMBERED_MAX = 10_000

/** Reading that is of interest: what was on somebody's disks. */
const READING: readonly string[] = ['readDisk', 'listExtents']

/** Data of uploads, of which there is much: their sessions and points are noted. */
const DATA: readonly string[] = ['putData', 'putStream', 'offerChunks']

/** A request that was answered, or is about to be. */
export interface Audited {
  /** Name of the route. */
  readonly action: string
  readonly method: string
  readonly request: string
  readonly from: string | undefined
  readonly token: TokenInfo | undefined
  readonly facts: Facts
  readonly status: number
}

/** Decides what the audit log says of the requests to a service. */
export class Auditor {
  readonly log: AuditLog
  readonly #repository: Repository
  readonly #logger: Logger
  readonly #onFailure: () => void
  /** When it was noted last; least recent first. */
  readonly #noted = new Map<string, number>()

  /** @param onFailure  told of each entry that could not be written */
  constructor(log: AuditLog, repository: Repository, logger: Logger, onFailure: () => void) {
    this.log = log
    this.#repository = repository
    this.#logger = logger
    this.#onFailure = onFailure
  }

  /** What was done is noted durably before it resolves. Never throws: it is done already. */
  async note(request: Audited): Promise<void> {
    const { action, method, facts, token, from, status } = request
    if (status === 401) {
      if (this.#isNew(`login ${from ?? ''}`)) await this.event('login', { from, status, code: facts['code'] })
      return
    }
    if (token === undefined) return
    if (DATA.includes(action) && status !== 403) return
    if (method === 'GET' || method === 'HEAD') {
      const { machine, point, disk, code } = facts
      // What is not let in is of interest whatever it is.
      if (!READING.includes(action) && status !== 403) return
      if (!this.#isNew(JSON.stringify([token.id, action, machine, point, disk, code]))) return
    }
    await this.event(action, {
      request: request.request,
      token: token.id,
      tokenName: token.name,
      role: token.role,
      from,
      ...facts,
      status,
    })
  }

  /** A job came to its end, long after whoever asked for it was answered. */
  async jobEnded({ id, kind, state, by, token, error, result }: JobWithResult): Promise<void> {
    const removed = removedBy(result)
    await this.event('jobEnded', {
      job: id,
      kind,
      state,
      token,
      tokenName: by,
      ...(error && { code: error.code }),
      ...(removed && { removed }),
    })
  }

  async event(action: string, facts: Readonly<Record<string, unknown>>): Promise<void> {
    const entry = { time: new Date(this.#repository.environment.now()).toISOString(), action, ...facts }
    try {
      await this.log.append(entry)
    } catch (error) {
      this.#onFailure()
      this.#logger.error({ err: error, entry }, 'the audit log cannot be written')
    }
  }

  #isNew(key: string): boolean {
    const now = this.#repository.environment.monotonicMs()
    const noted = this.#noted.get(key)
    if (noted !== undefined && now - noted < AGAIN_AFTER_MS) return false
    this.#noted.delete(key)
    this.#noted.set(key, now)
    for (const [oldest] of this.#noted) {
      if (this.#noted.size <= REMEMBERED_MAX) break
      this.#noted.delete(oldest)
    }
    return true
  }
}

const retained = z.looseObject({
  machines: z.array(z.looseObject({ machine: z.string(), removed: z.array(z.string()) })),
})

/** The points that a job of retention removed, by machine. */
function removedBy(result: unknown): Readonly<Record<string, readonly string[]>> | undefined {
  const { data } = retained.safeParse(result)
  const some = data?.machines.filter(({ removed }) => removed.length > 0) ?? []
  return some.length === 0 ? undefined : Object.fromEntries(some.map((one) => [one.machine, one.removed]))
}
