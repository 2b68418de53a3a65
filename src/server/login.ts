import { setTimeout as sleep } from 'node:timers/promises'
import { EverfoldError } from '../errors.js'
import type { TokenBook, TokenInfo } from './token-book.js'

/** A failed login is answered after this time, doubled for each failure from the same address, up to the second. */
const DELAY_FIRST_MS = 50
const DELAY_MAX_MS = 2000
/** Addresses whose failures are remembered, and failed logins that wait for their answer at once. */
export const LOGIN_ADDRESSES_MAX = 10_000
export const LOGINS_WAITING_MAX = 128

/**
 * Lets in who has a token. Who fails waits; who has a token that holds never does, so that nobody can lock anybody out. Memory is
 * bounded, whoever tries.
 */
export class Login {
  readonly #tokens: TokenBook
  /** Failures in a row by address, least recent first. */
  readonly #failures = new Map<string, number>()
  #waiting = 0

  constructor(tokens: TokenBook) {
    this.#tokens = tokens
  }

  /**
   * @param authorization  the header: `Bearer <token>`, or `Basic` with the token as password and any name
   * @throws UNAUTHENTICATED, TOO_MANY_REQUESTS
   */
  async check(authorization: string | undefined, address: string): Promise<TokenInfo> {
    if (authorization === undefined)
      throw new EverfoldError(
        'UNAUTHENTICATED',
        'This needs a token: send "Authorization: Bearer <token>", or the token as a password.',
      )
    const token = tokenIn(authorization)
    const found = token === undefined ? undefined : this.#tokens.find(token)
    if (found !== undefined) {
      this.#failures.delete(address)
      return found
    }
    await this.#slowDown(address)
    throw new EverfoldError('UNAUTHENTICATED', 'This token is wrong, or was revoked, or has expired.')
  }

  async #slowDown(address: string): Promise<void> {
    const before = this.#failures.get(address) ?? 0
    this.#failures.delete(address)
    this.#failures.set(address, before + 1)
    for (const [oldest] of this.#failures) {
      if (this.#failures.size <= LOGIN_ADDRESSES_MAX) break
      this.#failures.delete(oldest)
    }
    if (this.#waiting >= LOGINS_WAITING_MAX)
      throw new EverfoldError('TOO_MANY_REQUESTS', 'Too many failed logins at once. Try again in a moment.')
    this.#waiting++
    try {
      await sleep(Math.min(DELAY_MAX_MS, DELAY_FIRST_MS * 2 ** Math.min(before, 10)))
    } finally {
      this.#waiting--
    }
  }
}

function tokenIn(authorization: string): string | undefined {
  const [, scheme = '', value = ''] = /^(Bearer|Basic) +(\S+)$/i.exec(authorization) ?? []
  if (scheme.toLowerCase() === 'bearer') return value
  if (scheme === '') return undefined
  const pair = Buffer.from(value, 'base64').toString('latin1')
  const colon = pair.indexOf(':')
  return colon < 0 ? undefined : pair.slice(colon + 1)
}
