import { join } from 'node:path'
import { realEnvironment } from '../environment.js'
import { EverfoldError } from '../errors.js'
import type { Archive } from './archive.js'
import { LocalStore } from './local-store.js'
import { lockRepository } from './lock.js'
import type { ObjectLocks } from './object-lock.js'
import type { RequestLog } from './request-log.js'
import { parseS3Location } from './s3-location.js'
import type { S3Options } from './s3-settings.js'
import type { Store } from './store.js'
import type { Traffic } from './traffic.js'

/** A store, and how a repository in it is taken for this process alone. */
export interface OpenedStore {
  readonly store: Store
  /** What was asked of it, where that is counted. */
  readonly traffic?: Traffic
  /**
   * @param repository  what is in the store, which may be being found out yet
   * @param command  what this process does, shown to whoever finds the repository taken
   * @throws what `repository` throws; REPOSITORY_LOCKED, STORE_FAILED
   */
  lock(repository: Promise<KnownRepository>, command: string): Promise<HeldStore>
}

/** What a repository says of itself. */
export interface KnownRepository {
  /** Names the folder for what is kept on a local disk of a repository in a bucket. */
  readonly id: string
  readonly objectLock?: { readonly days: number } | undefined
}

export interface HeldStore {
  /** On a local disk. An index that is in it is as the last holder of the repository left it. */
  readonly indexFolder: string
  /** What jobs asked of a store on the network; undefined for a folder. */
  readonly requestLog?: RequestLog
  /** Of a repository with Object Lock. */
  readonly locks?: ObjectLocks
  /** Of a bucket. */
  readonly archive?: Archive
  release(): Promise<void>
}

export interface OpenStoreOptions {
  /** Of a repository in a bucket: where its index and copies of small objects go. */
  readonly cacheFolder?: string
  /** What copies of objects may take there. */
  readonly cacheBytes?: number | undefined
  /** How the bucket is reached. */
  readonly s3?: S3Options | undefined
  /** Look at what the bucket does on its own account, even if that was done within the last day. */
  readonly lookAtBucket?: boolean
  /** Told what is not wrong with the store, and may go wrong one day. */
  readonly onWarning?: (warning: string) => void
}

export interface EmptyStoreOptions {
  readonly onWarning: (warning: string) => void
  /** See object-lock.ts. */
  readonly lockDays?: number | undefined
}

/** Opens the store at a location: a folder, or `s3://bucket/prefix`. @throws ARGUMENT_INVALID, REPOSITORY_NOT_FOUND, STORE_FAILED */
export async function openStore(location: string, options: OpenStoreOptions = {}): Promise<OpenedStore> {
  const bucket = parseS3Location(location)
  // What a folder does not need is not loaded: it takes time.
  if (bucket !== undefined) return (await import('./open-bucket.js')).openBucket(bucket, options)
  const store = await LocalStore.open(location)
  return {
    store,
    lock: async (repository, command) => {
      const lock = await lockRepository(store.location, command, realEnvironment, repository)
      // Nobody writes yet. What cannot be removed, as on a disk that is only read, keeps nobody from reading.
      await store.removeLeftovers().catch(() => undefined)
      return { indexFolder: join(store.location, 'index'), release: () => lock.release() }
    },
  }
}

/**
 * The store for a new repository: makes the folder if it is missing, but no bucket.
 * @throws ARGUMENT_INVALID if a bucket holds somebody else's objects, or a folder is to be locked; OBJECT_LOCK_MISSING; and as {@link openStore}
 */
export async function openEmptyStore(location: string, options: EmptyStoreOptions): Promise<Store> {
  const bucket = parseS3Location(location)
  if (bucket !== undefined) return (await import('./open-bucket.js')).openEmptyBucket(bucket, options)
  if (options.lockDays === undefined) return LocalStore.open(location, { create: true })
  throw new EverfoldError(
    'ARGUMENT_INVALID',
    'Only what is in a bucket can be locked: --object-lock is for s3://BUCKET or s3://BUCKET/PREFIX.',
  )
}
