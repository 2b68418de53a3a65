import type { Store, StoredObject } from '../src/store/store.js'

/** Counts what is read of a store's objects, beside what it does. */
export class CountingStore implements Store {
  readonly #inner: Store
  reads = 0
  readBytes = 0

  constructor(inner: Store) {
    this.#inner = inner
  }

  get location(): string {
    return this.#inner.location
  }

  async read(key: string, offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    return this.#count(await this.#inner.read(key, offset, length))
  }

  async readAll(key: string): Promise<Uint8Array<ArrayBuffer>> {
    return this.#count(await this.#inner.readAll(key))
  }

  async readTail(
    key: string,
    length: number,
  ): Promise<{ bytes: Uint8Array<ArrayBuffer>; sizeBytes: number }> {
    const tail = await this.#inner.readTail(key, length)
    this.#count(tail.bytes)
    return tail
  }

  size(key: string): Promise<number | undefined> {
    return this.#inner.size(key)
  }

  list(prefix: string): AsyncIterable<StoredObject> {
    return this.#inner.list(prefix)
  }

  settle(prefix: string): Promise<void> {
    return this.#inner.settle(prefix)
  }

  put(key: string, parts: readonly Uint8Array[]): Promise<'created' | 'exists'> {
    return this.#inner.put(key, parts)
  }

  remove(key: string): Promise<void> {
    return this.#inner.remove(key)
  }

  close(): Promise<void> {
    return this.#inner.close()
  }

  #count<T extends Uint8Array>(bytes: T): T {
    this.reads += 1
    this.readBytes += bytes.length
    return bytes
  }
}
