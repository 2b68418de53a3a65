/**
 * Locks that the kernel holds for this process: however it dies, they are free at once, and nothing stale is left.
 * Neither needs a byte of disk space.
 *
 * Why not LevelDB's LOCK file, which we depend on anyway: opening a LevelDB writes a new MANIFEST (impossible on a
 * full disk), and its fcntl lock is lost as soon as the same process tries to open the same database once more,
 * because POSIX drops a process's fcntl locks when it closes *any* descriptor of the file.
 */

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { type FileHandle, mkdir, open, stat } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { messageOf, systemErrorCode } from '../errors.js'

export type LockAttempt =
  | { readonly state: 'held'; readonly release: () => Promise<void> }
  | { readonly state: 'busy' }
  | { readonly state: 'unavailable'; readonly reason: string }

/**
 * flock(2) on the folder itself: works between containers and needs no file. Node.js has no call for it, but the
 * lock belongs to the open file description, which a child shares: `flock -n 3` (util-linux, busybox) locks our
 * descriptor and exits, and the lock stays until we close it or die.
 */
export async function lockFolder(root: string): Promise<LockAttempt> {
  const onFolder = await lockOpenFile(await open(root, 'r'))
  if (onFolder.state !== 'unavailable') return onFolder
  // Network file systems lock files only. All processes there come this way, so they meet at the same file.
  try {
    await mkdir(join(root, 'lock'), { recursive: true })
    return await lockOpenFile(await open(join(root, 'lock', 'flock'), 'a'))
  } catch (error) {
    return { state: 'unavailable', reason: `${onFolder.reason}; ${messageOf(error)}` }
  }
}

async function lockOpenFile(file: FileHandle): Promise<LockAttempt> {
  const result = await runFlock(file.fd)
  if (result === 'locked') return { state: 'held', release: () => file.close() }
  await file.close()
  return result === 'busy' ? { state: 'busy' } : { state: 'unavailable', reason: result.failure }
}

async function runFlock(fd: number): Promise<'locked' | 'busy' | { failure: string }> {
  const child = spawn('flock', ['-x', '-n', '3'], { stdio: ['ignore', 'ignore', 'pipe', fd] })
  let complaint = ''
  // Piped, so it is there; the types cannot tell with a fourth descriptor.
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (complaint += text))
  try {
    const [status] = (await once(child, 'close')) as [number | null]
    if (status === 0) return 'locked'
    // Both programs say that it is taken with status 1 and not a word.
    if (status === 1 && complaint === '') return 'busy'
    return { failure: `flock: ${complaint.trim() || `exit status ${status ?? 'unknown'}`}` }
  } catch (error) {
    return { failure: messageOf(error) }
  }
}

/**
 * An abstract Unix socket named after the folder's device and inode (Linux). Needs no program and no file, but
 * reaches only processes in the same network namespace.
 */
export async function lockSocket(root: string): Promise<LockAttempt> {
  if (process.platform !== 'linux')
    return { state: 'unavailable', reason: 'abstract sockets are a Linux feature' }
  const { dev, ino } = await stat(root, { bigint: true })
  const server = createServer((socket) => socket.destroy())
  server.unref()
  try {
    // exclusive: a cluster worker would otherwise share the primary's socket.
    server.listen({ path: `\0everfold-${dev}-${ino}`, exclusive: true })
    await once(server, 'listening')
  } catch (error) {
    if (systemErrorCode(error) === 'EADDRINUSE') return { state: 'busy' }
    return { state: 'unavailable', reason: messageOf(error) }
  }
  return {
    state: 'held',
    release: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
      }),
  }
}
