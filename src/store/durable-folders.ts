import { dirname } from 'node:path'
import { systemErrorCode } from '../errors.js'
import { type FileStatus, type FileSystem, sync } from './file-system.js'

/**
 * Makes folders below `root`, and makes sure that they survive a power cut. A folder that exists already may have
 * been made a moment ago by somebody who had no time to sync it: so each one's parent is synced once by this
 * process, whoever made the folder.
 */
export class DurableFolders {
  readonly #fileSystem: FileSystem
  readonly #root: string
  readonly #durable = new Map<string, Promise<void>>()

  constructor(fileSystem: FileSystem, root: string) {
    this.#fileSystem = fileSystem
    this.#root = root
  }

  /** Resolves when `folder`, and all folders from the root to it, are there and on stable storage. */
  async ensure(folder: string): Promise<void> {
    if (folder === this.#root) return
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

  async #make(folder: string): Promise<void> {
    const parent = dirname(folder)
    await this.ensure(parent)
    try {
      await this.#fileSystem.mkdir(folder)
    } catch (error) {
      if (systemErrorCode(error) !== 'EEXIST') throw error
    }
    await sync(this.#fileSystem, parent)
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
