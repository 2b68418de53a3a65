import { MalformedError } from '../binary.js'
import { EverfoldError, isEverfoldError } from '../errors.js'
import { bundlesPrefix, packKey, packsPrefix, parseBundleKey, parsePackKey } from '../store/keys.js'
import { readAgainIfDamaged } from '../store/read-again.js'
import type { StoreReader } from '../store/store.js'
import { BUNDLE_FOOTER_BYTES, type BundleMember, bundleTailBytes, decodeBundleTail } from './bundle-format.js'
import {
  decodePackDirectory,
  decodePackFooter,
  isPresent,
  memoryBytesOf,
  PACK_FOOTER_BYTES,
  type PackDirectory,
} from './pack-format.js'
import { Quarantine } from './quarantine.js'

/** Read with the footer in one request: holds the directory of most packs. */
const TAIL_BYTES = 64 * 1024
/** Likewise of a pack of which the size is known: most directories take a third of a hundredth of their pack. */
const TAIL_SHARE = 1 / 64
const TAIL_BYTES_MIN = 4 * 1024
/** Memory that directories may take, by default. */
const CACHE_BYTES_DEFAULT = 64 * 1024 * 1024

/** Where one generation of a pack lies. */
export interface PackPlace {
  readonly packId: string
  readonly generation: number
  readonly key: string
  readonly base: number
  /** Bytes of the pack. */
  readonly sizeBytes: number
}

/**
 * The directories of packs, read from the store when first asked for and kept in bounded memory. Knows which
 * generation of a pack to read, and what may not be referred to any more.
 */
export class PackCatalog {
  readonly quarantine = new Quarantine()
  readonly #store: StoreReader
  readonly #cacheBytesMax: number
  /** Least recently used first. */
  readonly #cache = new Map<string, PackDirectory>()
  readonly #loading = new Map<string, Promise<PackDirectory>>()
  /** Places other than an object of its own in generation 0. */
  readonly #places = new Map<string, PackPlace>()
  /** Packs that garbage collection is about to condemn or rewrite. */
  readonly #closed = new Set<string>()
  /** Packs that were found by listing, and may not be on stable storage: they are read, and no new point refers to them. */
  readonly #unsettled = new Set<string>()
  /** What bundles hold, by key: they never change. */
  readonly #bundles = new Map<string, Promise<readonly BundleMember[]>>()
  readonly #waiting: (() => void)[] = []
  #cacheBytes = 0

  constructor(store: StoreReader, cacheBytesMax = CACHE_BYTES_DEFAULT) {
    this.#store = store
    this.#cacheBytesMax = cacheBytesMax
  }

