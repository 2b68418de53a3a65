/**
 * The files of a LevelDB database, as far as they concern us: what is there, how large, and how to be rid of
 * them.
 */

import { open, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'

import { systemErrorCode } from '../errors.js'

/** Names the database: without it LevelDB sees none, whatever else lies in the folder. */
const CURRENT = 'CURRENT'
const DATA = /^(?:\d+\.(?:ldb|sst|log|dbtmp)|MANIFEST-\d+)$/
/** LevelDB's own diary. LOCK is left alone: removing a lock file lets two processes in at once. */
const DIARY = /^LOG(?:\.old)?$/

export type DatabasePresence = 'absent' | 'present' | 'remnants'

/**
 * Removes the index in the folder `path`, and only LevelDB's files. It must not be open. Durable when the
 * promise resolves; a crash on the way leaves remnants that `LevelIndex.open` refuses, never an older state of
 * the index: were the log to go first, removals that were durable would be undone.
 */
export async function destroyIndex(path: string): Promise<void> {
  const names = await namesIn(path)
  if (names === undefined) return
  await rm(join(path, CURRENT), { force: true })
  await syncFolder(path)
  for (const name of names) {
    if (DATA.test(name) || DIARY.test(name)) await rm(join(path, name), { force: true })
  }
  await syncFolder(path)
}

/** Is there a database in the folder? Remnants: files of one, but nothing that says which belong together. */
export async function databasePresence(path: string): Promise<DatabasePresence> {
  const names = (await namesIn(path)) ?? []
  if (names.includes(CURRENT)) return 'present'
  return names.some((name) => DATA.test(name)) ? 'remnants' : 'absent'
}

/** Bytes of all files in the folder. A file that compaction removes meanwhile counts as none. */
export async function folderBytes(path: string): Promise<number> {
  let total = 0
  for (const name of (await namesIn(path)) ?? []) {
    try {
      total += (await stat(join(path, name))).size
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT') throw error
    }
  }
  return total
}

/** Makes what was created, renamed and removed in the folder durable. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path)
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

async function namesIn(path: string): Promise<string[] | undefined> {
  try {
    return await readdir(path)
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}
