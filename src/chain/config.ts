import * as z from 'zod'
import { EverfoldError } from '../errors.js'
import { openSealedJson, sealJson } from '../sealed-json.js'
import { LOCK_DAYS_MAX } from '../store/object-lock.js'

/* everfold.json, formats 1 and 2: sealed JSON (see sealed-json.ts), written once by `everfold init`. */

/** The highest that there is: 2 has `objectLock`, which an older Everfold would not heed. What needs none of that is written as 1. */
export const REPOSITORY_FORMAT_VERSION = 2

const repositoryConfig = z
  .strictObject({
    everfold: z.literal('repository'),
    format: z.union([z.literal(1), z.literal(REPOSITORY_FORMAT_VERSION)]),
    id: z.string().regex(/^[0-9a-f]{32}$/),
    createdAt: z.iso.datetime(),
    /** Plain bytes of a chunk at most: a power of two from 4 KiB to 4 MiB. */
    chunkSize: z.number().int().min(4096).max(4_194_304),
    /** Plain bytes that are compressed together. */
    frameSize: z.number().int().min(4096).max(16_777_216),
    /** Stored bytes after which a pack is closed. */
    packSize: z.number().int().min(65536).max(268_435_456),
    compression: z
      .strictObject({ codec: z.literal('zstd'), level: z.number().int().min(0).max(19) })
      .readonly(),
    /** Days for which what is needed is locked at least, in a bucket with Object Lock. */
    objectLock: z
      .strictObject({ days: z.number().int().min(1).max(LOCK_DAYS_MAX) })
      .readonly()
      .optional(),
  })
  .refine(({ format, objectLock }) => format === (objectLock === undefined ? 1 : 2))
  .readonly()

export type RepositoryConfig = z.infer<typeof repositoryConfig>

export function encodeConfig(config: RepositoryConfig): Uint8Array {
  return sealJson(config)
}

/** @throws REPOSITORY_DAMAGED, FORMAT_TOO_NEW */
export function decodeConfig(bytes: Uint8Array, location: string): RepositoryConfig {
  const payload = openSealedJson(bytes)
  if (payload === undefined)
    throw new EverfoldError(
      'REPOSITORY_DAMAGED',
      `everfold.json in ${location} is damaged. Everything else may be intact: put the file back from a copy.`,
    )
  const format = payload['format']
  if (
    payload['everfold'] === 'repository' &&
    typeof format === 'number' &&
    format > REPOSITORY_FORMAT_VERSION
  )
    throw new EverfoldError(
      'FORMAT_TOO_NEW',
      `${location} has repository format ${format}; this version of Everfold knows formats up to ${REPOSITORY_FORMAT_VERSION}. Use a newer Everfold.`,
      { details: { format } },
    )
  const parsed = repositoryConfig.safeParse(payload)
  if (parsed.success) return parsed.data
  throw new EverfoldError(
    'REPOSITORY_DAMAGED',
    `everfold.json in ${location} says what no Everfold writes.`,
    {
      cause: parsed.error,
    },
  )
}