  /** May a new point refer to this chunk? Not to what is gone, damaged, or on its way out. */
  mayReference(directory: PackDirectory, chunk: number): boolean {
    return (
      isPresent(directory, chunk) &&
      (this.#places.get(directory.id)?.generation ?? 0) <= directory.generation &&
      !this.#closed.has(directory.id) &&
      !this.#unsettled.has(directory.id) &&
      !this.quarantine.isCondemned(directory.id, directory.generation) &&
      !this.quarantine.isDamaged(directory, chunk)
    )
  }

  /** No new references to a pack from this moment on. */
  closePack(packId: string): void {
    this.#closed.add(packId)
  }

  isClosed(packId: string): boolean {
    return this.#closed.has(packId)
  }

  openPack(packId: string): void {
    this.#closed.delete(packId)
    for (const resume of this.#waiting.splice(0)) resume()
  }

  /** Waits while a pack is closed. */
  async whenOpen(packId: string): Promise<void> {
    while (this.#closed.has(packId)) await new Promise<void>((resolve) => this.#waiting.push(resolve))
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

  /** Likewise; undefined if the store does not have it, or it cannot be read. @throws STORE_FAILED */
  async directoryIfWhole(packId: string): Promise<PackDirectory | undefined> {
    try {
      return await this.directory(packId)
    } catch (error) {
      if (isEverfoldError(error, 'OBJECT_NOT_FOUND', 'DATA_DAMAGED', 'OBJECT_ARCHIVED')) return undefined
      throw error
    }
  }

  /** Takes note of a pack that was just written or read: from now on this generation is the one to read. */
  add(directory: PackDirectory): void {
    this.forget(directory.id)
    const { id, generation, key, base, sizeBytes } = directory
    if (generation > 0) this.#places.set(id, { packId: id, generation, key, base, sizeBytes })
    this.#cache.set(id, directory)
    this.#cacheBytes += memoryBytesOf(directory)
    for (const [oldId, oldest] of this.#cache) {
      if (this.#cacheBytes <= this.#cacheBytesMax || oldId === id) break
      this.#cache.delete(oldId)
      this.#cacheBytes -= memoryBytesOf(oldest)
    }
  }

  /** Drops what is remembered of a pack: the store is asked again. */
  forget(packId: string): void {
    this.#places.delete(packId)
    const found = this.#cache.get(packId)
    if (found === undefined) return
    this.#cache.delete(packId)
    this.#cacheBytes -= memoryBytesOf(found)
  }

  /** The newest generation, of all that the store has, in which these chunks are present. */
  async directoryWith(packId: string, chunks: readonly number[]): Promise<PackDirectory | undefined> {
    // Twice, if need be: a listing may be short for once.
    return (await this.#searchWith(packId, chunks)) ?? (await this.#searchWith(packId, chunks))
  }

  async #searchWith(packId: string, chunks: readonly number[]): Promise<PackDirectory | undefined> {
    let best: PackDirectory | undefined
    for await (const place of this.#list(packId)) {
      if (place.packId !== packId || place.generation < (best?.generation ?? 0)) continue
      const directory = await readPackDirectory(this.#store, place).catch((error: unknown) => {
        if (!isEverfoldError(error, 'OBJECT_NOT_FOUND', 'DATA_DAMAGED')) throw error
        return undefined
      })
      if (directory !== undefined && chunks.every((chunk) => isPresent(directory, chunk))) best = directory
    }
    return best
  }

  /** The highest generation of a pack in the store, or undefined. For whoever is about to write another. */
  async highestGeneration(packId: string): Promise<number | undefined> {
    let highest: number | undefined
    for await (const place of this.#list(packId))
      if (place.packId === packId && place.generation >= (highest ?? 0)) highest = place.generation
    return highest
  }

  /** All generations of a pack whose directories can be read, the one to read first. @throws STORE_FAILED */
  async generations(packId: string): Promise<PackDirectory[]> {
    const found: PackDirectory[] = []
    for (const place of await this.#search(packId)) {
      const directory = await readPackDirectory(this.#store, place).catch((error: unknown) => {
        if (isEverfoldError(error, 'OBJECT_NOT_FOUND', 'DATA_DAMAGED', 'OBJECT_ARCHIVED')) return undefined
        throw error
      })
      if (directory !== undefined) found.push(directory)
    }
    return found
  }

  #list(packId: string): AsyncGenerator<PackPlace> {
    return listPacks(this.#store, packId, undefined, this.#bundles)
  }

  async #load(packId: string): Promise<PackDirectory> {
    await this.quarantine.load(this.#store)
    const last = this.#places.get(packId)
    // On its way out: a newer one may have been written since.
    const isLastOut = last !== undefined && this.quarantine.isCondemned(packId, last.generation)
    const known = isLastOut ? undefined : last
    // Most packs are objects of their own in their first generation: that costs no listing to find out.
    const isFirstOut = this.quarantine.isCondemned(packId, 0) || this.quarantine.hasDamage(packId)
    const likely = known ?? (isFirstOut ? undefined : ownObject(packId, 0))
    /** By object: what is wrong with the directory in it. */
    const damaged = new Map<string, unknown>()
    const attempt = async (place: PackPlace): Promise<PackDirectory | undefined> => {
      if (damaged.has(place.key)) return undefined
      try {
        return await this.#read(place)
      } catch (error) {
        if (isEverfoldError(error, 'DATA_DAMAGED')) damaged.set(place.key, error)
        else if (!isEverfoldError(error, 'OBJECT_NOT_FOUND')) throw error
        return undefined
      }
    }
    const first = likely && (await attempt(likely))
    // Unless it was condemned meanwhile.
    if (first !== undefined && !this.quarantine.isCondemned(packId, first.generation)) return first
    // Twice, if need be: a listing may be short for once.
    for (let listings = 0; listings < 2; listings++)
      // Where one is damaged, another may have been written since with the same chunks.
      for (const place of await this.#search(packId)) {
        const found = await attempt(place)
        if (found !== undefined) return found
      }
    for (const error of damaged.values()) throw error
    throw new EverfoldError(
      'OBJECT_NOT_FOUND',
      `Pack ${packId} is missing from the store. Run: everfold verify`,
      {
        details: { pack: packId },
      },
    )
  }

  async #read(place: PackPlace): Promise<PackDirectory> {
    const directory = await readPackDirectory(this.#store, place)
    this.add(directory)
    return directory
  }

  /**
   * All generations that are listed, the one to read first: the newest that is not condemned. Those that are come last. They may be referred
   * to, whoever left them: they are settled.
   */
  async #search(packId: string): Promise<readonly PackPlace[]> {
    const places: PackPlace[] = []
    const rank = (place: PackPlace): number =>
      place.generation + (this.quarantine.isCondemned(place.packId, place.generation) ? 0 : 2 ** 40)
    for await (const place of this.#list(packId)) {
      if (place.packId === packId) places.push(place)
      // Bundles are read whole anyway: remember what else they hold.
      if (place.key.startsWith(bundlesPrefix) && !this.#cache.has(place.packId)) {
        const other = this.#places.get(place.packId)
        if (other === undefined || rank(place) > rank(other)) this.#places.set(place.packId, place)
      }
    }
    if (places.length > 0) await this.#settle(packId)
    return places.sort((a, b) => rank(b) - rank(a))
  }

  /** A disk that takes no writes, or none any more, keeps nobody from reading. */
  async #settle(packId: string): Promise<void> {
    try {
      await this.#store.settle(packsPrefixOf(packId))
      await this.#store.settle(bundlesPrefix)
      this.#unsettled.delete(packId)
    } catch (error) {
      if (!isEverfoldError(error, 'STORE_FAILED')) throw error
      this.#unsettled.add(packId)
    }
  }
}

/** Objects of packs that begin with the same two digits. */
function packsPrefixOf(packId: string): string {
  return `${packsPrefix}${packId.slice(0, 2)}/`
}

/** A pack that is an object of its own. Its size is not known yet. */
export function ownObject(packId: string, generation: number): PackPlace {
  return { packId, generation, key: packKey(packId, generation), base: 0, sizeBytes: 0 }
}

/** Where a pack lies whose directory was read. */
export function placeOf({ id, generation, key, base, sizeBytes }: PackDirectory): PackPlace {
  return { packId: id, generation, key, base, sizeBytes }
}

/**
 * All places of all packs (or of one), as the store lists them. Bundles that cannot be read are passed over, and told to
 * `damaged`.
 * @param known  What bundles hold, by key: those are not read again; what is read is added, what is gone removed.
 * @throws STORE_FAILED
 */
export async function* listPacks(
  store: StoreReader,
  packId?: string,
  damaged?: (key: string, problem: string) => void,
  known = new Map<string, Promise<readonly BundleMember[]>>(),
): AsyncGenerator<PackPlace> {
  const prefix = packId === undefined ? packsPrefix : packsPrefixOf(packId)
  for await (const object of store.list(prefix)) {
    const parsed = parsePackKey(object.key)
    if (parsed !== undefined) yield { ...parsed, key: object.key, base: 0, sizeBytes: object.sizeBytes }
  }
  const listed = new Set<string>()
  for await (const object of store.list(bundlesPrefix)) {
    listed.add(object.key)
    const reading = known.get(object.key) ?? readBundle(store, object.key)
    known.set(object.key, reading)
    const members = await reading.catch((error: unknown) => {
      known.delete(object.key)
      if (!isEverfoldError(error, 'DATA_DAMAGED', 'OBJECT_NOT_FOUND')) throw error
      damaged?.(object.key, error.message)
      return []
    })
    for (const member of members)
      yield {
        packId: member.packId,
        generation: member.generation,
        key: object.key,
        base: member.offset,
        sizeBytes: member.length,
      }
  }
  for (const key of known.keys()) if (!listed.has(key)) known.delete(key)
}

/** The packs in a bundle. @throws OBJECT_NOT_FOUND, DATA_DAMAGED, STORE_FAILED */
export async function readBundle(store: StoreReader, key: string): Promise<BundleMember[]> {
  const id = parseBundleKey(key)
  try {
    if (id === undefined) throw new MalformedError('it is no object of ours')
    return await readAgainIfDamaged(async () => {
      const { bytes, sizeBytes } = await store.readTail(key, TAIL_BYTES)
      const length = bundleTailBytes(bytes.subarray(-BUNDLE_FOOTER_BYTES), sizeBytes)
      const tail =
        length <= bytes.length
          ? bytes.subarray(bytes.length - length)
          : await store.read(key, sizeBytes - length, length)
      return decodeBundleTail(tail, id)
    })
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error
    throw new EverfoldError(
      'DATA_DAMAGED',
      `Bundle ${key} is damaged: ${error.message}. Run: everfold verify`,
      {
        cause: error,
        details: { key },
      },
    )
  }
}

/**
 * Reads and checks one generation's directory from the store.
 * @throws OBJECT_NOT_FOUND; DATA_DAMAGED; STORE_FAILED
 */
export async function readPackDirectory(store: StoreReader, place: PackPlace): Promise<PackDirectory> {
  const { packId, key } = place
  try {
    return await readAgainIfDamaged(() => readDirectoryOnce(store, place))
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

async function readDirectoryOnce(store: StoreReader, place: PackPlace): Promise<PackDirectory> {
  const { packId, generation, key, base } = place
  const { tail, sizeBytes } = await readPackTail(store, place)
  const footer = decodePackFooter(tail, sizeBytes)
  const inTail = footer.directoryLength + PACK_FOOTER_BYTES <= tail.length
  const end = tail.length - PACK_FOOTER_BYTES
  const bytes = inTail
    ? tail.subarray(end - footer.directoryLength, end)
    : await store.read(key, base + footer.directoryOffset, footer.directoryLength)
  const directory = decodePackDirectory(bytes, footer, sizeBytes, { key, base })
  if (directory.id !== packId || directory.generation !== generation)
    throw new MalformedError('it is another pack than its name says')
  return directory
}

async function readPackTail(
  store: StoreReader,
  place: PackPlace,
): Promise<{ tail: Uint8Array; sizeBytes: number }> {
  if (!place.key.startsWith(bundlesPrefix)) {
    const { bytes, sizeBytes } = await store.readTail(place.key, TAIL_BYTES)
    return { tail: bytes, sizeBytes }
  }
  const likely = Math.max(TAIL_BYTES_MIN, Math.round(place.sizeBytes * TAIL_SHARE))
  const length = Math.min(TAIL_BYTES, place.sizeBytes, likely)
  return {
    tail: await store.read(place.key, place.base + place.sizeBytes - length, length),
    sizeBytes: place.sizeBytes,
  }
}
