import { setTimeout as sleep } from 'node:timers/promises'
import { asksForLess, isTransient, s3Error } from './s3-errors.js'
import { Pace } from './s3-pace.js'
import {
  CHANGE_MS_MAX,
  REQUESTS_IN_FLIGHT_MAX,
  type S3Settings,
  SLOWEST_BYTES_PER_SECOND,
} from './s3-settings.js'
import type { RequestKind, Traffic } from './traffic.js'

const BACKOFF_FIRST_MS = 100
const BACKOFF_MAX_MS = 10_000
/** For the last words to a service that may be gone. */
const BRIEF_MS = 3000

export interface Request<T> {
  readonly kind: RequestKind
  /** For the error message: `write runs/…`. */
  readonly what: string
  /** Bytes that it carries, in either direction, at most: it gets more time for more of them. */
  readonly bytes?: number
  /** Goes out at once, whether or not the repository is still ours: what the lock itself is made of. */
  readonly unguarded?: true
  /** A change that harms nobody if it takes effect when another process has the repository, so it may take its time. */
  readonly harmlessLate?: boolean
  /** Sends it. Must end when the signal says so. @param earlier  what earlier attempts threw */
  readonly send: (signal: AbortSignal, earlier: readonly unknown[]) => Promise<T>
}

/** Is the repository still ours? */
export interface Guard {
  /** It was, a short time ago, for certain. */
  isFresh(): boolean
  /** Makes sure. @throws LOCK_LOST, or why that cannot be found out */
  check(): Promise<void>
}

/**
 * Sends requests: each with a deadline, as many at once as the service takes, and again when they fail for a moment, after a
 * random time (Exponential Backoff And Jitter, AWS Architecture Blog, 2015).
 */
export class Requests {
  readonly traffic: Traffic
  /** Asked before each attempt that changes anything. */
  guard: Guard | undefined
  readonly #location: string
  readonly #settings: S3Settings
  readonly #pace = new Pace(REQUESTS_IN_FLIGHT_MAX)
  readonly #closing = new AbortController()
  #giveUpMs: number

  constructor(location: string, settings: S3Settings, traffic: Traffic) {
    this.#location = location
    this.#settings = settings
    this.#giveUpMs = settings.giveUpOpeningMs
    this.traffic = traffic
  }

  /** The service is there and takes us: from now on it is worth waiting for. */
  bePatient(): void {
    this.#giveUpMs = this.#settings.giveUpMs
  }

  /** Nothing that is asked from now on is worth waiting for long. */
  beBrief(): void {
    this.#giveUpMs = Math.min(this.#giveUpMs, BRIEF_MS)
  }

  /** @throws what {@link s3Error} makes of the last failure */
  async run<T>(request: Request<T>): Promise<T> {
    const started = performance.now()
    const earlier: unknown[] = []
    for (;;) {
      try {
        return await this.#attempt(request, earlier)
      } catch (error) {
        const waited = performance.now() - started
        const pause = Math.max(this.#pace.pauseMs, backoffMs(earlier.length))
        const isLast = waited + pause >= this.#giveUpMs || this.#closing.signal.aborted
        if (!isTransient(error) || isLast) throw s3Error(request.what, this.#location, error, waited)
        earlier.push(error)
        await this.#sleep(pause)
      }
    }
  }

  /** Ends what waits to be repeated. */
  close(): void {
    this.#closing.abort()
  }

  async #sleep(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#closing.signal }).catch(() => undefined)
  }

  async #attempt<T>(request: Request<T>, earlier: readonly unknown[]): Promise<T> {
    await this.#enter(request)
    const abort = new AbortController()
    const timer = setTimeout(() => {
      abort.abort()
    }, this.#deadlineMs(request))
    this.traffic.add({ [request.kind]: 1, ...(earlier.length > 0 && { retries: 1 }) })
    try {
      const result = await request.send(abort.signal, earlier)
      this.#pace.succeeded()
      return result
    } catch (error) {
      if (asksForLess(error)) this.#pace.refused()
      throw error
    } finally {
      clearTimeout(timer)
      if (request.unguarded !== true) this.#pace.leave()
    }
  }

  /** Waits for a place, and sees to it that what changes anything goes out only while the repository is ours. */
  async #enter(request: Request<unknown>): Promise<void> {
    if (request.unguarded === true) return
    for (;;) {
      await this.#pace.enter()
      if (this.#pace.pauseMs > 0) await this.#sleep(this.#pace.pauseMs)
      if (this.guard === undefined || !changes(request) || this.guard.isFresh()) return
      // Not while it holds a place: others may wait for it.
      this.#pace.leave()
      await this.guard.check()
    }
  }

  #deadlineMs(request: Request<unknown>): number {
    const { requestMs } = this.#settings
    if (changes(request) && request.harmlessLate !== true) return Math.min(requestMs, CHANGE_MS_MAX)
    return requestMs + ((request.bytes ?? 0) / SLOWEST_BYTES_PER_SECOND) * 1000
  }
}

/** Any time up to twice the one before: who failed together does not come back together. */
function backoffMs(attempts: number): number {
  const most = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** attempts)
  return most / 4 + Math.random() * (most * 0.75)
}

function changes({ kind }: Request<unknown>): boolean {
  return kind === 'put' || kind === 'delete' || kind === 'lock'
}
