import { bytesToHex } from '../checksum.js'
import { CHUNK_SIZE_DEFAULT_BYTES, checkChunkSize } from '../chunker/chunk-size.js'
import { type Environment, realEnvironment } from '../environment.js'
import { EverfoldError, isEverfoldError } from '../errors.js'
import type { ChunkIndex } from '../index/chunk-index.js'
import { KeyedMutex } from '../mutex.js'
import { PackCatalog } from '../pack/catalog.js'
import { ChunkReader } from '../pack/chunk-reader.js'
import type { Crew } from '../pack/crew.js'
import type { Quarantine } from '../pack/quarantine.js'
import { QuickReads } from '../pack/quick-reads.js'
import type { Archive } from '../store/archive.js'
import { repositoryKey } from '../store/keys.js'
import type { ObjectLocks } from '../store/object-lock.js'
import { readAgainIfDamaged } from '../store/read-again.js'
import type { RequestLog } from '../store/request-log.js'
import type { Store } from '../store/store.js'
import { Chains } from './chains.js'
import { decodeConfig, encodeConfig, type RepositoryConfig } from './config.js'
import { JOIN_LIMITS, type JoinLimits } from './disk-runs.js'
import { EARLY_BYTES_MIN } from './early-pack.js'
import { BATCH_BYTES } from './ingest.js'
import { CondemnedDuring, Pins } from './pins.js'
import { SEGMENT_EXTENTS_MAX } from './run-store.js'

/** See docs/design.md for the figures behind these. */
export const FRAME_SIZE_DEFAULT = 512 * 1024
export const PACK_SIZE_DEFAULT = 16 * 1024 * 1024
export const LEVEL_DEFAULT = 3

export interface InitOptions {
  readonly chunkSize?: number
  readonly frameSize?: number
  readonly packSize?: number
  readonly level?: number
  /** In a bucket with Object Lock: see object-lock.ts. */
  readonly objectLockDays?: number
}

/** What a repository is opened with. Whoever passes it in closes it. */
export interface RepositoryParts {
  readonly store: Store
  readonly crew: Crew
  /** Opens the index when it is first needed; rebuilt if it had to be created. */
  readonly openIndex: (quarantine: Quarantine) => Promise<ChunkIndex>
  readonly environment?: Environment
  /** What jobs asked of a store on the network, once the store is taken. */
  readonly requestLog?: () => RequestLog | undefined
  /** Of a repository with Object Lock, once the store is taken. */
  readonly locks?: () => ObjectLocks | undefined
  /** Of a bucket, likewise. */
  readonly archive?: () => Archive | undefined
  /** Plain bytes that are hashed and compressed at a time, those of a pack that are written at once, extents of a segment, and of runs that are joined: fewer in simulations. */
  readonly batchBytes?: number
  readonly earlyBytes?: number
  readonly segmentExtents?: number
  readonly joinLimits?: JoinLimits
}

/** An open repository: what all operations work on. */
export class Repository {
  readonly store: Store
  readonly crew: Crew
  readonly environment: Environment
  readonly config: RepositoryConfig
  readonly batchBytes: number
  readonly earlyBytes: number
  readonly segmentExtents: number
  readonly joinLimits: JoinLimits
  readonly catalog: PackCatalog
  readonly reader: ChunkReader
  /** Shared memory of its own, which takes none until it is used. */
  readonly quickReads: QuickReads
  readonly chains: Chains
  /** What is in use right now: garbage collection leaves it alone. */
  readonly pins = new Pins()
  /** Who was at work when an object was condemned: it stays until they are done. */
  readonly condemnedDuring = new CondemnedDuring(this.pins)
  /** One collection of garbage at a time; one fold of a machine at a time. */
  readonly collecting = new KeyedMutex()
  readonly folding = new KeyedMutex()
  readonly #requestLog: () => RequestLog | undefined
  readonly #locks: () => ObjectLocks | undefined
  readonly #archive: () => Archive | undefined
  readonly #openIndex: (quarantine: Quarantine) => Promise<ChunkIndex>
  #index: Promise<ChunkIndex> | undefined

