import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { cacheBytesFrom, makeCacheFolder, readCacheState, writeCacheState } from './cache-folder.js'
import { CachingStore } from './caching-store.js'
import { KnownListings } from './known-listings.js'
import { lockRepository } from './lock.js'
import { ObjectCache } from './object-cache.js'
import { lockTerms } from './object-lock.js'
import type { EmptyStoreOptions, OpenedStore, OpenStoreOptions } from './open-store.js'
import { RequestLog } from './request-log.js'
import { S3Archive } from './s3-archive.js'
import { bucketWarnings, probeConditionalPut, refuseForeignObjects } from './s3-check.js'
import { connectS3 } from './s3-client.js'
import { S3Lease } from './s3-lease.js'
import type { S3Location } from './s3-location.js'
import { S3ObjectLocks } from './s3-object-locks.js'
import { requireVersions } from './s3-recover.js'
import { requireObjectLock } from './s3-retention.js'
import { endpointFrom, type S3Options, s3SettingsFrom } from './s3-settings.js'
import { S3Store } from './s3-store.js'

/** How often a repository's bucket is looked at: its rules, and whether all is there that should be. */
const LOOK_AGAIN_MS = 24 * 3600_000

/** For a new repository. @throws ARGUMENT_INVALID if there are somebody else's objects; OBJECT_LOCK_MISSING; and what keeps from writing there */
export async function openEmptyBucket(
  location: S3Location,
  { onWarning, lockDays }: EmptyStoreOptions,
): Promise<S3Store> {
  const store = await connectStore(location)
  try {
    await refuseForeignObjects(store)
    if (lockDays !== undefined) {
      store.lockTerms = lockTerms(lockDays)
      await requireObjectLock(store)
    }
    store.conditionalPut = await probeConditionalPut(store)
    for (const warning of await bucketWarnings(store)) onWarning(warning)
    return store
  } catch (error) {
    await store.close()
    throw error
  }
}

/** A bucket, and nothing else: not yet taken by anybody. */
export interface BareBucket {
  readonly store: S3Store
  /** Takes the repository in it for this process, whatever state it is in. @throws REPOSITORY_LOCKED, STORE_FAILED */
  take(command: string): Promise<void>
  close(): Promise<void>
}

/** A bucket in which a repository may be damaged, or missing. @throws ARGUMENT_INVALID if it keeps no versions; STORE_FAILED */
export async function openBareBucket(location: S3Location): Promise<BareBucket> {
  const store = await connectStore(location)
  let lease: S3Lease | undefined
  const close = async (): Promise<void> => {
    await lease?.release()
    await store.close()
  }
  try {
    await requireVersions(store)
  } catch (error) {
    await close()
    throw error
  }
  const take = async (command: string): Promise<void> => {
    store.conditionalPut = await probeConditionalPut(store)
    lease = await S3Lease.acquire(store, command)
    store.requests.bePatient()
  }
  return { store, take, close }
}

/** Connects to a bucket. Sends nothing yet. @throws ARGUMENT_INVALID */
async function connectStore(location: S3Location, options?: S3Options): Promise<S3Store> {
  const settings = s3SettingsFrom(process.env, options)
  return new S3Store(location, await connectS3(settings), { settings })
}

/** Opens a repository's bucket; see {@link OpenStoreOptions}. */
export async function openBucket(location: S3Location, options: OpenStoreOptions): Promise<OpenedStore> {
  const opened = new Date()
  const bucket = await connectStore(location, options.s3)
  const store = new CachingStore(bucket)
  const lock: OpenedStore['lock'] = async (repository, command) => {
    const { id, objectLock } = await repository
    const folder = await makeCacheFolder(id, placeName(location, options.s3?.endpoint), options.cacheFolder)
    bucket.lockTerms = objectLock && lockTerms(objectLock.days)
    const releasing: (() => Promise<void>)[] = []
    const release = async (): Promise<void> => {
      for (const step of releasing.splice(0).reverse()) await step()
    }
    try {
      const ours = await lockRepository(folder, command)
      releasing.push(() => ours.release())
      const requestLog = new RequestLog(join(folder, 'requests.json'))
      releasing.push(() => requestLog.add(command, opened, bucket.traffic))
      const before = await readCacheState(folder)
      const looksNow = options.lookAtBucket === true || !isRecent(before?.lookedAt)
      // Some services honour conditions only while a bucket keeps no versions, which may change.
      bucket.conditionalPut =
        before === undefined || looksNow ? await probeConditionalPut(bucket) : before.conditionalPut
      const lease = await S3Lease.acquire(bucket, command)
      bucket.requests.bePatient()
      releasing.push(() => lease.release())
      const cache = new ObjectCache(
        join(folder, 'objects'),
        options.cacheBytes ?? cacheBytesFrom(process.env),
      )
      let state: Parameters<typeof writeCacheState>[1] = {
        clean: false,
        claim: lease.name,
        conditionalPut: bucket.conditionalPut,
        lookedAt: before === undefined || looksNow ? new Date().toISOString() : before.lookedAt,
      }
      await writeCacheState(folder, state)
      // Was the last to change something here somebody else, or nobody that we know of?
      const isOurs = before !== undefined && before.claim === lease.previous
      if (!isOurs) await rm(join(folder, 'index'), { recursive: true, force: true })
      // A crash may have brought back a copy of what is gone.
      const gone = isOurs && before.clean && !looksNow ? [] : await store.checkCache(cache)
      if (looksNow) for (const warning of await bucketWarnings(bucket)) options.onWarning?.(warning)
      if (isOurs && gone.length > 0) options.onWarning?.(goneWarning(bucket.location, gone))
      // Whoever was here meanwhile may have brought back what was not extended.
      if (isOurs && before.locks !== undefined) state = { ...state, locks: before.locks }
      const locks =
        bucket.lockTerms &&
        new S3ObjectLocks(bucket, bucket.lockTerms, state.locks, async (known) => {
          state = { ...state, locks: known }
          await writeCacheState(folder, state)
        })
      store.cache = cache
      const listings = new KnownListings(isOurs && before.clean && !looksNow ? before.listings : {})
      store.listings = listings
      releasing.push(async () => {
        store.cache = undefined
        store.listings = undefined
        if (!cache.failed) await writeCacheState(folder, { ...state, clean: true, listings: listings.all() })
      })
      const archive = new S3Archive(bucket)
      return { indexFolder: join(folder, 'index'), requestLog, ...(locks && { locks }), archive, release }
    } catch (error) {
      await release()
      throw error
    }
  }
  return { store, traffic: bucket.traffic, lock }
}

/** Tells a repository from its copies elsewhere, as well as the environment does. */
function placeName({ bucket, prefix }: S3Location, endpoint = endpointFrom(process.env)): string {
  return JSON.stringify([endpoint ?? '', bucket, prefix])
}

/** By a clock that may be wrong: nothing rests on it but when to look again. */
function isRecent(lookedAt: string | undefined): boolean {
  const age = Date.now() - Date.parse(lookedAt ?? '')
  return age >= 0 && age < LOOK_AGAIN_MS
}

function goneWarning(location: string, gone: readonly string[]): string {
  const [first = ''] = gone
  const what = gone.length === 1 ? first : `${gone.length} objects (such as ${first})`
  return `${what} of ${location} went missing, and Everfold did not remove it: look for a lifecycle rule of the bucket, or another program that removes things there. Run everfold verify to see what is lost, and take a backup without --changed of the machines that it names.`
}
