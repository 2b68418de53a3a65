/** A temporary folder with a repository and disk images in it. */

import { execFileSync } from 'node:child_process'
import { mkdtemp, open, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { expect } from 'vitest'
import { type ErrorCode } from '../src/errors.js'
import { type Failure, fail, type Json, type RunOptions, succeed } from './everfold.js'

export type Extent = readonly [offset: number, length: number]

export class Workspace {
  readonly folder: string
  readonly repo: string
  readonly options: RunOptions
  #names = 0

  private constructor(folder: string, env: Readonly<Record<string, string>>) {
    this.folder = folder
    this.repo = join(folder, 'repo')
    this.options = {
      cwd: folder,
      env: { EVERFOLD_REPO: this.repo, EVERFOLD_CACHE: join(folder, 'cache'), ...env },
    }
  }

  /**
   * @param init  arguments for `everfold init`
   * @param env  variables that its commands see, such as EVERFOLD_REPO for a repository elsewhere
   */
  static async make(
    init: readonly string[] | 'no repository' = [],
    env: Readonly<Record<string, string>> = {},
  ): Promise<Workspace> {
    const workspace = new Workspace(await mkdtemp(join(tmpdir(), 'everfold-test-')), env)
    if (init !== 'no repository') await workspace.ok('init', ...init)
    return workspace
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true })
  }

  path(name: string): string {
    return join(this.folder, name)
  }

  /** A name that was not used before. */
  fresh(kind: string): string {
    return `${kind}-${++this.#names}`
  }

  /** Runs a command that has to succeed. @returns its JSON */
  ok(...args: readonly string[]): Promise<Json> {
    return succeed(args, this.options)
  }

  /** Runs a command that has to fail with `code`. */
  fails(code: ErrorCode, ...args: readonly string[]): Promise<Failure> {
    return fail(code, args, this.options)
  }

  async write(name: string, bytes: Uint8Array | string): Promise<string> {
    await writeFile(this.path(name), bytes)
    return name
  }

  /** A file with holes wherever a block of 4 KiB is zero. */
  async writeSparse(name: string, bytes: Uint8Array): Promise<string> {
    await this.write(name, '')
    await truncate(this.path(name), bytes.length)
    const file = await open(this.path(name), 'r+')
    for (let at = 0; at < bytes.length; at += 4096) {
      const block = bytes.subarray(at, at + 4096)
      if (block.some((byte) => byte !== 0)) await file.write(block, 0, block.length, at)
    }
    await file.close()
    return name
  }

  /** Writes a feed of the plain shape. */
  feed(extents: readonly Extent[]): Promise<string> {
    return this.write(
      this.fresh('feed'),
      JSON.stringify(extents.map(([offset, length]) => ({ offset, length }))),
    )
  }

  /** Writes a feed as VMware answers it. */
  vmwareFeed(diskBytes: number, extents: readonly Extent[]): Promise<string> {
    const changedArea = extents.map(([start, length]) => ({ start, length }))
    return this.write(this.fresh('feed'), JSON.stringify({ startOffset: 0, length: diskBytes, changedArea }))
  }

  /** Restores a disk and gives its bytes. */
  async restored(machine: string, point: string, disk = 'vda'): Promise<Buffer> {
    const out = this.fresh('restored')
    await this.ok('restore', machine, point, `${disk}=${out}`)
    return this.#take(out)
  }

  async #take(name: string): Promise<Buffer> {
    const bytes = await readFile(this.path(name))
    await rm(this.path(name))
    return bytes
  }

  /** Expects that a point's disk is these bytes. */
  async expectDisk(machine: string, point: string, bytes: Uint8Array, disk = 'vda'): Promise<void> {
    expectSame(await this.restored(machine, point, disk), bytes, `${disk} of ${machine} at ${point}`)
  }

  /** The same of several disks, restored together. */
  async expectDisks(
    machine: string,
    point: string,
    disks: Readonly<Record<string, Uint8Array>>,
  ): Promise<void> {
    const pairs = Object.entries(disks).map(([id, bytes]) => ({ id, bytes, out: this.fresh('restored') }))
    await this.ok('restore', machine, point, ...pairs.map(({ id, out }) => `${id}=${out}`))
    for (const { id, bytes, out } of pairs)
      expectSame(await this.#take(out), bytes, `${id} of ${machine} at ${point}`)
  }

  /** Every object of the store with size, time of change and inode: what "nothing changed" means. */
  async listing(): Promise<string[]> {
    const lines: string[] = []
    for (const path of await this.objects()) {
      const { size, mtimeNs, ino } = await stat(join(this.repo, path), { bigint: true })
      lines.push(`${path} ${size} ${mtimeNs} ${ino}`)
    }
    return lines
  }

  /** Paths of the store's objects (not of index, lock and temporary files), sorted. */
  async objects(): Promise<string[]> {
    const paths = (await readdir(this.repo, { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.isFile())
      .map((entry) => relative(this.repo, join(entry.parentPath, entry.name)))
    return paths.filter((path) => !/^(?:index|lock|tmp)\//.test(path)).sort()
  }
}

/** Expects equal bytes, and on failure names the first that differs instead of printing megabytes. */
export function expectSame(actual: Uint8Array, expected: Uint8Array, what: string): void {
  if (Buffer.compare(actual, expected) === 0) return
  const at = expected.findIndex((byte, i) => actual[i] !== byte)
  expect.fail(`${what}: ${actual.length} bytes instead of ${expected.length}, first difference at ${at}`)
}

/** Bytes that a file takes on its disk. */
export async function allocatedBytes(path: string): Promise<number> {
  return (await stat(path)).blocks * 512
}

/** Runs a program and gives its standard output, or undefined where that does not work (not there, not root). */
export function attempt(program: string, ...args: readonly string[]): string | undefined {
  try {
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return undefined
  }
}
