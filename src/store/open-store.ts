import { join } from 'node:path'
import { LocalStore } from './local-store.js'
import { lockRepository } from './lock.js'
import { openBucket, openEmptyBucket } from './open-bucket.js'
import type { RequestLog } from './request-log.js'
import { parseS3Location } from './s3-location.js'
import type { Store } from './store.js'
import type { Traffic } from './traffic.js'

/** A store, and how a repository in it is taken for this process alone. */
export interface OpenedStore {
  readonly store: Store
  /** What was asked of it, where that is counted. */
  readonly traffic?: Traffic
  /**
   * @param repositoryId  names the folder for what is kept on a local disk of a repository in a bucket
   * @param command  what this process does, shown to whoever finds the repository taken
   * @throws REPOSITORY_LOCKED, STORE_FAILED
   */
  lock(repositoryId: string, command: string): Promise<HeldStore>
}

export interface HeldStore {
  /** On a local disk. An index that is in it is as the last holder of the repository left it. */
  readonly indexFolder: string
  /** What jobs asked of a store on the network; undefined for a folder. */
  readonly requestLog?: RequestLog
  release(): Promise<void>
}

export interface OpenStoreOptions {
  /** Of a repository in a bucket: where its index and copies of small objects go. */
  readonly cacheFolder?: string
  /** Look at what the bucket does on its own account, even if that was done within the last day. */
  readonly lookAtBucket?: boolean
  /** Told what is not wrong with the store, and may go wrong one day. */
  readonly onWarning?: (warning: string) => void
}

/** Opens the store at a location: a folder, or `s3://bucket/prefix`. @throws ARGUMENT_INVALID, REPOSITORY_NOT_FOUND, STORE_FAILED */
export async function openStore(location: string, options: OpenStoreOptions = {}): Promise<OpenedStore> {
  const bucket = parseS3Location(location)
  if (bucket !== undefined) return openBucket(bucket, options)
  const store = await LocalStore.open(location)
  return {
    store,
    lock: async (_id, command) => {
      const lock = await lockRepository(store.location, command)
      return { indexFolder: join(store.location, 'index'), release: () => lock.release() }
    },
  }
}

/**
 * The store for a new repository: makes the folder if it is missing, but no bucket.
 * @throws ARGUMENT_INVALID if a bucket holds somebody else's objects; and as {@link openStore}
 */
export async function openEmptyStore(location: string, warn: (warning: string) => void): Promise<Store> {
  const bucket = parseS3Location(location)
  return bucket === undefined ? LocalStore.open(location, { create: true }) : openEmptyBucket(bucket, warn)
}
