import { accessSync, constants, type Dirent, existsSync, lstatSync, readdirSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { repositoryRoot } from './paths.js'

/** A regular file of this machine. */
export interface RealFile {
  readonly path: string
  /** What it takes in an ext4 filesystem, in bytes: whole blocks. */
  readonly bytes: number
}

const filesystemBlock = 4096

/** A file larger than this share of what is asked for would make the data less varied than a real disk's. */
const fileShareMax = 1 / 4

/** Programs, libraries, documents and sources, as every Linux machine has them; what is private lies elsewhere. */
const roots = ['/usr', '/lib', '/opt', join(repositoryRoot, 'node_modules')]

function entries(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
  } catch {
    return [] // not ours to read
  }
}

function readable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK)
    return true
  } catch {
    return false
  }
}

/** Roots that are there, without those that lie in another one. */
function distinctRoots(): string[] {
  const present = new Set(roots.filter((root) => existsSync(root)).map((root) => realpathSync(root)))
  return [...present].filter((root) => ![...present].some((other) => root.startsWith(`${other}/`)))
}

function* walkAll(folders: readonly string[]): Generator<string> {
  for (const folder of folders) yield* walk(folder)
}

function* walk(folder: string): Generator<string> {
  for (const entry of entries(folder).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) yield* walk(path)
    else if (entry.isFile()) yield path
  }
}

/**
 * Finds regular files of this machine that may be read, in a fixed order, each inode once.
 *
 * @param bytes  About how much is wanted; less comes back where the machine has less.
 */
export function realFiles(bytes: number): RealFile[] {
  const files: RealFile[] = []
  const inodes = new Set<string>()
  let total = 0
  for (const path of walkAll(distinctRoots())) {
    if (total >= bytes) break
    const status = lstatSync(path, { throwIfNoEntry: false })
    if (status === undefined || status.size === 0 || status.size > bytes * fileShareMax) continue
    const inode = `${status.dev}:${status.ino}`
    if (inodes.has(inode) || !readable(path)) continue
    inodes.add(inode)
    const needed = Math.ceil(status.size / filesystemBlock) * filesystemBlock
    files.push({ path, bytes: needed })
    total += needed
  }
  return files
}

/** Bytes that these files take in a filesystem. */
export function totalBytes(files: readonly RealFile[]): number {
  return files.reduce((sum, file) => sum + file.bytes, 0)
}
