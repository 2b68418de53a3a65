import type { FileHandle } from 'node:fs/promises'
import { DIRECT_BYTES_MIN, openDirectly, writeDirectly } from '../direct-writes.js'

/**
 * What goes past the page cache begins and ends at a multiple of this, so that it shares no page with what goes through it at the
 * same time: the system keeps the two apart by pages only (open(2), "O_DIRECT"), which have at most 64 KiB.
 */
const GRID = 64 * 1024

/** Writes a disk's bytes anywhere in a file or block device: many at once go past the page cache. */
export class DiskFile {
  readonly #path: string
  readonly #file: FileHandle
  #direct: Promise<FileHandle | undefined> | undefined

  /** @param file  open for writing, and stays the caller's */
  constructor(path: string, file: FileHandle) {
    this.#path = path
    this.#file = file
  }

  /**
   * Writes all of `bytes`.
   * @returns how many of them are in the page cache
   * @throws what the system says
   */
  async write(bytes: Uint8Array, offset: number): Promise<number> {
    const head = (GRID - (offset % GRID)) % GRID
    const whole = bytes.length - head - ((offset + bytes.length) % GRID)
    if (whole < DIRECT_BYTES_MIN) return this.#writeCached(bytes, offset)
    const direct = await this.#openDirectly()
    if (direct === undefined) return this.#writeCached(bytes, offset)
    const written = await writeDirectly(direct, [bytes.subarray(head, head + whole)], offset + head)
    // It may have ended early anywhere; then no other write is in this range, either.
    const cached = await this.#writeCached(bytes.subarray(0, head), offset)
    const rest = head + written
    return cached + (await this.#writeCached(bytes.subarray(rest), offset + rest))
  }

  /** Nothing may be under way any more. */
  async close(): Promise<void> {
    await (await this.#direct)?.close()
    this.#direct = undefined
  }

  #openDirectly(): Promise<FileHandle | undefined> {
    this.#direct ??= openDirectly(this.#path)
    return this.#direct
  }

  async #writeCached(bytes: Uint8Array, offset: number): Promise<number> {
    for (let done = 0; done < bytes.length; )
      done += (await this.#file.write(bytes, done, bytes.length - done, offset + done)).bytesWritten
    return bytes.length
  }
}
