import type { FileHandle } from 'node:fs/promises'
import { ALIGNED_BLOCK } from '../aligned-memory.js'
import { DIRECT_BYTES_MIN, openDirectly, writeDirectly } from '../direct-writes.js'
import type { FileStatus, OpenFile } from './file-system.js'

/** A file that is being written from its beginning. Many bytes at once go past the page cache. */
export class NewFile implements OpenFile {
  readonly #path: string
  readonly #file: FileHandle
  #end = 0

  constructor(path: string, file: FileHandle) {
    this.#path = path
    this.#file = file
  }

  /** @returns bytes written, maybe not all */
  async writev(parts: readonly Uint8Array[]): Promise<{ bytesWritten: number }> {
    let bytesWritten = await this.#writeDirectly(parts)
    if (bytesWritten === 0) ({ bytesWritten } = await this.#file.writev(parts, this.#end))
    this.#end += bytesWritten
    return { bytesWritten }
  }

  async #writeDirectly(parts: readonly Uint8Array[]): Promise<number> {
    const total = parts.reduce((sum, part) => sum + part.length, 0)
    if (total < DIRECT_BYTES_MIN || this.#end % ALIGNED_BLOCK !== 0) return 0
    const file = await openDirectly(this.#path)
    if (file === undefined) return 0
    try {
      return await writeDirectly(file, parts, this.#end)
    } finally {
      await file.close()
    }
  }

  read(target: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesRead: number }> {
    return this.#file.read(target, offset, length, position)
  }

  stat(): Promise<FileStatus> {
    return this.#file.stat()
  }

  sync(): Promise<void> {
    return this.#file.sync()
  }

  close(): Promise<void> {
    return this.#file.close()
  }
}
