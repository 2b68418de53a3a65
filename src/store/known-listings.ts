import * as z from 'zod'
import { chainsPrefix, machinesPrefix, quarantinePrefix, settingsPrefix } from './keys.js'
import type { StoredObject } from './store.js'

/** Longer listings are asked for each time. */
const OBJECTS_MAX = 5000

/** By prefix: keys and sizes. */
export const savedListings = z.record(z.string(), z.array(z.tuple([z.string(), z.number().int().min(0)])))

export type SavedListings = z.infer<typeof savedListings>

/**
 * Short listings of numbered objects as this process, or the one before it on this machine, left them. Nobody else changes a repository
 * that is ours, and all that a listing of numbered objects is used for is where to begin to ask the bucket for the next.
 */
export class KnownListings {
  readonly #listings = new Map<string, Map<string, number>>()
  /** Counts changes below a prefix that may be kept: a listing during which there was one is not. */
  readonly #changes = new Map<string, number>()

  /** @param saved  by a process that ended in order, and after which nobody changed anything */
  constructor(saved: SavedListings = {}) {
    for (const [prefix, objects] of Object.entries(saved)) this.#listings.set(prefix, new Map(objects))
  }

  get(prefix: string): StoredObject[] | undefined {
    const found = this.#listings.get(prefix)
    return found && Array.from(found, ([key, sizeBytes]) => ({ key, sizeBytes }))
  }

  /** Passes a listing on, and keeps it when it came to its end. */
  async *keep(
    prefix: string,
    listing: AsyncIterable<StoredObject>,
  ): AsyncGenerator<StoredObject, void, undefined> {
    const before = this.#changes.get(prefix)
    const seen = new Map<string, number>()
    for await (const object of listing) {
      seen.set(object.key, object.sizeBytes)
      yield object
    }
    if (!isShort(prefix) || seen.size > OBJECTS_MAX || this.#changes.get(prefix) !== before) return
    // Where nothing tells where to begin, a listing that was empty for once is better asked for again.
    if (seen.size > 0 || countsFromZero(prefix)) this.#listings.set(prefix, seen)
  }

  /** To be called before something is added or removed: until it is done, what there is is not known. */
  begin(key: string): void {
    const prefix = prefixOf(key)
    if (!isShort(prefix)) return
    this.#changes.set(prefix, (this.#changes.get(prefix) ?? 0) + 1)
  }

  added(key: string, sizeBytes: number): void {
    this.#listings.get(prefixOf(key))?.set(key, sizeBytes)
  }

  removed(key: string): void {
    this.#listings.get(prefixOf(key))?.delete(key)
  }

  /** What a change that failed left behind is not known. */
  forget(key: string): void {
    this.#listings.delete(prefixOf(key))
  }

  /** For the next process. */
  all(): SavedListings {
    return Object.fromEntries(Array.from(this.#listings, ([prefix, objects]) => [prefix, [...objects]]))
  }
}

function prefixOf(key: string): string {
  return key.slice(0, key.lastIndexOf('/') + 1)
}

/** Is the first number asked for even if nothing is listed? */
function countsFromZero(prefix: string): boolean {
  return prefix === settingsPrefix || prefix === machinesPrefix
}

/** Of one machine's chain states, or of other numbered objects: not of packs or runs, of which there are many. */
function isShort(prefix: string): boolean {
  if ([settingsPrefix, machinesPrefix, quarantinePrefix].includes(prefix)) return true
  return prefix.startsWith(chainsPrefix()) && prefix !== chainsPrefix()
}
