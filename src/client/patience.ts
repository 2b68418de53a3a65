import { type EverfoldError } from '../errors.js'

/** Milliseconds: the first wait about, the longest, and how long to go on without any progress. */
const FIRST_WAIT_MS = 100
const WAIT_MS_MAX = 5000
export const PATIENCE_MS_DEFAULT = 600_000

/** Told before each wait. */
export interface RetryNotice {
  readonly error: EverfoldError
  /** How long there has been no progress, and after how long it is given up. */
  readonly waitedMs: number
  readonly patienceMs: number
}

/**
 * Waits longer and longer between attempts, at random lengths, so that many clients do not come back at the same moment; gives
 * up when nothing has gone well for too long. Shared by all requests of one piece of work.
 */
export class Patience {
  readonly #patienceMs: number
  readonly #onRetry: (notice: RetryNotice) => void
  readonly #signal: AbortSignal | undefined
  #failures = 0
  #failingSinceMs: number | undefined

  constructor(
    patienceMs: number,
    onRetry: (notice: RetryNotice) => void = () => undefined,
    signal?: AbortSignal,
  ) {
    this.#patienceMs = patienceMs
    this.#onRetry = onRetry
    this.#signal = signal
  }

  get signal(): AbortSignal | undefined {
    return this.#signal
  }

  /** Something went well: the waits begin anew. */
  progress(): void {
    this.#failures = 0
    this.#failingSinceMs = undefined
  }

  /**
   * Waits before the next attempt.
   * @param atLeastMs  as the service asked for with Retry-After
   * @throws `error` once patience has run out; the signal's reason
   */
  async wait(error: EverfoldError, atLeastMs = 0): Promise<void> {
    const now = performance.now()
    this.#failingSinceMs ??= now
    const waitedMs = now - this.#failingSinceMs
    if (waitedMs >= this.#patienceMs) throw error
    this.#onRetry({ error, waitedMs, patienceMs: this.#patienceMs })
    const most = Math.min(WAIT_MS_MAX, FIRST_WAIT_MS * 2 ** this.#failures++)
    const wait = Math.max(atLeastMs, most * (0.5 + Math.random() / 2))
    await sleep(Math.min(wait, this.#patienceMs - waitedMs), this.#signal)
  }
}

async function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted()
  await new Promise<void>((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal?.addEventListener('abort', done)
  })
  signal?.throwIfAborted()
}
