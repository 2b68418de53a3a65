/** Memory that answers to small reads lie in until they are sent; what it is handed out in; and the most that one may take. */
export const READ_ROOM_BYTES = 8 * 1024 * 1024
const PAGE_BYTES = 64 * 1024
export const QUICK_READ_BYTES_MAX = 256 * 1024

/** A piece of the room. */
export interface Place {
  readonly bytes: Uint8Array
  /** Where it begins in the room. */
  readonly offset: number
  /** Once, when nobody uses `bytes` any more. */
  readonly release: () => void
}

/** Memory that all threads share, handed out in pieces: the same over and over, so that none of it becomes garbage. */
export class ReadRoom {
  #memory: SharedArrayBuffer | undefined
  readonly #taken = new Uint8Array(READ_ROOM_BYTES / PAGE_BYTES)

  /** Made when it is first needed. */
  get memory(): SharedArrayBuffer {
    return (this.#memory ??= new SharedArrayBuffer(READ_ROOM_BYTES))
  }

  /** @returns undefined if there is no room for as much: it is more than one may have, or others have it */
  take(length: number): Place | undefined {
    if (length === 0 || length > QUICK_READ_BYTES_MAX) return undefined
    const pages = Math.ceil(length / PAGE_BYTES)
    const first = this.#free(pages)
    if (first < 0) return undefined
    this.#taken.fill(1, first, first + pages)
    const offset = first * PAGE_BYTES
    const release = (): void => void this.#taken.fill(0, first, first + pages)
    return { bytes: new Uint8Array(this.memory, offset, length), offset, release }
  }

  /** The first of so many free pages. From the beginning on: what was never needed takes no memory. */
  #free(pages: number): number {
    let first = 0
    for (let page = 0; page < this.#taken.length; page++) {
      if (this.#taken[page] === 1) first = page + 1
      else if (page + 1 - first === pages) return first
    }
    return -1
  }
}
