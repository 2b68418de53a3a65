import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { EverfoldError, systemErrorCode } from '../errors.js'
import type { FileSystem } from './file-system.js'
import { isAbsence } from './local-errors.js'

/** What link(2) answers where there are no hard links (exFAT, some network and FUSE file systems). */
const NO_HARD_LINKS = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'])

const CLAIM_POLL_MS = 10
/** A claim is held for two system calls: one this old belongs to a process that died. */
const CLAIM_POLLS_MAX = 1000

/**
 * Gives a whole, synced file its final name, if that name is free. Never overwrites.
 *
 * With hard links, link(2) does it in one step. Without them, rename(2) would overwrite, so whoever wants to rename
 * first creates a claim, a file named after the final name (`O_EXCL`: one succeeds), looks whether the final name is
 * taken, renames, and removes the claim. A claim left by a crash goes with the other leftovers.
 *
 * @throws what the system says; STORE_FAILED if a claim stays.
 */
export async function publish(
  fileSystem: FileSystem,
  temporary: string,
  path: string,
  claimFolder: string,
): Promise<'created' | 'exists'> {
  try {
    await fileSystem.link(temporary, path)
    return 'created'
  } catch (error) {
    const code = systemErrorCode(error) ?? ''
    if (code === 'EEXIST') return 'exists'
    if (!NO_HARD_LINKS.has(code)) throw error
  }
  const claim = join(claimFolder, `claim-${createHash('sha256').update(path).digest('hex')}`)
  if (!(await takeClaim(fileSystem, claim, path))) return 'exists'
  try {
    if (await isTaken(fileSystem, path)) return 'exists'
    await fileSystem.rename(temporary, path)
    return 'created'
  } finally {
    await fileSystem.unlink(claim)
  }
}

/** @returns false if the object appeared while we waited. */
async function takeClaim(fileSystem: FileSystem, claim: string, path: string): Promise<boolean> {
  for (let polls = 0; polls < CLAIM_POLLS_MAX; polls++) {
    if (await isTaken(fileSystem, path)) return false
    try {
      const file = await fileSystem.open(claim, 'create')
      await file.close()
      return true
    } catch (error) {
      if (systemErrorCode(error) !== 'EEXIST') throw error
    }
    await sleep(CLAIM_POLL_MS)
  }
  throw new EverfoldError(
    'STORE_FAILED',
    `Cannot write ${path}: ${claim} says that another process is writing it. If none is running, remove that file.`,
    { details: { claim } },
  )
}

async function isTaken(fileSystem: FileSystem, path: string): Promise<boolean> {
  try {
    await fileSystem.stat(path)
    return true
  } catch (error) {
    if (isAbsence(error)) return false
    throw error
  }
}
