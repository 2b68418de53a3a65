import { hash, timingSafeEqual } from 'node:crypto'
import type { Environment } from '../environment.js'
import { POINT_ID_LENGTH, pointIdFrom } from '../ids.js'

/** Random bytes of a token: nobody guesses 256 bits, however fast. */
const SECRET_BYTES = 32

const TOKEN = new RegExp(`^everfold_([0-9a-z]{${POINT_ID_LENGTH}})_([0-9a-f]{${SECRET_BYTES * 2}})$`)

export interface NewSecret {
  readonly id: string
  /** `everfold_<id>_<64 hexadecimal digits>`: what its owner keeps. */
  readonly token: string
  readonly sha256: string
}

export function makeSecret(environment: Environment): NewSecret {
  const id = pointIdFrom(environment.random(POINT_ID_LENGTH))
  const secret = Buffer.from(environment.random(SECRET_BYTES)).toString('hex')
  const token = `everfold_${id}_${secret}`
  return { id, token, sha256: hashOf(token) }
}

/**
 * The hash under which a token is stored. A plain SHA-256 does: slow hashes protect words that people choose, while the 256 random
 * bits here cannot be tried out, and a slow hash would only let strangers burn our processor.
 */
export function hashOf(token: string): string {
  return hash('sha256', token)
}

/** The id in a token, or undefined if this is no token of ours. */
export function idIn(token: string): string | undefined {
  return TOKEN.exec(token)?.[1]
}

/** Takes the same time wherever they differ. */
export function sameHash(a: string, b: string): boolean {
  return timingSafeEqual(Buffer.from(a, 'hex'), Buffer.from(b, 'hex'))
}
