import { dirname, join } from 'node:path'
import { systemErrorCode } from '../errors.js'
import { settleAll } from '../settle-all.js'
import { type FileStatus, type FileSystem, sync } from './file-system.js'
import { isAbsence } from './local-errors.js'

/** Folders that are settled at once. */
const SETTLED_AT_ONCE = 32

/**
 * Makes folders below `root`, and makes sure that they and the names in them survive a power cut. What is there already may have been
 * made a moment ago by somebody who had no time to sync it: so nothing counts as durable that this process has not synced.
 * Nobody else changes names below the root while this process has the repository.
 */
export class DurableFolders {
  readonly root: string
  readonly #fileSystem: FileSystem
  readonly #durable = new Map<string, Promise<void>>()
  /** By folder: the number of the last change of its names that began or ended, and which it was when its last good sync began. */
  readonly #changes = new Map<string, number>()
  readonly #synced = new Map<string, number>()
  /** By folder: how many are adding to it, and its removal that is under way. */
  readonly #adding = new Map<string, number>()
  readonly #removing = new Map<string, Promise<void>>()
  #change = 0

  constructor(fileSystem: FileSystem, root: string) {
    this.#fileSystem = fileSystem
    this.root = root
  }

  /** Resolves when `folder`, and all folders from the root to it, are there and on stable storage. */
  async ensure(folder: string): Promise<void> {
    if (folder === this.root) return
    let durable = this.#durable.get(folder)
    if (durable === undefined) {
      durable = this.#make(folder)
      this.#durable.set(folder, durable)
    }
    try {
      await durable
    } catch (error) {
      this.#durable.delete(folder)
      throw error
    }
  }

  /** Somebody removed folders under us: look again. */
  forget(): void {
    this.#durable.clear()
  }

  /** Runs what changes a name in a folder. It is durable only once the folder was synced after that. */
  async change<Result>(folder: string, work: () => Promise<Result>): Promise<Result> {
    // Counted twice: a sync that begins in between does not cover it.
    this.#count(folder)
    try {
      return await work()
    } finally {
      this.#count(folder)
    }
  }

  /**
   * Runs what adds a name to a folder, which is made if it is not there. Until that has ended nobody removes it for being empty: it takes
   * so long to be on stable storage that whoever makes it again and again could lose it again and again.
   * @param ready  What has to be done before as well, while the folder is made.
   */
  async add<Result>(
    folder: string,
    work: () => Promise<Result>,
    ready: Promise<void> = Promise.resolve(),
  ): Promise<Result> {
    this.#adding.set(folder, (this.#adding.get(folder) ?? 0) + 1)
    const made = (this.#removing.get(folder) ?? Promise.resolve()).then(() => this.ensure(folder))
    try {
      await settleAll([ready, made])
      return await this.change(folder, work)
    } finally {
      const others = (this.#adding.get(folder) ?? 0) - 1
      if (others > 0) this.#adding.set(folder, others)
      else this.#adding.delete(folder)
    }
  }

  /** Puts a folder's names on stable storage. */
  async sync(folder: string): Promise<void> {
    const changes = this.#changesOf(folder)
    await sync(this.#fileSystem, folder)
    this.#synced.set(folder, Math.max(changes, this.#synced.get(folder) ?? 0))
  }

  /** Removes a folder if it is empty and nobody is adding to it, and what is known of it. */
  async removeEmpty(folder: string): Promise<void> {
    if (folder === this.root || this.#adding.has(folder)) return
    const removing = (this.#removing.get(folder) ?? Promise.resolve()).then(() => this.#removeEmpty(folder))
    this.#removing.set(folder, removing)
    await removing
    if (this.#removing.get(folder) === removing) this.#removing.delete(folder)
  }

  async #removeEmpty(folder: string): Promise<void> {
    this.#durable.delete(folder)
    try {
      // Not synced: should it be there again after a power cut, it is empty.
      await this.change(dirname(folder), () => this.#fileSystem.rmdir(folder))
    } catch {
      // Something is in it, or it may not be removed: then it stays.
      return
    }
    this.#changes.delete(folder)
    this.#synced.delete(folder)
  }

  /** Puts all names in a folder and below it on stable storage, and the way to it; a folder that is not there is no error. */
  async settle(folder: string): Promise<void> {
    try {
      await this.#fileSystem.stat(folder)
      await this.ensure(folder)
      await this.#settleBelow(folder)
    } catch (error) {
      if (!isAbsence(error)) throw error
    }
  }

  async #settleBelow(folder: string): Promise<void> {
    const entries = await this.#fileSystem.readdir(folder)
    if (this.#synced.get(folder) !== this.#changesOf(folder)) await this.sync(folder)
    const folders = entries.filter((entry) => entry.isDirectory()).map((entry) => join(folder, entry.name))
    for (let start = 0; start < folders.length; start += SETTLED_AT_ONCE)
      await settleAll(
        folders.slice(start, start + SETTLED_AT_ONCE).map(async (below) => {
          try {
            await this.#settleBelow(below)
          } catch (error) {
            // Emptied and removed meanwhile; the others are settled all the same.
            if (!isAbsence(error)) throw error
          }
        }),
      )
  }

  async #make(folder: string): Promise<void> {
    const parent = dirname(folder)
    await this.ensure(parent)
    try {
      await this.change(parent, () => this.#fileSystem.mkdir(folder))
    } catch (error) {
      if (systemErrorCode(error) !== 'EEXIST') throw error
    }
    await this.sync(parent)
  }

  #count(folder: string): void {
    this.#changes.set(folder, ++this.#change)
  }

  #changesOf(folder: string): number {
    return this.#changes.get(folder) ?? 0
  }
}

/** Makes the root of a store and what is missing above it, so that they survive a power cut. */
export async function createRoot(fileSystem: FileSystem, root: string): Promise<void> {
  let existing = root
  while ((await statusOf(fileSystem, existing)) === undefined) existing = dirname(existing)
  await new DurableFolders(fileSystem, existing).ensure(root)
  if (existing !== root) return
  try {
    await sync(fileSystem, dirname(root))
  } catch (error) {
    // Who may not read the folder above did not make the root a moment ago either.
    if (systemErrorCode(error) !== 'EACCES') throw error
  }
}

async function statusOf(fileSystem: FileSystem, path: string): Promise<FileStatus | undefined> {
  try {
    return await fileSystem.stat(path)
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT' && dirname(path) !== path) return undefined
    throw error
  }
}
