import { type ChunkIndex, HASH_BYTES, type LookupResult, type PackHashes } from './chunk-index.js'
import { IndexUnusable } from './index-unusable.js'

/**
 * An index that may turn out to be damaged in the middle of a backup: from then on it knows nothing and learns nothing,
 * so that the backup goes on (storing again what it cannot find), and the index is rebuilt when it is opened next.
 */
export class ExpendableIndex implements ChunkIndex {
  readonly #inner: ChunkIndex
  readonly #destroy: () => Promise<void>
  readonly #closed: () => Promise<void>
  #broken = false

  /** After the inner index was closed, `destroy` removes it if it turned out damaged; else `closed` is called. */
  constructor(inner: ChunkIndex, destroy: () => Promise<void>, closed: () => Promise<void>) {
    this.#inner = inner
    this.#destroy = destroy
    this.#closed = closed
  }

  async lookup(hashes: Uint8Array): Promise<LookupResult> {
    const count = hashes.length / HASH_BYTES
    const nothing: LookupResult = {
      packs: [],
      packOf: new Int32Array(count).fill(-1),
      position: new Uint32Array(count),
    }
    return this.#try(() => this.#inner.lookup(hashes), nothing)
  }

  async addPack(packId: string, hashes: Uint8Array, except?: Uint8Array): Promise<void> {
    await this.#try(() => this.#inner.addPack(packId, hashes, except), undefined)
  }

  /** Not expendable: what is about to be removed from the store must be gone from the index. @throws IndexUnusable */
  removeChunks(packId: string, hashes: Uint8Array, which?: Uint8Array): Promise<void> {
    return this.#inner.removeChunks(packId, hashes, which)
  }

  /** Not expendable, either. @throws IndexUnusable */
  removePacks(packs: readonly PackHashes[]): Promise<void> {
    return this.#broken ? Promise.resolve() : this.#inner.removePacks(packs)
  }

  forgetPack(packId: string): Promise<void> {
    return this.#inner.forgetPack(packId)
  }

  hasPack(packId: string): Promise<boolean> {
    return this.#try(() => this.#inner.hasPack(packId), false)
  }

  packIds(): AsyncIterable<string> {
    return this.#inner.packIds()
  }

  getNote(name: string): Promise<string | undefined> {
    return this.#try(() => this.#inner.getNote(name), undefined)
  }

  async putNote(name: string, value: string | undefined): Promise<void> {
    await this.#try(() => this.#inner.putNote(name, value), undefined)
  }

  async clear(): Promise<void> {
    await this.#inner.clear()
    this.#broken = false
  }

  sizes(): Promise<{ readonly diskBytes: number }> {
    return this.#inner.sizes()
  }

  async close(): Promise<void> {
    await this.#inner.close()
    if (this.#broken) await this.#destroy()
    // Only a hint for the next start: on a full disk it is left out.
    else await this.#closed().catch(() => undefined)
  }

  async #try<T>(ask: () => Promise<T>, otherwise: T): Promise<T> {
    if (this.#broken) return otherwise
    try {
      return await ask()
    } catch (error) {
      if (!(error instanceof IndexUnusable)) throw error
      this.#broken = true
      return otherwise
    }
  }
}
