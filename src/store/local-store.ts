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
import { createRoot, DurableFolders } from './durable-folders.js'
import { type FileStatus, type FileSystem, type OpenFile, realFileSystem } from './file-system.js'
import { assertKey, assertPrefix } from './keys.js'
import { isAbsence, objectNotFound, objectTooShort, storeError } from './local-errors.js'
import { fileSize, fillBytes, listFolder, readBytes } from './local-reads.js'
import { LocalWriter } from './local-writer.js'
import { type HeldFile, OpenFiles } from './open-files.js'
import type { BegunObject, HeldObject, Store, StoredObject } from './store.js'

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
  /** The same, with a slash at its end. */
  readonly #folder: string
  readonly #fileSystem: FileSystem
  readonly #rootStatus: FileStatus
  readonly #folders: DurableFolders
  readonly #writer: LocalWriter
  readonly #openFiles: OpenFiles
  #closed = false

  private constructor(root: string, rootStatus: FileStatus, options: LocalStoreOptions) {
    this.location = root
    this.#folder = join(root, '/')
    this.#fileSystem = options.fileSystem ?? realFileSystem
    this.#rootStatus = rootStatus
    const environment = options.environment ?? realEnvironment
    this.#folders = new DurableFolders(this.#fileSystem, root)
    this.#writer = new LocalWriter(this.#fileSystem, this.#folders, environment, () => this.#checkRoot())
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
      if (!status.isDirectory())
        throw new EverfoldError(
          'REPOSITORY_NOT_FOUND',
          `${root} is not a folder, so there is no repository in it. Check the path.`,
          { details: { location: root } },
        )
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

  async readInto(key: string, offset: number, into: Uint8Array): Promise<void> {
    assertRange(offset, into.length)
    await this.#withFile(key, async (file) => {
      if ((await fillBytes(file, offset, into)) < into.length)
        throw objectTooShort(key, this.location, offset + into.length)
    })
  }

  hold(key: string): HeldObject | Promise<HeldObject | undefined> {
    if (this.#closed) return Promise.resolve(undefined)
    const held = this.#openFiles.hold(this.#path(key))
    if (!(held instanceof Promise) && held.file.fd !== undefined)
      return { fd: held.file.fd, release: held.release }
    return this.#holdOnceOpen(held)
  }

  async #holdOnceOpen(opening: HeldFile | Promise<HeldFile>): Promise<HeldObject | undefined> {
    try {
      const held = await opening
      const { fd } = held.file
      if (fd !== undefined) return { fd, release: held.release }
      await held.release()
    } catch {
      // Whoever reads it instead hears why it cannot be opened.
    }
    return undefined
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
      yield* listFolder(this.#fileSystem, resolve(this.location, prefix), prefix)
      await this.#checkRoot()
    } catch (error) {
      throw storeError(`list ${prefix === '' ? 'objects' : prefix}`, this.location, error)
    }
  }

  async settle(prefix: string): Promise<void> {
    assertPrefix(prefix)
    assert(prefix !== '', 'all of a store is settled piece by piece')
    assert(!this.#closed, 'the store is closed')
    return this.#attempt(`settle ${prefix}`, () => this.#folders.settle(resolve(this.location, prefix)))
  }

  async put(key: string, parts: readonly Uint8Array[]): Promise<'created' | 'exists'> {
    const path = this.#path(key)
    return this.#attempt(`write ${key}`, () => this.#writer.put(path, parts))
  }

  async begin(): Promise<BegunObject> {
    assert(!this.#closed, 'the store is closed')
    const file = await this.#attempt('begin an object', () => this.#writer.begin())
    return {
      append: (parts) => this.#attempt('write an object', () => file.append(parts)),
      put: (key, parts) => {
        const path = this.#path(key)
        return this.#attempt(`write ${key}`, () => this.#writer.finish(file, path, parts))
      },
      discard: () => this.#writer.discard(file),
    }
  }

  async remove(key: string): Promise<void> {
    const path = this.#path(key)
    return this.#attempt(`remove ${key}`, async () => {
      try {
        await this.#folders.change(dirname(path), () => this.#fileSystem.unlink(path))
      } catch (error) {
        if (!isAbsence(error)) throw error
        await this.#checkRoot()
      }
      // Only now: a read between the two would have opened the removed file again.
      await this.#openFiles.drop(path)
      try {
        await this.#folders.sync(dirname(path))
        await this.#folders.removeEmpty(dirname(path))
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
    return this.#attempt('remove leftovers', () => this.#writer.removeLeftovers())
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#openFiles.close()
  }

  #path(key: string): string {
    assertKey(key)
    assert(!this.#closed, 'the store is closed')
    // No key has anything that join() would resolve, and small reads come thousands of times a second.
    return this.#folder + key
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

function assertRange(offset: number, length: number): void {
  assert(Number.isSafeInteger(offset) && offset >= 0, `not an offset: ${offset}`)
  assert(Number.isSafeInteger(length) && length >= 0, `not a length: ${length}`)
}
