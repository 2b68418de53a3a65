import * as z from 'zod'
import { openSealedJson, sealJson } from '../../sealed-json.js'

/*
 * What a session leaves in the store beside its parts (see part-codec.ts), format 1: sealed JSON (see sealed-json.ts).
 *
 *   sessions/<id>/begin  what is going to be sent. Without it, parts mean nothing
 *   sessions/<id>/done   the point that it became. With it, everything else of the session means nothing
 */

const bytes = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER)
const pointId = z.string().regex(/^[0-9a-z]{8}$/)

const sessionDisk = z
  .strictObject({
    id: z.string(),
    sizeBytes: bytes,
    /** All of it is sent, or what changed since the newest point. */
    content: z.enum(['whole', 'changes']),
    chunker: z.enum(['fixed', 'cdc']),
    /** From here on nothing is known from the newest point: all of it has to come. 0 for a whole disk. */
    knownBytes: bytes,
  })
  .readonly()

const sessionBegin = z
  .strictObject({
    everfold: z.literal('session'),
    format: z.literal(1),
    session: z.string(),
    /** Tells its parts from those of an earlier session of the same id. */
    series: z.string().regex(/^[0-9a-f]{16}$/),
    machine: z.string(),
    /** The id of the token that made it. */
    owner: z.string(),
    createdAt: z.iso.datetime(),
    /** The id that its point is going to have: so a commit that is repeated is recognised. */
    point: pointId,
    /** The machine's newest point when it began. */
    base: pointId.nullable(),
    /** Did whoever made it name that point as its parent? */
    named: z.boolean(),
    note: z.string().optional(),
    consistency: z.enum(['crash', 'filesystem', 'application']),
    /** One request brings all of it; it cannot be gone on with. */
    single: z.literal(true).optional(),
    disks: z.array(sessionDisk).readonly(),
  })
  .readonly()

const pointResult = z
  .strictObject({
    machine: z.string(),
    point: pointId,
    kind: z.enum(['full', 'incremental']),
    createdAt: z.iso.datetime(),
    disks: z.array(z.strictObject({ id: z.string(), sizeBytes: bytes }).readonly()).readonly(),
    readBytes: bytes,
    changedBytes: bytes,
    newBytes: bytes,
    storedBytes: bytes,
    seconds: z.number().min(0),
  })
  .readonly()

const sessionDone = z
  .strictObject({
    everfold: z.literal('committed session'),
    format: z.literal(1),
    session: z.string(),
    owner: z.string(),
    committedAt: z.iso.datetime(),
    result: pointResult,
  })
  .readonly()

export type SessionDisk = z.infer<typeof sessionDisk>
export type SessionBegin = z.infer<typeof sessionBegin>
export type SessionDone = z.infer<typeof sessionDone>

export function encodeBegin(begin: SessionBegin): Uint8Array {
  const encoded = sealJson(begin)
  if (decodeBegin(encoded, begin.session) === undefined) throw new Error('a session did not decode')
  return encoded
}

/** @returns undefined unless the bytes are undamaged, and of this session */
export function decodeBegin(encoded: Uint8Array, session: string): SessionBegin | undefined {
  const parsed = sessionBegin.safeParse(openSealedJson(encoded))
  return parsed.success && parsed.data.session === session ? parsed.data : undefined
}

export function encodeDone(done: SessionDone): Uint8Array {
  const encoded = sealJson(done)
  if (decodeDone(encoded, done.session) === undefined) throw new Error('a committed session did not decode')
  return encoded
}

/** @returns undefined unless the bytes are undamaged, and of this session */
export function decodeDone(encoded: Uint8Array, session: string): SessionDone | undefined {
  const parsed = sessionDone.safeParse(openSealedJson(encoded))
  return parsed.success && parsed.data.session === session ? parsed.data : undefined
}
