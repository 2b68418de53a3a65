import { Transform } from 'node:stream'
import type { FairRate } from './fair-rate.js'

/** Bytes that are waited for together. */
const PIECE_BYTES = 256 * 1024

/** Rates of the service, and of the token. */
export interface Rates {
  readonly in: readonly FairRate[]
  readonly out: readonly FairRate[]
}

/** How fast one request may take and send bytes. */
export class Pace {
  readonly #rates: Rates
  readonly #key: string
  readonly #isGone: () => boolean

  /** @param key  whoever shares the rates with others: the token */
  constructor(rates: Rates, key: string, isGone: () => boolean) {
    this.#rates = rates
    this.#key = key
    this.#isGone = isGone
  }

  /** To be waited for after each piece of a body, before the next one is read. */
  in(bytes: number): Promise<void> {
    return this.#wait(this.#rates.in, bytes)
  }

  /** To be waited for before each piece of an answer. */
  out(bytes: number): Promise<void> {
    return this.#wait(this.#rates.out, bytes)
  }

  /** Lets an answer through at its pace: stands between what makes it and the response. Nothing, where there is no rate. */
  outward(): Transform[] {
    return this.#rates.out.length === 0 ? [] : [this.#slowed()]
  }

  #slowed(): Transform {
    const pace = this
    return new Transform({
      writableHighWaterMark: 1,
      readableHighWaterMark: PIECE_BYTES,
      async transform(chunk: Buffer, _encoding, done) {
        try {
          for (let at = 0; at < chunk.length; at += PIECE_BYTES) {
            const piece = chunk.subarray(at, at + PIECE_BYTES)
            await pace.out(piece.length)
            this.push(piece)
          }
          done()
        } catch (error) {
          done(error as Error)
        }
      },
    })
  }

  async #wait(rates: readonly FairRate[], bytes: number): Promise<void> {
    for (const rate of rates) await rate.take(this.#key, bytes, this.#isGone)
  }
}
