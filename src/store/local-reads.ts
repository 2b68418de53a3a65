import { join } from 'node:path'
import type { FileSystem, OpenFile } from './file-system.js'
import { isKey } from './keys.js'
import { isAbsence } from './local-errors.js'
import type { StoredObject } from './store.js'

/** Sizes asked for at once while listing. */
const STATS_AT_ONCE = 64

/**
 * Up to `length` bytes from `offset`: fewer where the file ends. The result owns its whole ArrayBuffer.
 */
export async function readBytes(
  file: OpenFile,
  offset: number,
  length: number,
): Promise<Uint8Array<ArrayBuffer>> {
  // Not zeroed, and not a piece of Node's shared pool: the buffer can be transferred.
  const bytes = new Uint8Array(Buffer.allocUnsafeSlow(length).buffer)
  const filled = await fillBytes(file, offset, bytes)
  return filled === length ? bytes : bytes.slice(0, filled)
}

/** Fills `into` with the bytes from `offset` on. @returns how many: fewer where the file ends */
export async function fillBytes(file: OpenFile, offset: number, into: Uint8Array): Promise<number> {
  let filled = 0
  while (filled < into.length) {
    const { bytesRead } = await file.read(into, filled, into.length - filled, offset + filled)
    if (bytesRead === 0) break
    filled += bytesRead
  }
  return filled
}

/**
 * The objects below `folder`, whose keys start with `prefix`. Files that cannot be objects, and entries that vanish
 * while we look, are passed over.
 */
export async function* listFolder(
  fileSystem: FileSystem,
  folder: string,
  prefix: string,
): AsyncGenerator<StoredObject, void, undefined> {
  let entries
  try {
    entries = await fileSystem.readdir(folder)
  } catch (error) {
    if (isAbsence(error)) return
    throw error
  }
  const ours = entries.filter((entry) => isKey(prefix + entry.name))
  const files = ours.filter((entry) => entry.isFile())
  for (let start = 0; start < files.length; start += STATS_AT_ONCE) {
    const batch = files.slice(start, start + STATS_AT_ONCE)
    const found = await Promise.all(
      batch.map(async ({ name }): Promise<StoredObject | undefined> => {
        const sizeBytes = await fileSize(fileSystem, join(folder, name))
        return sizeBytes === undefined ? undefined : { key: prefix + name, sizeBytes }
      }),
    )
    for (const object of found) if (object !== undefined) yield object
  }
  for (const entry of ours) {
    if (entry.isDirectory()) {
      yield* listFolder(fileSystem, join(folder, entry.name), `${prefix}${entry.name}/`)
    }
  }
}

/** Size of a file in bytes, or undefined where there is none. */
export async function fileSize(fileSystem: FileSystem, path: string): Promise<number | undefined> {
  try {
    const status = await fileSystem.stat(path)
    return status.isFile() ? status.size : undefined
  } catch (error) {
    if (isAbsence(error)) return undefined
    throw error
  }
}
