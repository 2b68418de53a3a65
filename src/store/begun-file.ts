import { ALIGNED_BLOCK } from '../aligned-memory.js'
import { copyParts } from '../parts.js'
import { type OpenFile, writeParts } from './file-system.js'

/** A file that has no name yet that anybody looks for, and is written from its beginning. Throws what the system says. */
export class BegunFile {
  readonly temporary: string
  readonly #file: OpenFile
  /** What does not fill a block: so that what comes next begins on one, and can go past the page cache. */
  #rest = new Uint8Array(0)
  #isClosed = false

  constructor(temporary: string, file: OpenFile) {
    this.temporary = temporary
    this.#file = file
  }

  /** Adds bytes. They must not be changed until the promise settles. */
  async append(parts: readonly Uint8Array[]): Promise<void> {
    const all = [this.#rest, ...parts]
    const bytes = all.reduce((sum, part) => sum + part.length, 0)
    const rest = new Uint8Array(bytes % ALIGNED_BLOCK)
    copyParts(all, bytes - rest.length, rest)
    await writeParts(this.#file, firstBytes(all, bytes - rest.length))
    this.#rest = rest
  }

  /** Adds the last bytes, and puts all of it on stable storage. */
  async end(parts: readonly Uint8Array[]): Promise<void> {
    try {
      await writeParts(this.#file, [this.#rest, ...parts])
      await this.#file.sync()
    } finally {
      await this.close()
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await this.#file.close()
  }
}

function firstBytes(parts: readonly Uint8Array[], bytes: number): Uint8Array[] {
  const found: Uint8Array[] = []
  let left = bytes
  for (const part of parts) {
    found.push(part.subarray(0, left))
    left -= Math.min(left, part.length)
  }
  return found
}
