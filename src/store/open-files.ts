import type { FileSystem, OpenFile } from './file-system.js'

interface Entry {
  readonly file: Promise<OpenFile>
  /** The same, once it is open. */
  opened: OpenFile | undefined
  users: number
  /** No longer in the cache: the last user closes it. */
  dropped: boolean
}

/** A file that is in use until it is released. */
export interface HeldFile {
  readonly file: OpenFile
  /** Once. @returns undefined if there is nothing to wait for */
  readonly release: () => Promise<void> | undefined
}

/**
 * Open files, the most recently used ones kept for the next read. A file in use is never closed: when it is evicted
 * or dropped, its last user closes it. So at most `idleMax` files are open, and those being read right now.
 */
export class OpenFiles {
  readonly #fileSystem: FileSystem
  readonly #idleMax: number
  /** In order of use: the first is the one to evict. */
  readonly #entries = new Map<string, Entry>()

  constructor(fileSystem: FileSystem, idleMax: number) {
    this.#fileSystem = fileSystem
    this.#idleMax = idleMax
  }

  /** Runs `work` with the open file. @throws what opening or `work` throws */
  async use<Result>(path: string, work: (file: OpenFile) => Promise<Result>): Promise<Result> {
    const entry = this.#take(path)
    try {
      const file = await entry.file
      await this.#evict()
      return await work(file)
    } catch (error) {
      this.#spoil(path, entry)
      throw error
    } finally {
      await this.#leave(entry)
    }
  }

  /** An open file that stays open until it is released; at once if it is open already. @throws what opening throws */
  hold(path: string): HeldFile | Promise<HeldFile> {
    const entry = this.#take(path)
    const { opened } = entry
    return opened === undefined ? this.#holdOnceOpen(path, entry) : this.#held(entry, opened)
  }

  #held(entry: Entry, file: OpenFile): HeldFile {
    return { file, release: () => this.#leave(entry) }
  }

  async #holdOnceOpen(path: string, entry: Entry): Promise<HeldFile> {
    try {
      const file = await entry.file
      if (this.#entries.size > this.#idleMax) await this.#evict()
      return this.#held(entry, file)
    } catch (error) {
      this.#spoil(path, entry)
      await this.#leave(entry)
      throw error
    }
  }

  /** After a file was removed: the next use opens whatever has its name then. Uses under way finish. */
  async drop(path: string): Promise<void> {
    const entry = this.#entries.get(path)
    if (entry === undefined) return
    this.#entries.delete(path)
    entry.dropped = true
    if (entry.users === 0) await close(entry)
  }

  async close(): Promise<void> {
    await Promise.all([...this.#entries.keys()].map((path) => this.drop(path)))
  }

  #take(path: string): Entry {
    const entry = this.#entries.get(path) ?? this.#open(path)
    this.#entries.delete(path)
    this.#entries.set(path, entry)
    entry.users++
    return entry
  }

  /** A file that did not open, or that reads badly, is opened anew by the next use. */
  #spoil(path: string, entry: Entry): void {
    if (this.#entries.get(path) === entry) this.#entries.delete(path)
    entry.dropped = true
  }

  #leave(entry: Entry): Promise<void> | undefined {
    entry.users--
    return entry.dropped && entry.users === 0 ? close(entry) : undefined
  }

  #open(path: string): Entry {
    const file = this.#fileSystem.open(path, 'read')
    const entry: Entry = { file, opened: undefined, users: 0, dropped: false }
    file.then(
      (opened) => (entry.opened = opened),
      // Whoever waits for it hears of it.
      () => undefined,
    )
    return entry
  }

  async #evict(): Promise<void> {
    while (this.#entries.size > this.#idleMax) {
      const [oldest] = this.#entries.keys()
      if (oldest === undefined) return
      await this.drop(oldest)
    }
  }
}

/** Closing a file that was only read cannot lose anything: if it fails, there is nothing to tell anyone. */
async function close(entry: Entry): Promise<void> {
  await entry.file.then((file) => file.close()).catch(() => undefined)
}
