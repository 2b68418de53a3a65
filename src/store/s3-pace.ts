/** How often the limit is halved at most: requests that were under way together are refused together. */
const HALVING_MS = 1000
const PAUSE_FIRST_MS = 200
const PAUSE_MAX_MS = 10_000

/**
 * As many requests at once as the service takes: half of them when it says SlowDown, after a pause, and one more for each
 * round that goes well (additive increase, multiplicative decrease, as TCP does: Chiu and Jain, 1989).
 */
export class Pace {
  readonly #max: number
  readonly #now: () => number
  readonly #waiting: (() => void)[] = []
  #limit: number
  #inside = 0
  #halvedAt = -Infinity
  #pauseMs = 0
  #pausedUntil = 0

  constructor(max: number, now: () => number = () => performance.now()) {
    this.#max = max
    this.#limit = max
    this.#now = now
  }

  /** Requests that may be under way now. */
  get limit(): number {
    return Math.max(1, Math.floor(this.#limit))
  }

  /** Milliseconds for which no request should begin. */
  get pauseMs(): number {
    return Math.max(0, this.#pausedUntil - this.#now())
  }

  async enter(): Promise<void> {
    while (this.#inside >= this.limit) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.#inside++
  }

  leave(): void {
    this.#inside--
    this.#wake()
  }

  succeeded(): void {
    this.#pauseMs = 0
    this.#limit = Math.min(this.#max, this.#limit + 1 / this.#limit)
    this.#wake()
  }

  refused(): void {
    const now = this.#now()
    if (now - this.#halvedAt < HALVING_MS) return
    this.#halvedAt = now
    this.#limit = Math.max(1, this.#limit / 2)
    this.#pauseMs = Math.min(PAUSE_MAX_MS, Math.max(PAUSE_FIRST_MS, this.#pauseMs * 2))
    this.#pausedUntil = now + this.#pauseMs
  }

  #wake(): void {
    for (let free = this.limit - this.#inside; free > 0; free--) this.#waiting.shift()?.()
  }
}
