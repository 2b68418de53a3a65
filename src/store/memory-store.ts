import { assertKey, assertPrefix } from './keys.js'
import { objectNotFound, objectTooShort, storeFull } from './local-errors.js'
import type { Store, StoredObject } from './store.js'

export interface MemoryStoreOptions {
  /** Bytes of all objects together; what does not fit is refused with STORE_FULL. */
  readonly capacityBytes?: number
  readonly location?: string
}

/** A store in memory, for tests and simulations. Copies what goes in and what comes out. */
export class MemoryStore implements Store {
  readonly location: string
  /** May be changed while the store is in use, to fill it up or to make space. */
  capacityBytes: number
  readonly #objects = new Map<string, Uint8Array<ArrayBuffer>>()
  #usedBytes = 0

  constructor(options: MemoryStoreOptions = {}) {
    this.location = options.location ?? 'memory'
    this.capacityBytes = options.capacityBytes ?? Infinity
  }

  get usedBytes(): number {
    return this.#usedBytes
  }

  async read(key: string, offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = this.#get(key)
    if (offset + length > bytes.length) throw objectTooShort(key, this.location, offset + length)
    return bytes.slice(offset, offset + length)
  }

  async readAll(key: string): Promise<Uint8Array<ArrayBuffer>> {
    return this.#get(key).slice()
  }

  async readTail(
    key: string,
    length: number,
  ): Promise<{ bytes: Uint8Array<ArrayBuffer>; sizeBytes: number }> {
    const bytes = this.#get(key)
    return { bytes: bytes.slice(Math.max(0, bytes.length - length)), sizeBytes: bytes.length }
  }

  async size(key: string): Promise<number | undefined> {
    assertKey(key)
    return this.#objects.get(key)?.length
  }

  async *list(prefix: string): AsyncGenerator<StoredObject, void, undefined> {
    assertPrefix(prefix)
    for (const [key, bytes] of [...this.#objects]) {
      if (key.startsWith(prefix)) yield { key, sizeBytes: bytes.length }
    }
  }

  async settle(prefix: string): Promise<void> {
    // Memory is as stable as it gets.
    assertPrefix(prefix)
  }

  async put(key: string, parts: readonly Uint8Array[]): Promise<'created' | 'exists'> {
    assertKey(key)
    if (this.#objects.has(key)) return 'exists'
    const bytes = join(parts)
    if (this.#usedBytes + bytes.length > this.capacityBytes) throw storeFull(`write ${key}`, this.location)
    this.#objects.set(key, bytes)
    this.#usedBytes += bytes.length
    return 'created'
  }

  async remove(key: string): Promise<void> {
    assertKey(key)
    this.#usedBytes -= this.#objects.get(key)?.length ?? 0
    this.#objects.delete(key)
  }

  async close(): Promise<void> {
    // Nothing is held.
  }

  #get(key: string): Uint8Array<ArrayBuffer> {
    assertKey(key)
    const bytes = this.#objects.get(key)
    if (bytes === undefined) throw objectNotFound(key, this.location)
    return bytes
  }
}

function join(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let offset = 0
  for (const part of parts) {
    joined.set(part, offset)
    offset += part.length
  }
  return joined
}
