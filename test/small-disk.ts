/** Disks that are full: a small tmpfs where one can be mounted (Linux, root), and a limit on the size of files everywhere. */

import { mkdir, rm, statfs, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { attempt } from './workspace.js'

export class SmallDisk {
  readonly path: string

  private constructor(path: string) {
    this.path = path
  }

  /** Mounts one of `bytes` at `path`, which is created. @returns undefined where nothing can be mounted */
  static async mount(path: string, bytes: number): Promise<SmallDisk | undefined> {
    await mkdir(path, { recursive: true })
    const mounted = attempt('mount', '-t', 'tmpfs', '-o', `size=${bytes}`, 'everfold-test', path)
    return mounted === undefined ? undefined : new SmallDisk(path)
  }

  async freeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(this.path)
    return bavail * bsize
  }

  /** Takes all space that is left. */
  async fill(): Promise<void> {
    await writeFile(join(this.path, 'filler'), Buffer.alloc(await this.freeBytes()))
  }

  async empty(): Promise<void> {
    await rm(join(this.path, 'filler'))
  }

  unmount(): void {
    attempt('umount', '-l', this.path)
  }
}

/** Can this machine mount a tmpfs? */
export const MOUNTS =
  attempt('unshare', '-m', 'mount', '-t', 'tmpfs', 'everfold-test', tmpdir()) !== undefined

/** Starts a program that may write no file larger than `kib` KiB: to it, the disk is full then (EFBIG). */
export function withFileLimit(kib: number): readonly string[] {
  return ['bash', '-c', `ulimit -f ${kib}; exec "$0" "$@"`]
}
