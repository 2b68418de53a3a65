import { MalformedError } from '../binary.js'
import { EverfoldError, isEverfoldError } from '../errors.js'
import { packKey, packsPrefix, parsePackKey } from '../store/keys.js'
import type { StoreReader } from '../store/store.js'
import {
  decodePackDirectory,
  decodePackFooter,
  PACK_FOOTER_BYTES,
  type PackDirectory,
} from './pack-format.js'

/** Read with the footer in one request: holds the directory of most packs. */
const TAIL_BYTES = 64 * 1024
/** What directories kept in memory may take, by default. */
const CACHE_BYTES_DEFAULT = 64 * 1024 * 1024

/**
 * The directories of packs, read from the store when first asked for and kept in bounded memory. Knows which
 * generation of a pack to read.
 */
export class PackCatalog {
  readonly #store: StoreReader
  readonly #cacheBytesMax: number
  /** Least recently used first. */
  readonly #cache = new Map<string, PackDirectory>()
  readonly #loading = new Map<string, Promise<PackDirectory>>()
  readonly #generation = new Map<string, number>()
  #cacheBytes = 0

  constructor(store: StoreReader, cacheBytesMax = CACHE_BYTES_DEFAULT) {
    this.#store = store
    this.#cacheBytesMax = cacheBytesMax
  }

  /** A directory that is in memory, or undefined. */
  cached(packId: string): PackDirectory | undefined {
    const found = this.#cache.get(packId)
    if (found !== undefined) {
      this.#cache.delete(packId)
      this.#cache.set(packId, found)
    }
    return found
  }

  /**
   * The directory of a pack's newest generation.
   * @throws OBJECT_NOT_FOUND no generation is in the store; DATA_DAMAGED it cannot be read; STORE_FAILED
   */
  async directory(packId: string): Promise<PackDirectory> {
    const found = this.cached(packId)
    if (found !== undefined) return found
    let loading = this.#loading.get(packId)
    if (loading === undefined) {
      loading = this.#load(packId).finally(() => this.#loading.delete(packId))
      this.#loading.set(packId, loading)
    }
    return loading
  }

  /** Takes note of a pack that was just written or read. */
  add(directory: PackDirectory): void {
    this.forget(directory.id)
    if (directory.generation > 0) this.#generation.set(directory.id, directory.generation)
    this.#cache.set(directory.id, directory)
    this.#cacheBytes += bytesOf(directory)
    for (const [id, oldest] of this.#cache) {
      if (this.#cacheBytes <= this.#cacheBytesMax || id === directory.id) break
      this.#cache.delete(id)
      this.#cacheBytes -= bytesOf(oldest)
    }
  }

  /** Drops what is remembered of a pack: the store is asked again. */
  forget(packId: string): void {
    const found = this.#cache.get(packId)
    if (found === undefined) return
    this.#cache.delete(packId)
    this.#cacheBytes -= bytesOf(found)
  }

  async #load(packId: string): Promise<PackDirectory> {
    const expected = this.#generation.get(packId) ?? 0
    try {
      return await this.#read(packId, expected)
    } catch (error) {
      if (!isEverfoldError(error, 'OBJECT_NOT_FOUND')) throw error
      const generation = await this.#newestGeneration(packId)
      if (generation === undefined) throw error
      return this.#read(packId, generation)
    }
  }

  async #read(packId: string, generation: number): Promise<PackDirectory> {
    const directory = await readPackDirectory(this.#store, packId, generation)
    this.add(directory)
    return directory
  }

  async #newestGeneration(packId: string): Promise<number | undefined> {
    let newest: number | undefined
    for await (const object of this.#store.list(`${packsPrefix}${packId.slice(0, 2)}/`)) {
      const parsed = parsePackKey(object.key)
      if (parsed?.packId === packId && parsed.generation >= (newest ?? 0)) newest = parsed.generation
    }
    return newest
  }
}

/**
 * Reads and checks one generation's directory from the store.
 * @throws OBJECT_NOT_FOUND; DATA_DAMAGED; STORE_FAILED
 */
export async function readPackDirectory(
  store: StoreReader,
  packId: string,
  generation: number,
): Promise<PackDirectory> {
  const key = packKey(packId, generation)
  const { bytes: tail, sizeBytes } = await store.readTail(key, TAIL_BYTES)
  try {
    const footer = decodePackFooter(tail, sizeBytes)
    const inTail = footer.directoryLength + PACK_FOOTER_BYTES <= tail.length
    const end = tail.length - PACK_FOOTER_BYTES
    const bytes = inTail
      ? tail.subarray(end - footer.directoryLength, end)
      : await store.read(key, footer.directoryOffset, footer.directoryLength)
    const directory = decodePackDirectory(bytes, footer, sizeBytes)
    if (directory.id !== packId || directory.generation !== generation)
      throw new MalformedError('it is another pack than its name says')
    return directory
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error
    throw new EverfoldError(
      'DATA_DAMAGED',
      `Pack ${packId} is damaged: ${error.message}. Run: everfold verify`,
      {
        cause: error,
        details: { pack: packId, key },
      },
    )
  }
}

function bytesOf(directory: PackDirectory): number {
  return directory.chunkCount * 48 + directory.frameCount * 32 + 512
}
