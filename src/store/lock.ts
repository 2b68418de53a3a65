import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join, resolve } from 'node:path'
import { type Environment, realEnvironment } from '../environment.js'
import { EverfoldError, systemErrorCode } from '../errors.js'
import { type LockAttempt, lockFolder, lockSocket } from './kernel-locks.js'
import { storeError } from './local-errors.js'

/** Who holds a repository, for the message to whoever else wants it. */
export interface LockHolder {
  readonly pid: number
  readonly host: string
  readonly command: string
  /** ISO 8601. */
  readonly since: string
}

export interface RepositoryLock {
  readonly root: string
  /** Once; a second call does nothing. Death of the process does the same. */
  release(): Promise<void>
}

/** Keeps descriptors from being garbage-collected, and so closed, when a caller keeps no reference to its lock. */
const heldHere = new Set<RepositoryLock>()

/**
 * Takes a local repository folder for this process alone, or says who has it. Excludes other processes and a second
 * lock in this one. Held by the kernel: free the moment its process is dead, and to be had on a full disk.
 *
 * Both locks are taken, in a fixed order: the socket also reaches processes without the `flock` program, and flock(2)
 * also reaches those in other containers. Where one is not to be had, the other does; where neither is, we refuse.
 *
 * @param command  what this process does, shown to others: `everfold serve`.
 * @param known  Is it a repository? Until that is known nothing is written to the folder; if it is not, it is let go.
 * @throws what `known` throws; REPOSITORY_LOCKED with `details.holder`; REPOSITORY_NOT_FOUND; STORE_FAILED if this system cannot lock.
 */
export async function lockRepository(
  path: string,
  command: string,
  environment: Environment = realEnvironment,
  known: Promise<unknown> = Promise.resolve(),
): Promise<RepositoryLock> {
  const root = resolve(path)
  const held: (() => Promise<void>)[] = []
  const release = async (): Promise<void> => {
    for (const free of held.splice(0).reverse()) await free()
  }
  try {
    const reasons: string[] = []
    for (const lock of [lockSocket, lockFolder]) {
      const attempt: LockAttempt = await lock(root)
      if (attempt.state === 'busy') throw lockedError(root, await readHolder(root))
      if (attempt.state === 'held') held.push(attempt.release)
      else reasons.push(attempt.reason)
    }
    if (held.length === 0) throw cannotLock(root, reasons)
    await known
  } catch (error) {
    await release()
    if (systemErrorCode(error) === 'ENOENT') throw folderMissing(root, error)
    throw storeError('lock the repository', root, error)
  }
  await writeHolder(root, {
    pid: process.pid,
    host: hostname(),
    command,
    since: new Date(environment.now()).toISOString(),
  })
  const lock: RepositoryLock = {
    root,
    release: async () => {
      if (!heldHere.delete(lock)) return
      await rm(holderPath(root), { force: true }).catch(() => undefined)
      await release()
    },
  }
  heldHere.add(lock)
  return lock
}

function lockedError(root: string, holder: LockHolder | undefined): EverfoldError {
  const who =
    holder === undefined
      ? 'by another process (or by this one, a second time)'
      : `by process ${holder.pid} on ${holder.host} (${holder.command}) since ${holder.since}`
  return new EverfoldError(
    'REPOSITORY_LOCKED',
    `The repository ${root} is in use ${who}. Wait until it is done, or stop it; nothing needs to be removed by hand.`,
    { details: { location: root, ...(holder && { holder }) } },
  )
}

function cannotLock(root: string, reasons: readonly string[]): EverfoldError {
  return new EverfoldError(
    'STORE_FAILED',
    `This system cannot lock ${root} (${reasons.join('; ')}). Install the program flock (package util-linux).`,
    { details: { location: root, reasons } },
  )
}

function folderMissing(root: string, cause: unknown): EverfoldError {
  return new EverfoldError(
    'REPOSITORY_NOT_FOUND',
    `There is no folder ${root}. Check the path and that the disk is mounted, or create a repository there first.`,
    { cause, details: { location: root } },
  )
}

function holderPath(root: string): string {
  return join(root, 'lock', 'holder.json')
}

/** Only for messages: a full or read-only disk must not keep anyone from reading, so failing is no failure. */
async function writeHolder(root: string, holder: LockHolder): Promise<void> {
  try {
    await mkdir(join(root, 'lock'), { recursive: true, mode: 0o700 })
    await writeFile(holderPath(root), `${JSON.stringify(holder)}\n`)
  } catch {
    // Better no holder than the last one's name.
    await rm(holderPath(root), { force: true }).catch(() => undefined)
  }
}

/** Whatever is in the file: undefined unless it is what `writeHolder` writes. */
async function readHolder(root: string): Promise<LockHolder | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(holderPath(root), 'utf8'))
    if (typeof value !== 'object' || value === null) return undefined
    const { pid, host, command, since } = value as Partial<Record<keyof LockHolder, unknown>>
    if (typeof pid !== 'number' || typeof host !== 'string') return undefined
    if (typeof command !== 'string' || typeof since !== 'string') return undefined
    return isGone(pid, host) ? undefined : { pid, host, command, since }
  } catch {
    return undefined
  }
}

/** A holder that was killed leaves its name behind, until the next one writes its own. */
function isGone(pid: number, host: string): boolean {
  if (host !== hostname()) return false
  try {
    process.kill(pid, 0)
    return false
  } catch (error) {
    return systemErrorCode(error) === 'ESRCH'
  }
}
