import { skipBytes } from '../parts.js'
import type { BegunObject, StoreWriter } from '../store/store.js'

/** So much is written at once; less waits for more, or for the rest of the pack. */
export const EARLY_BYTES_MIN = 1024 * 1024

/**
 * Writes the bytes of a pack as they come, where the store can: so that little is left to be written when the pack is complete, which
 * everything else waits for. What goes wrong is no failure: the pack is written at once then, and that says what is wrong.
 */
export class EarlyPack {
  readonly #store: StoreWriter
  readonly #bytesMin: number
  #waiting: Uint8Array[] = []
  #waitingBytes = 0
  #takenBytes = 0
  /** Undefined: nothing was written early, or not all of it. */
  #object: Promise<BegunObject | undefined> = Promise.resolve(undefined)
  #hasBegun = false

  /** @param bytesMin  written at once */
  constructor(store: StoreWriter, bytesMin = EARLY_BYTES_MIN) {
    this.#store = store
    this.#bytesMin = bytesMin
  }

  /** Takes the next bytes of the pack. They must not be changed until the pack is written. */
  append(bytes: Uint8Array): void {
    if (this.#store.begin === undefined) return
    this.#waiting.push(bytes)
    this.#waitingBytes += bytes.length
    if (this.#waitingBytes < this.#bytesMin) return
    const parts = this.#waiting
    this.#takenBytes += this.#waitingBytes
    this.#waiting = []
    this.#waitingBytes = 0
    const before = this.#hasBegun ? this.#object : this.#begin()
    this.#hasBegun = true
    this.#object = before.then((object) => object && appendTo(object, parts))
  }

  /**
   * As the store's put, of a pack that begins with what was taken here.
   * @returns undefined if it could not, or not in this way. Once; nothing is left of it then
   */
  async put(key: string, parts: readonly Uint8Array[]): Promise<'created' | 'exists' | undefined> {
    const object = await this.#take()
    return object?.put(key, skipBytes(parts, this.#takenBytes))
  }

  /** In place of {@link put}. */
  async discard(): Promise<void> {
    await (await this.#take())?.discard()
  }

  async #begin(): Promise<BegunObject | undefined> {
    return this.#store.begin?.().catch(() => undefined)
  }

  #take(): Promise<BegunObject | undefined> {
    const object = this.#object
    this.#object = Promise.resolve(undefined)
    return object
  }
}

async function appendTo(object: BegunObject, parts: readonly Uint8Array[]): Promise<BegunObject | undefined> {
  try {
    await object.append(parts)
    return object
  } catch {
    await object.discard()
    return undefined
  }
}
