/**
 * A store in a folder: each object is a file, and its key is the path from the root.
 *
 * A put writes `tmp/<random>`, syncs it, links it to its final name (which fails if the name is taken), and syncs
 * the folder. So a name either leads to the whole object, on stable storage, or is not there.
 */

import assert from 'node:assert/strict'
import { dirname, join, resolve } from 'node:path'
import { type Environment, realEnvironment } from '../environment.js'
import { EverfoldError, systemErrorCode } from '../errors.js'
import { DurableFolders } from './durable-folders.js'
import {
  type FileStatus,
  type FileSystem,
  type OpenFile,
  realFileSystem,
  sync,
  writeParts,
} from './file-system.js'
import { assertKey, assertPrefix } from './keys.js'
import { isAbsence, objectNotFound, objectTooShort, storeError } from './local-errors.js'
import { fileSize, listFolder, readBytes } from './local-reads.js'
import { OpenFiles } from './open-files.js'
import { publish } from './publish.js'
import type { Store, StoredObject } from './store.js'

/** Packs kept open for the next read. */
export const OPEN_FILES_MAX = 64

export interface LocalStoreOptions {
  /** Make the folder if it is not there. */
  readonly create?: boolean
  readonly openFilesMax?: number
  readonly environment?: Environment
  readonly fileSystem?: FileSystem
}

export class LocalStore implements Store {
  /** Absolute path of the root. */
  readonly location: string
  readonly #fileSystem: FileSystem
  readonly #environment: Environment
  readonly #rootStatus: FileStatus
  readonly #temporaryFolder: string
  readonly #folders: DurableFolders
  readonly #openFiles: OpenFiles
  #closed = false

  private constructor(root: string, rootStatus: FileStatus, options: LocalStoreOptions) {
    this.location = root
    this.#fileSystem = options.fileSystem ?? realFileSystem
    this.#environment = options.environment ?? realEnvironment
    this.#rootStatus = rootStatus
    this.#temporaryFolder = join(root, 'tmp')
    this.#folders = new DurableFolders(this.#fileSystem, root)
    this.#openFiles = new OpenFiles(this.#fileSystem, options.openFilesMax ?? OPEN_FILES_MAX)
  }

  /**
   * Opens a folder. Writes nothing to it, so that a full or read-only disk can be opened.
   * @throws REPOSITORY_NOT_FOUND if there is no such folder; STORE_FULL, STORE_FAILED.
   */
  static async open(path: string, options: LocalStoreOptions = {}): Promise<LocalStore> {
    const root = resolve(path)
    const fileSystem = options.fileSystem ?? realFileSystem
    try {
      if (options.create === true) await createRoot(fileSystem, root)
      const status = await fileSystem.stat(root)
      if (!status.isDirectory()) throw new Error('it is not a folder')
      return new LocalStore(root, status, options)
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT') throw storeError('open the store', root, error)
      throw new EverfoldError(
        'REPOSITORY_NOT_FOUND',
        `There is no folder ${root}. Check the path and that the disk is mounted, or create a repository there first.`,
        { cause: error, details: { location: root } },
      )
    }
  }

