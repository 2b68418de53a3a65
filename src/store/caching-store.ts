import { createHash } from 'node:crypto'
import { bundlesPrefix, packsPrefix, repositoryKey } from './keys.js'
import type { KnownListings } from './known-listings.js'
import type { CachedObject, ObjectCache } from './object-cache.js'
import { gather } from './s3-body.js'
import type { Store, StoredObject } from './store.js'
import { isUncached } from './uncached.js'

type Bytes = Uint8Array<ArrayBuffer>

/** With what the service calls the content (an ETag): another content has another one. */
export type Tagged<T> = T & { readonly tag?: string | undefined }

/** A store whose service tells contents apart. */
export interface TaggedStore extends Store {
  readAllTagged(key: string): Promise<Tagged<{ readonly bytes: Bytes }>>
  readTailTagged(
    key: string,
    length: number,
  ): Promise<Tagged<{ readonly bytes: Bytes; readonly sizeBytes: number }>>
  putTagged(
    key: string,
    parts: readonly Uint8Array[],
  ): Promise<Tagged<{ readonly answer: 'created' | 'exists' }>>
  /** Also what is no object of the store. */
  listTagged(prefix: string): AsyncIterable<Tagged<StoredObject>>
}

/** The end of a pack that is kept: its directory, in most cases. */
const TAIL_BYTES_MAX = 64 * 1024
/** Objects that a listing left out are asked for by name, up to so many. */
const GONE_LOOKED_FOR_MAX = 20
/** Larger ones are kept nowhere but in the bucket. */
const OBJECT_BYTES_MAX = 16 * 1024 * 1024

/**
 * Keeps copies of runs, chain states and other small objects, and of the ends of packs, where their directories are. What exists
 * is never answered from here: no size, and no listing but those of KnownListings; nor is whoever does not like what it got and reads again (read-again.ts),
 * or wants to see what the store itself holds (uncached.ts). Without a cache it passes everything on.
 */
export class CachingStore implements Store {
  /** Given once the repository is ours alone: before, another process might be removing things. */
  cache: ObjectCache | undefined
  /** Given with it. */
  listings: KnownListings | undefined
  readonly inner: TaggedStore

  constructor(inner: TaggedStore) {
    this.inner = inner
  }

  get location(): string {
    return this.inner.location
  }

  read(key: string, offset: number, length: number): Promise<Bytes> {
    return this.inner.read(key, offset, length)
  }

  async readAll(key: string): Promise<Bytes> {
    if (!isKeptWhole(key)) return this.inner.readAll(key)
    const kept = await this.#find(key)
    if (kept !== undefined && kept.bytes.length === kept.sizeBytes) return kept.bytes
    const { bytes, tag } = await this.inner.readAllTagged(key)
    // Only what certainly came as it is there is worth keeping.
    if (tag !== undefined && bytes.length <= OBJECT_BYTES_MAX && hasTag(bytes, tag))
      await this.cache?.put({ key, bytes, sizeBytes: bytes.length, tag })
    return bytes
  }

  async readTail(key: string, length: number): Promise<{ bytes: Bytes; sizeBytes: number }> {
    if (!hasKeptTail(key) || length > TAIL_BYTES_MAX) return this.inner.readTail(key, length)
    const kept = await this.#find(key)
    if (kept !== undefined && kept.bytes.length >= Math.min(length, kept.sizeBytes)) {
      const { bytes, sizeBytes } = kept
      return { bytes: bytes.slice(Math.max(0, bytes.length - length)), sizeBytes }
    }
    const { bytes, sizeBytes, tag } = await this.inner.readTailTagged(key, length)
    if (tag !== undefined) await this.cache?.put({ key, bytes, sizeBytes, tag })
    return { bytes, sizeBytes }
  }

  size(key: string): Promise<number | undefined> {
    return this.inner.size(key)
  }

  async *list(prefix: string): AsyncGenerator<StoredObject, void, undefined> {
    const known = isUncached() ? undefined : this.listings?.get(prefix)
    if (known !== undefined) yield* known
    else if (this.listings === undefined) yield* this.inner.list(prefix)
    else yield* this.listings.keep(prefix, this.inner.list(prefix))
  }

  settle(prefix: string): Promise<void> {
    return this.inner.settle(prefix)
  }

  async put(key: string, parts: readonly Uint8Array[]): Promise<'created' | 'exists'> {
    const sizeBytes = parts.reduce((sum, part) => sum + part.length, 0)
    const { answer, tag } = await this.#change(key, () => this.inner.putTagged(key, parts))
    if (answer === 'created') this.listings?.added(key, sizeBytes)
    // Somebody else's, which we did not know of.
    else this.listings?.forget(key)
    if (answer === 'exists' || tag === undefined || this.cache === undefined) return answer
    if (hasKeptTail(key)) {
      const bytes = Uint8Array.from(gather(parts, Math.max(0, sizeBytes - TAIL_BYTES_MAX), sizeBytes))
      await this.cache.put({ key, bytes, sizeBytes, tag })
    } else if (isKeptWhole(key) && sizeBytes <= OBJECT_BYTES_MAX)
      await this.cache.put({ key, bytes: Uint8Array.from(gather(parts, 0, sizeBytes)), sizeBytes, tag })
    return answer
  }

  async remove(key: string): Promise<void> {
    // First here: a copy of what is gone must not outlive it.
    await this.cache?.drop(key)
    await this.#change(key, () => this.inner.remove(key))
    this.listings?.removed(key)
    await this.cache?.drop(key)
  }

  async #change<T>(key: string, change: () => Promise<T>): Promise<T> {
    this.listings?.begin(key)
    try {
      return await change()
    } catch (error) {
      this.listings?.forget(key)
      throw error
    } finally {
      this.listings?.begin(key)
    }
  }

  close(): Promise<void> {
    return this.inner.close()
  }

  /**
   * Drops copies of what is no longer in the bucket, or is something else there: one listing of all of it.
   * @returns keys of copies whose objects are gone
   * @throws STORE_FAILED
   */
  async checkCache(cache: ObjectCache): Promise<string[]> {
    const unseen = await cache.tags()
    if (unseen.size === 0) return []
    const changed: string[] = []
    for await (const { key, tag } of this.inner.listTagged('')) {
      const ours = unseen.get(key)
      if (ours !== undefined && ours !== tag) changed.push(key)
      unseen.delete(key)
    }
    const gone: string[] = []
    // A listing may be short for once.
    for (const key of unseen.keys())
      if (gone.length >= GONE_LOOKED_FOR_MAX || (await this.inner.size(key)) === undefined) gone.push(key)
    for (const key of [...changed, ...unseen.keys()]) await cache.drop(key)
    return gone
  }

  async #find(key: string): Promise<CachedObject | undefined> {
    return this.cache === undefined || isUncached() ? undefined : this.cache.get(key)
  }
}

function hasKeptTail(key: string): boolean {
  return key.startsWith(packsPrefix) || key.startsWith(bundlesPrefix)
}

/** Not the repository's own file: by that one we see that the repository is there. */
function isKeptWhole(key: string): boolean {
  return !hasKeptTail(key) && key !== repositoryKey
}

/** Most services give objects the MD5 of their content as ETag; encrypted ones may have another. */
function hasTag(bytes: Uint8Array, tag: string): boolean {
  return createHash('md5').update(bytes).digest('hex') === tag.replaceAll('"', '').toLowerCase()
}
