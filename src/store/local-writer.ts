import { dirname, join } from 'node:path'
import type { Environment } from '../environment.js'
import type { DurableFolders } from './durable-folders.js'
import { type FileSystem, type OpenFile, sync, writeParts } from './file-system.js'
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
    const known = (await fileSize(this.#fileSystem, path)) !== undefined
    const outcome = known ? 'exists' : await this.#add(path, parts)
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

  async #add(path: string, parts: readonly Uint8Array[]): Promise<'created' | 'exists'> {
    const name = Buffer.from(this.#environment.random(16)).toString('hex')
    const temporary = join(this.#temporaryFolder, name)
    try {
      const file = await this.#createTemporary(temporary)
      try {
        await writeParts(file, parts)
        // Before the name exists: a name that survives a power cut must not lead to less than the whole object.
        await file.sync()
      } finally {
        await file.close()
      }
      try {
        return await this.#publish(temporary, path)
      } catch (error) {
        if (!isAbsence(error)) throw error
        // The last object beside it was removed just now, and the folder with it.
        await this.#checkRoot()
        this.#folders.forget()
        return await this.#publish(temporary, path)
      }
    } catch (error) {
      // A folder that we made is gone: the next put makes it again.
      if (isAbsence(error)) this.#folders.forget()
      throw error
    } finally {
      // Gone already if it was renamed; what cannot be removed now is a leftover.
      await this.#fileSystem.unlink(temporary).catch(() => undefined)
    }
  }

  async #publish(temporary: string, path: string): Promise<'created' | 'exists'> {
    await this.#folders.ensure(dirname(path))
    return this.#folders.change(dirname(path), () =>
      publish(this.#fileSystem, temporary, path, this.#temporaryFolder),
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
