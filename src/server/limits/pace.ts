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

  /** Is there any rate at which answers go? Without one there is nothing to wait for. */
  get limitsOut(): boolean {
    return this.#rates.out.length > 0
  }

  /** To be waited for before each piece of an answer. */
  out(bytes: number): Promise<void> {
    return this.#wait(this.#rates.out, bytes)
  }

  /** An answer at its pace. */
  paced<Piece extends Uint8Array | string>(pieces: AsyncIterable<Piece>): AsyncIterable<Piece | Uint8Array> {
    return this.#rates.out.length === 0 ? pieces : this.#slowed(pieces)
  }

  async *#slowed(pieces: AsyncIterable<Uint8Array | string>): AsyncGenerator<Uint8Array> {
    for await (const piece of pieces) {
      const bytes = typeof piece === 'string' ? Buffer.from(piece) : piece
      for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
        const part = bytes.subarray(at, at + PIECE_BYTES)
        await this.out(part.length)
        yield part
      }
    }
  }

  async #wait(rates: readonly FairRate[], bytes: number): Promise<void> {
    for (const rate of rates) await rate.take(this.#key, bytes, this.#isGone)
  }
}
