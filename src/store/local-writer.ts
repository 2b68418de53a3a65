import { dirname, join } from 'node:path'
import type { Environment } from '../environment.js'
import { settleAll } from '../settle-all.js'
import { BegunFile } from './begun-file.js'
import type { DurableFolders } from './durable-folders.js'
import { type FileSystem, type OpenFile, sync } from './file-system.js'
import { isAbsence } from './local-errors.js'
import { fileSize } from './local-reads.js'
import { publish } from './publish.js'

/** Adds files below a root, whole and durable or not at all. Throws what the system says. */
export class LocalWriter {
  readonly #fileSystem: FileSystem
  readonly #environment: Environment
  readonly #checkRoot: () => Promise<void>
  readonly #temporaryFolder: string
  readonly #folders: DurableFolders

  /** @param checkRoot  throws if the root is no longer the folder that was opened */
  constructor(
    fileSystem: FileSystem,
    folders: DurableFolders,
    environment: Environment,
    checkRoot: () => Promise<void>,
  ) {
    this.#fileSystem = fileSystem
    this.#environment = environment
    this.#checkRoot = checkRoot
    this.#temporaryFolder = join(folders.root, 'tmp')
    this.#folders = folders
  }

  async put(path: string, parts: readonly Uint8Array[]): Promise<'created' | 'exists'> {
    if (await this.#isThere(path)) return this.#settle(path, 'exists')
    return this.#finish(await this.begin(), (begun) => this.#end(begun, path, parts), path)
  }

  /** A file whose bytes come bit by bit: to be given to {@link finish} or {@link discard}. */
  async begin(): Promise<BegunFile> {
    const name = Buffer.from(this.#environment.random(16)).toString('hex')
    const temporary = join(this.#temporaryFolder, name)
    return new BegunFile(temporary, await this.#createTemporary(temporary))
  }

  /** As {@link put}, of a file that was begun, and its last bytes. */
  async finish(begun: BegunFile, path: string, parts: readonly Uint8Array[]): Promise<'created' | 'exists'> {
    const end = async (): Promise<'created' | 'exists'> =>
      (await this.#isThere(path)) ? 'exists' : this.#end(begun, path, parts)
    return this.#finish(begun, end, path)
  }

  /** What cannot be removed now is a leftover. */
  async discard(begun: BegunFile): Promise<void> {
    await begun.close().catch(() => undefined)
    // Gone already if it was renamed.
    await this.#fileSystem.unlink(begun.temporary).catch(() => undefined)
  }

  async #isThere(path: string): Promise<boolean> {
    return (await fileSize(this.#fileSystem, path)) !== undefined
  }

  async #settle(path: string, outcome: 'created' | 'exists'): Promise<'created' | 'exists'> {
    // Whoever made it may not have come to syncing yet, or may have copied the repository here a moment ago.
    if (outcome === 'exists') await sync(this.#fileSystem, path)
    await this.#folders.ensure(dirname(path))
    await this.#folders.sync(dirname(path))
    return outcome
  }

  /** Removes what crashed writes left. @returns the number of files */
  async removeLeftovers(): Promise<number> {
    let removed = 0
    try {
      for (const entry of await this.#fileSystem.readdir(this.#temporaryFolder)) {
        if (!entry.isFile()) continue
        await this.#fileSystem.unlink(join(this.#temporaryFolder, entry.name))
        removed++
      }
    } catch (error) {
      if (!isAbsence(error)) throw error
    }
    return removed
  }

  async #finish(
    begun: BegunFile,
    end: (begun: BegunFile) => Promise<'created' | 'exists'>,
    path: string,
  ): Promise<'created' | 'exists'> {
    let outcome: 'created' | 'exists'
    try {
      outcome = await end(begun)
    } catch (error) {
      await this.discard(begun)
      throw error
    }
    // The name under which it was written goes meanwhile.
    const [settled] = await settleAll([this.#settle(path, outcome), this.discard(begun).then(() => outcome)])
    return settled ?? outcome
  }

  async #end(begun: BegunFile, path: string, parts: readonly Uint8Array[]): Promise<'created' | 'exists'> {
    try {
      // Synced before the name exists: a name that survives a power cut must not lead to less than the whole object.
      const synced = begun.end(parts)
      try {
        return await this.#publish(begun.temporary, path, synced)
      } catch (error) {
        if (!isAbsence(error)) throw error
        // Somebody else removed the folder.
        await this.#checkRoot()
        this.#folders.forget()
        return await this.#publish(begun.temporary, path, synced)
      }
    } catch (error) {
      // A folder that we made is gone: the next put makes it again.
      if (isAbsence(error)) this.#folders.forget()
      throw error
    }
  }

  async #publish(temporary: string, path: string, synced: Promise<void>): Promise<'created' | 'exists'> {
    return this.#folders.add(
      dirname(path),
      () => publish(this.#fileSystem, temporary, path, this.#temporaryFolder),
      synced,
    )
  }

  async #createTemporary(path: string): Promise<OpenFile> {
    try {
      return await this.#fileSystem.open(path, 'create')
    } catch (error) {
      if (!isAbsence(error)) throw error
      await this.#checkRoot()
      this.#folders.forget()
      await this.#folders.ensure(this.#temporaryFolder)
      return this.#fileSystem.open(path, 'create')
    }
  }
}
