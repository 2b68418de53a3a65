import { UPLOADS_MAX } from '../../chain/session/sessions.js'
import { TIME_ZONE_DEFAULT } from '../../merge/retention-policy.js'
import { BODY_BYTES_MAX } from '../body.js'
import { type RatesConfig, type ServiceConfig, tokenSetting } from '../config/service-config.js'
import type { TokenInfo } from '../token-book.js'
import { FairRate } from './fair-rate.js'
import { Pace, type Rates } from './pace.js'
import { Places } from './places.js'
import { type Direction, rateAt } from './rate-hours.js'

/** Requests, disks being sent, and upload sessions at once, where the configuration does not say it. */
export const REQUESTS_MAX = 768
export const SENDING_MAX = 64
export const SESSIONS_MAX = 256
/** What one token, or one address, may take of what there is for all, where the configuration does not say it. */
export const SHARE_OF_ONE = 0.75

/** Tokens whose rates are remembered. */
const TOKENS_REMEMBERED_MAX = 1000

/** The pace where no rate is set. */
const UNLIMITED = new Pace({ in: [], out: [] }, '', () => false)

type Kind = 'requests' | 'reads' | 'uploads'

/** What the service, and each token, may take at once and per second. */
export class Limits {
  readonly #config: ServiceConfig
  readonly #now: () => number
  readonly #places: Readonly<Record<Kind, Places>>
  readonly #max: Readonly<Record<Kind | 'sessions', number>>
  readonly #rates: Rates
  /** By id of the token, least recently used first. */
  readonly #tokenRates = new Map<string, Rates>()

  /** @param now  milliseconds since 1970, UTC: rates go by the hours of the day */
  constructor(config: ServiceConfig, now: () => number) {
    this.#config = config
    this.#now = now
    const { limits = {} } = config
    this.#max = {
      requests: limits.requests ?? REQUESTS_MAX,
      reads: limits.reads ?? SENDING_MAX,
      uploads: limits.uploads ?? UPLOADS_MAX,
      sessions: limits.sessions ?? SESSIONS_MAX,
    }
    this.#places = {
      requests: new Places('requests', this.#max.requests),
      reads: new Places('disks being sent', this.#max.reads),
      uploads: new Places('uploads', this.#max.uploads),
    }
    this.#rates = this.#ratesOf(limits.bytesPerSecond)
  }

  /** A place for one more of a kind, until it is given back. @returns what gives it back @throws TOO_MANY_REQUESTS */
  take(kind: Kind, token: TokenInfo): () => void {
    return this.#places[kind].take(token.id, this.tokenMax(kind, token))
  }

  /** How many of a kind there are. */
  taken(kind: Kind): number {
    return this.#places[kind].taken
  }

  /** How many sessions may be open at once. */
  get sessionsMax(): number {
    return this.#max.sessions
  }

  /** How many of a kind a token may have at once. */
  tokenMax(kind: Kind | 'sessions', token: TokenInfo): number {
    return tokenSetting(this.#config, token, kind) ?? Math.ceil(this.#max[kind] * SHARE_OF_ONE)
  }

  /** Bytes of a body: `body` of JSON, `upload` of an upload. The smaller of what the service and the token may have. */
  bodyMax(kind: 'body' | 'upload', token: TokenInfo | undefined): number {
    const all = this.#config.limits?.[kind] ?? (kind === 'body' ? BODY_BYTES_MAX : Infinity)
    const own = token === undefined ? undefined : tokenSetting(this.#config, token, kind)
    return Math.min(all, own ?? Infinity)
  }

  /** The pace of one request. @param isGone  nobody waits for its answer any more */
  pace(token: TokenInfo | undefined, isGone: () => boolean): Pace {
    const own = token === undefined ? undefined : this.#ratesOfToken(token)
    if (isFree(this.#rates) && (own === undefined || isFree(own))) return UNLIMITED
    const both = (direction: Direction): FairRate[] => [
      ...(own?.[direction] ?? []),
      ...this.#rates[direction],
    ]
    return new Pace({ in: both('in'), out: both('out') }, token?.id ?? '', isGone)
  }

  #ratesOfToken(token: TokenInfo): Rates {
    const known = this.#tokenRates.get(token.id)
    const rates = known ?? this.#ratesOf(tokenSetting(this.#config, token, 'bytesPerSecond'))
    this.#tokenRates.delete(token.id)
    this.#tokenRates.set(token.id, rates)
    for (const [oldest] of this.#tokenRates) {
      if (this.#tokenRates.size <= TOKENS_REMEMBERED_MAX) break
      this.#tokenRates.delete(oldest)
    }
    return rates
  }

  #ratesOf(config: RatesConfig | undefined): Rates {
    const timeZone = this.#config.limits?.timeZone ?? TIME_ZONE_DEFAULT
    const one = (direction: Direction): FairRate[] => {
      const spans = [config ?? {}, ...(config?.hours ?? [])]
      if (spans.every((span) => span[direction] === undefined)) return []
      return [new FairRate(() => rateAt(config, direction, timeZone, this.#now()))]
    }
    return { in: one('in'), out: one('out') }
  }
}

function isFree(rates: Rates): boolean {
  return rates.in.length === 0 && rates.out.length === 0
}
