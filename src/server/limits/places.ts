import type { ServerResponse } from 'node:http'
import { EverfoldError } from '../../errors.js'

/** How many of a kind there may be at once, in all and of each token. */
export class Places {
  readonly #what: string
  readonly #max: number
  readonly #byToken = new Map<string, number>()
  #taken = 0

  /** @param what  in the plural, for whoever is refused */
  constructor(what: string, max: number) {
    this.#what = what
    this.#max = max
  }

  get taken(): number {
    return this.#taken
  }

  /** @returns what gives the place back; more than once does nothing @throws TOO_MANY_REQUESTS */
  take(token: string, tokenMax: number): () => void {
    const own = this.#byToken.get(token) ?? 0
    if (this.#taken >= this.#max) throw tooMany(`There are ${this.#max} ${this.#what} already`)
    if (own >= tokenMax) throw tooMany(`This token has ${tokenMax} ${this.#what} already`)
    this.#taken++
    this.#byToken.set(token, own + 1)
    let back = false
    return () => {
      if (back) return
      back = true
      this.#taken--
      const left = (this.#byToken.get(token) ?? 1) - 1
      if (left > 0) this.#byToken.set(token, left)
      else this.#byToken.delete(token)
    }
  }
}

function tooMany(what: string): EverfoldError {
  return new EverfoldError('TOO_MANY_REQUESTS', `${what}. Try again in a moment.`)
}

/** Gives a place back once an answer is through, or its client has gone, which may have been before this. */
export function untilClosed(response: ServerResponse, giveBack: () => void): void {
  if (response.closed) giveBack()
  // Not once(): it comes no second time, and that takes longer.
  else response.on('close', giveBack)
}
