/** How much a rate may be exceeded after a pause: what would have gone in this time. */
const BURST_MS = 100

interface Waiting {
  readonly bytes: number
  readonly isGone: () => boolean
  readonly resume: () => void
}

/**
 * Holds a flow to so many bytes per second. Who has to wait is served in turn, one piece of each key at a time, so that nobody with many
 * requests gets more than somebody with one. A piece goes whole and is paid for afterwards, so pieces of any size pass.
 * Whoever waits has one piece here at a time: memory is bounded by the number of requests.
 */
export class FairRate {
  readonly #bytesPerSecond: () => number
  /** Milliseconds, of a clock that never jumps: everything up to here is used up. */
  #paidUntilMs = Number.NEGATIVE_INFINITY
  readonly #queues = new Map<string, Waiting[]>()
  readonly #clock: () => number
  #timer: NodeJS.Timeout | undefined

  /** @param bytesPerSecond  as it is now; Infinity: no limit */
  constructor(bytesPerSecond: () => number, clock: () => number = () => performance.now()) {
    this.#bytesPerSecond = bytesPerSecond
    this.#clock = clock
  }

  /**
   * Resolves when the piece may go.
   * @param key     among whom the rate is shared
   * @param isGone  nobody waits for it any more: it passes without being counted
   */
  async take(key: string, bytes: number, isGone: () => boolean): Promise<void> {
    if (this.#queues.size === 0 && this.#pass(bytes)) return
    await new Promise<void>((resume) => {
      const queue = this.#queues.get(key)
      const waiting = { bytes, isGone, resume }
      if (queue === undefined) this.#queues.set(key, [waiting])
      else queue.push(waiting)
      this.#wake()
    })
  }

  /** @returns false if it is not the time yet */
  #pass(bytes: number): boolean {
    const rate = this.#bytesPerSecond()
    const nowMs = this.#clock()
    if (rate === Infinity) {
      this.#paidUntilMs = Number.NEGATIVE_INFINITY
      return true
    }
    if (this.#paidUntilMs > nowMs) return false
    this.#paidUntilMs = Math.max(this.#paidUntilMs, nowMs - BURST_MS) + (bytes / rate) * 1000
    return true
  }

  #wake(): void {
    if (this.#timer !== undefined) return
    // At least once a second: the rate may be another one by then.
    const waitMs = Math.min(1000, Math.max(1, this.#paidUntilMs - this.#clock()))
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#serve()
    }, waitMs)
  }

  #serve(): void {
    for (const [key, queue] of this.#queues) {
      while (queue[0]?.isGone() === true) queue.shift()?.resume()
      const [first] = queue
      if (first !== undefined) {
        if (!this.#pass(first.bytes)) break
        queue.shift()
        first.resume()
      }
      // Behind the others, or out. A Map goes on to what is added while it is gone through, so this ends where the rate does.
      this.#queues.delete(key)
      if (queue.length > 0) this.#queues.set(key, queue)
    }
    if (this.#queues.size > 0) this.#wake()
  }
}
