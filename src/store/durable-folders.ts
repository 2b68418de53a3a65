import { dirname } from 'node:path'
import { systemErrorCode } from '../errors.js'
import { type FileSystem, sync } from './file-system.js'

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
