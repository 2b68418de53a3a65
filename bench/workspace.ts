import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { mkdir, realpath } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Where a benchmark keeps what it can use again, and what it throws away. */
export interface Workspace {
  /** Kept between runs: images. */
  readonly cache: string
  /** Empty at first, removed at the end. */
  readonly scratch: string
}

/** What to do about a lack of space. */
export const spaceAdvice = 'set EVERFOLD_BENCH_DIR to a folder with more room'

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

/** Benchmarks share images that they change in place: one at a time. */
function lock(path: string): void {
  if (existsSync(path)) {
    const pid = Number(readFileSync(path, 'utf8'))
    if (alive(pid)) {
      throw new Error(`Another benchmark (process ${pid}) is running: wait for it, or end it`)
    }
    rmSync(path)
  }
  writeFileSync(path, `${process.pid}`, { flag: 'wx' })
}

/**
 * Opens the workspace in `EVERFOLD_BENCH_DIR` (default: `everfold-bench` in the folder for temporary files), outside
 * the repository. Its scratch folder disappears with this process, also when that is interrupted.
 */
export async function openWorkspace(): Promise<Workspace> {
  const wanted = process.env['EVERFOLD_BENCH_DIR'] ?? join(tmpdir(), 'everfold-bench')
  await mkdir(wanted, { recursive: true, mode: 0o700 })
  const cache = await realpath(wanted)
  const lockPath = join(cache, 'lock')
  lock(lockPath)
  rmSync(join(cache, 'scratch'), { recursive: true, force: true })
  const scratch = join(cache, 'scratch')
  await mkdir(scratch)
  process.once('exit', () => {
    rmSync(scratch, { recursive: true, force: true, maxRetries: 5 })
    rmSync(lockPath, { force: true })
  })
  return { cache, scratch }
}