  async read(key: string, offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    assertRange(offset, length)
    return this.#withFile(key, async (file) => {
      // An empty range reads nothing, so ask where the object ends.
      const bytes = length === 0 ? undefined : await readBytes(file, offset, length)
      const enough = bytes === undefined ? (await file.stat()).size >= offset : bytes.length === length
      if (!enough) throw objectTooShort(key, this.location, offset + length)
      return bytes ?? new Uint8Array(0)
    })
  }

  async readAll(key: string): Promise<Uint8Array<ArrayBuffer>> {
    return this.#withFile(key, async (file) => readBytes(file, 0, (await file.stat()).size))
  }

  async readTail(
    key: string,
    length: number,
  ): Promise<{ bytes: Uint8Array<ArrayBuffer>; sizeBytes: number }> {
    assertRange(0, length)
    return this.#withFile(key, async (file) => {
      const sizeBytes = (await file.stat()).size
      const offset = Math.max(0, sizeBytes - length)
      return { bytes: await readBytes(file, offset, sizeBytes - offset), sizeBytes }
    })
  }

  async size(key: string): Promise<number | undefined> {
    return this.#attempt(`look for ${key}`, async () => {
      const sizeBytes = await fileSize(this.#fileSystem, this.#path(key))
      if (sizeBytes === undefined) await this.#checkRoot()
      return sizeBytes
    })
  }

  async *list(prefix: string): AsyncGenerator<StoredObject, void, undefined> {
    assertPrefix(prefix)
    assert(!this.#closed, 'the store is closed')
    try {
      yield* listFolder(this.#fileSystem, join(this.location, prefix), prefix)
      await this.#checkRoot()
    } catch (error) {
      throw storeError(`list ${prefix === '' ? 'objects' : prefix}`, this.location, error)
    }
  }

  async put(key: string, parts: readonly Uint8Array[]): Promise<'created' | 'exists'> {
    const path = this.#path(key)
    return this.#attempt(`write ${key}`, async () => {
      let taken = (await fileSize(this.#fileSystem, path)) !== undefined
      if (!taken) taken = (await this.#add(path, parts)) === 'exists'
      // Whoever made it may not have come to this yet, or may have copied the repository here a moment ago.
      if (taken) await sync(this.#fileSystem, path)
      await this.#folders.ensure(dirname(path))
      await sync(this.#fileSystem, dirname(path))
      return taken ? 'exists' : 'created'
    })
  }

  async remove(key: string): Promise<void> {
    const path = this.#path(key)
    return this.#attempt(`remove ${key}`, async () => {
      try {
        await this.#fileSystem.unlink(path)
      } catch (error) {
        if (!isAbsence(error)) throw error
        await this.#checkRoot()
      }
      // Only now: a read between the two would have opened the removed file again.
      await this.#openFiles.drop(path)
      try {
        await sync(this.#fileSystem, dirname(path))
      } catch (error) {
        if (!isAbsence(error)) throw error
      }
    })
  }

  /**
   * Removes what crashed writes left in `tmp/`. Only for who holds the repository's lock: it would pull the files
   * from under another process's puts.
   * @returns the number of files removed.
   */
  async removeLeftovers(): Promise<number> {
    return this.#attempt('remove leftovers', async () => {
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
    })
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#openFiles.close()
  }

  async #add(path: string, parts: readonly Uint8Array[]): Promise<'created' | 'exists'> {
    const name = Buffer.from(this.#environment.random(16)).toString('hex')
    const temporary = join(this.#temporaryFolder, name)
    try {
      const file = await this.#createTemporary(temporary)
      try {
        await writeParts(file, parts)
        await file.sync()
      } finally {
        await file.close()
      }
      await this.#folders.ensure(dirname(path))
      return await publish(this.#fileSystem, temporary, path, this.#temporaryFolder)
    } catch (error) {
      if (isAbsence(error)) this.#folders.forget()
      throw error
    } finally {
      // Gone already if it was renamed; else, what cannot be removed now is a leftover.
      await this.#fileSystem.unlink(temporary).catch(() => undefined)
    }
  }

  async #createTemporary(path: string): Promise<OpenFile> {
    try {
      return await this.#fileSystem.open(path, 'create')
    } catch (error) {
      if (!isAbsence(error)) throw error
      this.#folders.forget()
      await this.#checkRoot()
      await this.#folders.ensure(this.#temporaryFolder)
      return this.#fileSystem.open(path, 'create')
    }
  }

  #path(key: string): string {
    assertKey(key)
    assert(!this.#closed, 'the store is closed')
    return join(this.location, key)
  }

  async #withFile<Result>(key: string, work: (file: OpenFile) => Promise<Result>): Promise<Result> {
    const path = this.#path(key)
    return this.#attempt(`read ${key}`, async () => {
      try {
        return await this.#openFiles.use(path, work)
      } catch (error) {
        if (!isAbsence(error)) throw error
        await this.#checkRoot()
        throw objectNotFound(key, this.location, error)
      }
    })
  }

  /**
   * Absence of an object is believed only while the root is the folder that was opened: where a disk is no longer
   * mounted, every object looks absent.
   */
  async #checkRoot(): Promise<void> {
    const { dev, ino } = await this.#fileSystem.stat(this.location)
    if (dev === this.#rootStatus.dev && ino === this.#rootStatus.ino) return
    throw new Error('another folder is in its place than when it was opened')
  }

  async #attempt<Result>(what: string, work: () => Promise<Result>): Promise<Result> {
    try {
      return await work()
    } catch (error) {
      throw storeError(what, this.location, error)
    }
  }
}

/** Makes the root and what is missing above it. The root's own entry must survive a power cut as well. */
async function createRoot(fileSystem: FileSystem, root: string): Promise<void> {
  let existing = root
  while ((await folderAt(fileSystem, existing)) === undefined) existing = dirname(existing)
  await new DurableFolders(fileSystem, existing).ensure(root)
  if (existing !== root) return
  try {
    await sync(fileSystem, dirname(root))
  } catch (error) {
    // Who may not read the folder above did not make the root either.
    if (systemErrorCode(error) !== 'EACCES') throw error
  }
}

async function folderAt(fileSystem: FileSystem, path: string): Promise<FileStatus | undefined> {
  try {
    return await fileSystem.stat(path)
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT' && dirname(path) !== path) return undefined
    throw error
  }
}

function assertRange(offset: number, length: number): void {
  assert(Number.isSafeInteger(offset) && offset >= 0, `not an offset: ${offset}`)
  assert(Number.isSafeInteger(length) && length >= 0, `not a length: ${length}`)
}
