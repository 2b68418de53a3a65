import * as z from 'zod'
import { EverfoldError, isEverfoldError } from '../errors.js'
import { openSealedJson, sealJson } from '../sealed-json.js'
import { parseTokensKey, tokensKey, tokensPrefix } from '../store/keys.js'
import type { StoreReader, StoreWriter } from '../store/store.js'
import { ROLES } from './roles.js'

/*
 * tokens/<number>, format 1: sealed JSON. All tokens there are; each change is a new object, numbered without gaps from 0, and the
 * highest holds. If that one is damaged, no token does: an older list would bring back what was revoked since.
 */

/** Tokens that there may be at once. */
export const TOKENS_MAX = 1000
/** Patterns of machines, and characters of a name, that a token may have. */
export const TOKEN_MACHINES_MAX = 100
export const TOKEN_NAME_LENGTH_MAX = 100

export const storedToken = z
  .strictObject({
    id: z.string().regex(/^[0-9a-z]{8}$/),
    name: z.string(),
    role: z.enum(ROLES),
    /** Names of machines; `*` stands for any characters. */
    machines: z.array(z.string()).readonly(),
    createdAt: z.iso.datetime(),
    expiresAt: z.iso.datetime().optional(),
    /** Of the whole token, in hex. */
    sha256: z.string().regex(/^[0-9a-f]{64}$/),
  })
  .readonly()

const tokenList = z
  .strictObject({
    everfold: z.literal('tokens'),
    format: z.literal(1),
    number: z.number().int().min(0),
    tokens: z.array(storedToken).readonly(),
  })
  .readonly()

export type StoredToken = z.infer<typeof storedToken>

export interface FoundTokens {
  readonly tokens: readonly StoredToken[]
  /** `none`: there never was a list; `damaged`: it cannot be read, so nothing in it holds. */
  readonly state: 'none' | 'damaged' | 'valid'
  /** The number that the next list has to take. */
  readonly next: number
}

/** The list that holds. A listing may be short: from the highest number listed we ask upwards. @throws STORE_FAILED */
export async function readTokens(store: StoreReader): Promise<FoundTokens> {
  let next = 0
  for await (const { key } of store.list(tokensPrefix)) next = Math.max(next, parseTokensKey(key) ?? 0)
  while ((await store.size(tokensKey(next))) !== undefined) next++
  if (next === 0) return { tokens: [], state: 'none', next }
  const tokens = await readOne(store, next - 1)
  return tokens === undefined ? { tokens: [], state: 'damaged', next } : { tokens, state: 'valid', next }
}

/** Makes this the list that holds, durably. @throws CONFLICT, STORE_FULL, STORE_FAILED */
export async function writeTokens(
  store: StoreWriter,
  number: number,
  tokens: readonly StoredToken[],
): Promise<void> {
  const encoded = sealJson({ everfold: 'tokens', format: 1, number, tokens })
  if (decode(encoded, number) === undefined) throw new Error('a list of tokens did not decode')
  if ((await store.put(tokensKey(number), [encoded])) === 'created') return
  throw new EverfoldError('CONFLICT', 'Another writer changed the tokens at the same time. Try again.', {
    details: { number },
  })
}

async function readOne(store: StoreReader, number: number): Promise<readonly StoredToken[] | undefined> {
  try {
    return decode(await store.readAll(tokensKey(number)), number)
  } catch (error) {
    if (isEverfoldError(error, 'OBJECT_NOT_FOUND')) return undefined
    throw error
  }
}

function decode(bytes: Uint8Array, number: number): readonly StoredToken[] | undefined {
  const parsed = tokenList.safeParse(openSealedJson(bytes))
  return parsed.success && parsed.data.number === number ? parsed.data.tokens : undefined
}
