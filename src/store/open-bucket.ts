import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { cacheBytesFrom, makeCacheFolder, readCacheState, writeCacheState } from './cache-folder.js'
import { CachingStore } from './caching-store.js'
import { lockRepository } from './lock.js'
import { ObjectCache } from './object-cache.js'
import type { OpenedStore, OpenStoreOptions } from './open-store.js'
import { bucketWarnings, probeConditionalPut, refuseForeignObjects } from './s3-check.js'
import { connectS3 } from './s3-client.js'
import { S3Lease } from './s3-lease.js'
import type { S3Location } from './s3-location.js'
import { s3SettingsFrom } from './s3-settings.js'
import { S3Store } from './s3-store.js'

/** For a new repository. @throws ARGUMENT_INVALID if there are somebody else's objects; and what keeps from writing there */
export async function openEmptyBucket(
  location: S3Location,
  warn: (warning: string) => void,
): Promise<S3Store> {
  const store = await connectStore(location)
  try {
    await refuseForeignObjects(store)
    store.conditionalPut = await probeConditionalPut(store)
    for (const warning of await bucketWarnings(store)) warn(warning)
    return store
  } catch (error) {
    await store.close()
    throw error
  }
}

/** Connects to a bucket. Sends nothing yet. @throws ARGUMENT_INVALID */
async function connectStore(location: S3Location): Promise<S3Store> {
  const settings = s3SettingsFrom(process.env)
  return new S3Store(location, await connectS3(settings), { settings })
}

/** Opens a repository's bucket; see {@link OpenStoreOptions}. */
export async function openBucket(location: S3Location, options: OpenStoreOptions): Promise<OpenedStore> {
  const bucket = await connectStore(location)
  const store = new CachingStore(bucket)
  const lock: OpenedStore['lock'] = async (repositoryId, command) => {
    const folder = await makeCacheFolder(repositoryId, options.cacheFolder)
    const releasing: (() => Promise<void>)[] = []
    const release = async (): Promise<void> => {
      for (const step of releasing.splice(0).reverse()) await step()
    }
    try {
      const ours = await lockRepository(folder, command)
      releasing.push(() => ours.release())
      const before = await readCacheState(folder)
      const known = options.onWarning === undefined ? before?.conditionalPut : undefined
      bucket.conditionalPut = known ?? (await probeConditionalPut(bucket))
      if (options.onWarning !== undefined)
        for (const warning of await bucketWarnings(bucket)) options.onWarning(warning)
      const { conditionalPut } = bucket
      const lease = await S3Lease.acquire(bucket, command)
      bucket.requests.bePatient()
      releasing.push(() => lease.release())
      const isOurs = before !== undefined && before.claim === lease.previousKey
      const cache = new ObjectCache(join(folder, 'objects'), cacheBytesFrom(process.env))
      await writeCacheState(folder, { claim: lease.key, clean: false, conditionalPut })
      // Another process, or none that we know of, was the last to change something; or a crash may have brought back what was gone.
      if (!isOurs || !before.clean) await store.checkCache(cache)
      if (!isOurs) await rm(join(folder, 'index'), { recursive: true, force: true })
      store.cache = cache
      releasing.push(async () => {
        store.cache = undefined
        if (!cache.failed) await writeCacheState(folder, { claim: lease.key, clean: true, conditionalPut })
      })
      return { indexFolder: join(folder, 'index'), release }
    } catch (error) {
      await release()
      throw error
    }
  }
  return { store, traffic: bucket.traffic, lock }
}