  private constructor(parts: RepositoryParts, config: RepositoryConfig) {
    this.store = parts.store
    this.crew = parts.crew
    this.environment = parts.environment ?? realEnvironment
    this.config = config
    this.batchBytes = parts.batchBytes ?? BATCH_BYTES
    this.earlyBytes = parts.earlyBytes ?? EARLY_BYTES_MIN
    this.segmentExtents = parts.segmentExtents ?? SEGMENT_EXTENTS_MAX
    this.joinLimits = parts.joinLimits ?? JOIN_LIMITS
    this.catalog = new PackCatalog(parts.store)
    this.reader = new ChunkReader(parts.store, this.catalog, parts.crew)
    this.quickReads = new QuickReads(parts.store, parts.crew)
    this.chains = new Chains(parts.store)
    this.#openIndex = parts.openIndex
    this.#requestLog = parts.requestLog ?? (() => undefined)
    this.#locks = parts.locks ?? (() => undefined)
    this.#archive = parts.archive ?? (() => undefined)
  }

  /**
   * Makes a repository in an empty store.
   * @throws ARGUMENT_INVALID, REPOSITORY_EXISTS, STORE_FULL, STORE_FAILED
   */
  static async init(
    store: Store,
    options: InitOptions,
    environment = realEnvironment,
  ): Promise<RepositoryConfig> {
    const chunkSize = options.chunkSize ?? CHUNK_SIZE_DEFAULT_BYTES
    checkChunkSize(chunkSize)
    const config: RepositoryConfig = {
      everfold: 'repository',
      format: options.objectLockDays === undefined ? 1 : 2,
      id: bytesToHex(environment.random(16)),
      createdAt: new Date(environment.now()).toISOString(),
      chunkSize,
      frameSize: Math.max(chunkSize, options.frameSize ?? FRAME_SIZE_DEFAULT),
      packSize: options.packSize ?? PACK_SIZE_DEFAULT,
      compression: { codec: 'zstd', level: options.level ?? LEVEL_DEFAULT },
      ...(options.objectLockDays !== undefined && { objectLock: { days: options.objectLockDays } }),
    }
    decodeConfig(encodeConfig(config), store.location)
    if ((await store.put(repositoryKey, [encodeConfig(config)])) === 'exists')
      throw new EverfoldError('REPOSITORY_EXISTS', `${store.location} is a repository already.`)
    return config
  }

  /** @throws REPOSITORY_NOT_FOUND, REPOSITORY_DAMAGED, FORMAT_TOO_NEW, STORE_FAILED */
  static async open(parts: RepositoryParts): Promise<Repository> {
    const { location } = parts.store
    const read = async (): Promise<RepositoryConfig> =>
      decodeConfig(await parts.store.readAll(repositoryKey), location)
    try {
      return new Repository(parts, await readAgainIfDamaged(read))
    } catch (error) {
      if (!isEverfoldError(error, 'OBJECT_NOT_FOUND')) throw error
      throw new EverfoldError(
        'REPOSITORY_NOT_FOUND',
        `${location} is no repository. Make one with: everfold init ${location}`,
        {
          cause: error,
        },
      )
    }
  }

  /** What jobs asked of a store on the network; undefined for one that is not. */
  get requestLog(): RequestLog | undefined {
    return this.#requestLog()
  }

  /** Undefined for a repository without Object Lock. */
  get locks(): ObjectLocks | undefined {
    return this.#locks()
  }

  /** Undefined for a folder: nothing in it is ever archived. */
  get archive(): Archive | undefined {
    return this.#archive()
  }

  /** The index, opened (and rebuilt, if need be) when first asked for. @throws STORE_FULL, STORE_FAILED */
  index(): Promise<ChunkIndex> {
    if (this.#index === undefined) {
      const opening = this.#openIndex(this.catalog.quarantine)
      this.#index = opening
      // One that could not be opened, or rebuilt, is tried again by whoever asks next.
      opening.catch(() => {
        if (this.#index === opening) this.#index = undefined
      })
    }
    return this.#index
  }

  /** Closes the index if it was opened. */
  async close(): Promise<void> {
    const index = this.#index
    this.#index = undefined
    // One that could not be opened has told so already.
    await index?.then((open) => open.close()).catch(() => undefined)
  }
}
