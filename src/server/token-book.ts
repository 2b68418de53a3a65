import type { Environment } from '../environment.js'
import { EverfoldError } from '../errors.js'
import { KeyedMutex } from '../mutex.js'
import { checkName } from '../names.js'
import type { StoreWriter } from '../store/store.js'
import type { Role } from './roles.js'
import {
  readTokens,
  type StoredToken,
  TOKEN_MACHINES_MAX,
  TOKEN_NAME_LENGTH_MAX,
  TOKENS_MAX,
  writeTokens,
} from './token-list.js'
import { hashOf, idIn, makeSecret, sameHash } from './token-secret.js'

export interface TokenRequest {
  readonly name: string
  readonly role: Role
  /** Names, or patterns with `*`. Without them: all machines. */
  readonly machines?: readonly string[]
  /** Milliseconds since 1970, UTC, from which on it no longer holds. */
  readonly expiresMs?: number
}

/** A token as it is shown: everything but what would let anyone in. */
export type TokenInfo = Omit<StoredToken, 'sha256'>

export interface CreatedToken extends TokenInfo {
  /** Shown this once; only its hash is stored. */
  readonly token: string
}

/** Never equal to the hash of a token: compared with where there is none, so that this takes as long. */
const NO_HASH = '0'.repeat(64)

/** Who may use a repository through the service. */
export class TokenBook {
  readonly #store: StoreWriter
  readonly #environment: Environment
  readonly #changing = new KeyedMutex()
  #tokens: ReadonlyMap<string, StoredToken> = new Map()
  /** As they are shown: one object each, for each of many requests. */
  readonly #infos = new WeakMap<StoredToken, TokenInfo>()
  #next = 0

  private constructor(store: StoreWriter, environment: Environment) {
    this.#store = store
    this.#environment = environment
  }

  /** @returns the book, and whether there was a list of tokens that can be read. @throws STORE_FAILED */
  static async open(
    store: StoreWriter,
    environment: Environment,
  ): Promise<{ readonly book: TokenBook; readonly state: 'none' | 'damaged' | 'valid' }> {
    const book = new TokenBook(store, environment)
    const found = await readTokens(store)
    book.#tokens = new Map(found.tokens.map((token) => [token.id, token]))
    book.#next = found.next
    return { book, state: found.state }
  }

  /** All tokens, expired ones included, oldest first. */
  list(): TokenInfo[] {
    return [...this.#tokens.values()].map(infoOf)
  }

  /** Whose token this is; undefined if it is none, was revoked or has expired. */
  find(token: string): TokenInfo | undefined {
    const stored = this.#tokens.get(idIn(token) ?? '')
    if (!sameHash(hashOf(token), stored?.sha256 ?? NO_HASH) || stored === undefined) return undefined
    const { expiresAt } = stored
    if (expiresAt !== undefined && Date.parse(expiresAt) <= this.#environment.now()) return undefined
    const known = this.#infos.get(stored)
    if (known !== undefined) return known
    const info = infoOf(stored)
    this.#infos.set(stored, info)
    return info
  }

  /** Durable when it resolves. @throws ARGUMENT_INVALID, NAME_INVALID, CONFLICT, STORE_FULL, STORE_FAILED */
  async create(request: TokenRequest): Promise<CreatedToken> {
    const checked = this.#check(request)
    return this.#changing.run('tokens', async () => {
      if (this.#tokens.size >= TOKENS_MAX)
        throw new EverfoldError('ARGUMENT_INVALID', `There are ${TOKENS_MAX} tokens already: revoke some.`)
      let secret = makeSecret(this.#environment)
      while (this.#tokens.has(secret.id)) secret = makeSecret(this.#environment)
      const createdAt = new Date(this.#environment.now()).toISOString()
      const { id, token, sha256 } = secret
      const stored: StoredToken = { id, ...checked, createdAt, sha256 }
      await this.#write([...this.#tokens.values(), stored])
      return { ...infoOf(stored), token }
    })
  }

  /** From the next request on it no longer holds. @throws TOKEN_UNKNOWN, CONFLICT, STORE_FULL, STORE_FAILED */
  async revoke(id: string): Promise<TokenInfo> {
    return this.#changing.run('tokens', async () => {
      const token = this.#tokens.get(id)
      if (token === undefined)
        throw new EverfoldError('TOKEN_UNKNOWN', `There is no token "${id}".`, { details: { token: id } })
      await this.#write([...this.#tokens.values()].filter((other) => other !== token))
      return infoOf(token)
    })
  }

  async #write(tokens: readonly StoredToken[]): Promise<void> {
    await writeTokens(this.#store, this.#next, tokens)
    this.#next++
    this.#tokens = new Map(tokens.map((token) => [token.id, token]))
  }

  #check(request: TokenRequest): Pick<StoredToken, 'name' | 'role' | 'machines' | 'expiresAt'> {
    const name = request.name.trim()
    if (name === '' || name.length > TOKEN_NAME_LENGTH_MAX || /\p{C}/u.test(name))
      throw new EverfoldError(
        'ARGUMENT_INVALID',
        `A token needs a name: one line of at most ${TOKEN_NAME_LENGTH_MAX} characters.`,
      )
    const machines = request.machines ?? ['*']
    if (machines.length === 0 || machines.length > TOKEN_MACHINES_MAX)
      throw new EverfoldError('ARGUMENT_INVALID', `A token is for 1 to ${TOKEN_MACHINES_MAX} machines.`)
    const patterns = machines.map((pattern) => checkName('machine', pattern))
    const { role, expiresMs } = request
    if (expiresMs === undefined) return { name, role, machines: patterns }
    if (!(expiresMs > this.#environment.now()) || Number.isNaN(new Date(expiresMs).getTime()))
      throw new EverfoldError('ARGUMENT_INVALID', 'A token expires at a time that is yet to come.')
    return { name, role, machines: patterns, expiresAt: new Date(expiresMs).toISOString() }
  }
}

function infoOf({ sha256: _, ...info }: StoredToken): TokenInfo {
  return info
}
