import { createHash, randomUUID } from 'node:crypto'
import { mkdir, open, readFile, rename } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import * as z from 'zod'
import { EverfoldError } from '../errors.js'
import { savedListings } from './known-listings.js'
import { storeError } from './local-errors.js'
import type { LockState } from './object-lock.js'

/** What copies of objects may take, by default. The index is beside them, and takes what it needs. */
export const CACHE_BYTES_DEFAULT = 2 * 1024 * 1024 * 1024

const lockState: z.ZodType<LockState> = z.strictObject({
  period: z.number().int(),
  until: z.string(),
  extendedAt: z.string(),
  isDone: z.boolean(),
  after: z.string(),
  objects: z.number().int().min(0),
})

const cacheState = z.strictObject({
  everfold: z.literal('cache'),
  format: z.literal(1),
  /** Name of the claim (see s3-claims.ts) under which the index and the copies here were last in use. */
  claim: z.string(),
  /** Were they closed in order? */
  clean: z.boolean(),
  /** What was found out about the service. */
  conditionalPut: z.boolean(),
  /** When it was last looked what the bucket does on its own account. ISO 8601. */
  lookedAt: z.string(),
  /** Of what is there, as the last holder left it: only after a clean end. */
  listings: savedListings.optional(),
  /** How far locks were extended, see object-lock.ts. */
  locks: lockState.optional(),
})

export type CacheState = z.infer<typeof cacheState>

/**
 * Where the index and the copies of a repository in a bucket lie.
 * @param place  tells it from its copies elsewhere, which have the same id and go their own ways
 * @throws ARGUMENT_INVALID, STORE_FAILED, STORE_FULL
 */
export async function makeCacheFolder(
  repositoryId: string,
  place: string,
  chosen: string | undefined,
): Promise<string> {
  const base = process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache')
  const hash = createHash('sha256').update(place).digest('hex').slice(0, 8)
  const parent = chosen ?? (process.env['EVERFOLD_CACHE'] || join(base, 'everfold'))
  const folder = resolve(parent, `${repositoryId}-${hash}`)
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw storeError('make the cache (see --cache)', folder, error)
  }
  return folder
}

/** @throws ARGUMENT_INVALID */
export function cacheBytesFrom(environment: NodeJS.ProcessEnv): number {
  const text = environment['EVERFOLD_CACHE_BYTES']
  if (text === undefined || text === '') return CACHE_BYTES_DEFAULT
  const bytes = Number(text)
  if (Number.isSafeInteger(bytes) && bytes >= 0) return bytes
  throw new EverfoldError('ARGUMENT_INVALID', `EVERFOLD_CACHE_BYTES is "${text}". Give a number of bytes.`)
}

/** Undefined if there is none, or none that can be read: then nothing here is believed. */
export async function readCacheState(folder: string): Promise<CacheState | undefined> {
  try {
    return cacheState.parse(JSON.parse(await readFile(join(folder, 'state.json'), 'utf8')))
  } catch {
    return undefined
  }
}

/** Durable when the promise resolves. @throws STORE_FAILED, STORE_FULL */
export async function writeCacheState(
  folder: string,
  state: Omit<CacheState, 'everfold' | 'format'>,
): Promise<void> {
  const draft = join(folder, `state.${randomUUID()}`)
  try {
    const file = await open(draft, 'wx', 0o600)
    try {
      await file.writeFile(`${JSON.stringify({ everfold: 'cache', format: 1, ...state })}\n`)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(draft, join(folder, 'state.json'))
    const handle = await open(folder)
    await handle.sync().finally(() => handle.close())
  } catch (error) {
    throw storeError('write the cache', folder, error)
  }
}
