import { setImmediate } from 'node:timers/promises'
import type { Random } from './random.js'

interface Waiting {
  readonly order: number
  readonly resume: () => void
}

/** What came of {@link Scheduler.run}. */
export type RunEnd = 'done' | 'cut'

/**
 * Decides who goes on: every call to the store, the index and the crew waits for its turn, and the seed chooses whose turn it
 * is. One scheduler is one process: once it is cut, whoever waits never goes on.
 */
export class Scheduler {
  #random: Random
  readonly #waiting: Waiting[] = []
  #isCut = false
  /** Turns given so far. */
  turns = 0

  constructor(random: Random) {
    this.#random = random
  }

  /** From now on another seed chooses. Who waits goes on waiting. */
  reseed(random: Random): void {
    this.#random = random
  }

  /** Waits for a turn. Some answers are slow: many others go first. */
  async turn(): Promise<void> {
    const order = this.#random.below(1000) + (this.#random.chance(0.05) ? 1000 : 0)
    await new Promise<void>((resume) => this.#waiting.push({ order, resume }))
  }

  /** Ends the process, in the middle of the turn that was given last. Whoever calls this never goes on. */
  cut(): Promise<never> {
    this.#isCut = true
    return new Promise(() => undefined)
  }

  /**
   * Gives turns until `work` has settled, or until `cutAfter` turns were given: then nobody ever goes on.
   * @throws if everybody waits for something that will not come
   */
  async run(work: Promise<unknown>, cutAfter = Infinity): Promise<RunEnd> {
    const state = { settled: false }
    const settle = (): void => {
      state.settled = true
    }
    work.then(settle, settle)
    for (let given = 0; ; given++) {
      // All that can go on without a turn does so before the next is given.
      await setImmediate()
      if (state.settled) return 'done'
      if (given >= cutAfter || this.#isCut) {
        this.#waiting.length = 0
        return 'cut'
      }
      if (!this.#giveTurn()) throw new Error('everybody waits, and nothing is under way: a deadlock')
    }
  }

  #giveTurn(): boolean {
    let first = 0
    for (let i = 1; i < this.#waiting.length; i++)
      if ((this.#waiting[i]?.order ?? 0) < (this.#waiting[first]?.order ?? 0)) first = i
    const [next] = this.#waiting.splice(first, 1)
    if (next === undefined) return false
    this.turns++
    next.resume()
    return true
  }
}
