/**
 * A file system in memory that remembers what was synced, so that a power cut can be had at any step. Knows only
 * what a `FileSystem` must: one level of truth now (names, bytes) and one that survives (what was synced).
 */

import { basename, dirname } from 'node:path'
import type { FileStatus, FileSystem, FolderEntry, OpenFile } from '../store/file-system.js'

/** What a power cut does to what was not synced. Real disks do either, or anything between. */
export type PowerCut = 'loses all that is not synced' | 'keeps names, loses their bytes' | Survival

/** Decides, one by one, what survives of that which was not synced. */
export interface Survival {
  /** Does a name that was added, removed or changed without a sync stay as it was last? */
  changedName(path: string): boolean
  /** What is found in a file whose last bytes were not synced. */
  changedBytes(synced: Buffer, last: Buffer): Buffer
}

const LOSES_ALL: Survival = { changedName: () => false, changedBytes: (synced) => synced }
const KEEPS_NAMES: Survival = { changedName: () => true, changedBytes: (synced) => synced }

type Inode = FileNode | FolderNode

interface FileNode {
  readonly kind: 'file'
  readonly ino: number
  bytes: Buffer
  syncedBytes: Buffer
}

interface FolderNode {
  readonly kind: 'folder'
  readonly ino: number
  names: Map<string, Inode>
  syncedNames: Map<string, Inode>
}

export class VolatileFileSystem implements FileSystem {
  /** Calls made so far: each is a step before which the power may be cut. */
  steps = 0
  /** The power is cut instead of this step; every later call fails as well. */
  cutAtStep = Infinity
  /** Called before each step; may wait, to hold a call up. */
  before: (call: string, path: string) => Promise<void> | void = () => {}
  hardLinks = true
  /** Files that were made and not closed yet. */
  readonly #unclosed = new Set<Inode>()
  #inodes = 0
  #root = this.#newFolder()

  /** The power is back: what survived is what there is. */
  restart(cut: PowerCut): void {
    const survival =
      cut === 'loses all that is not synced'
        ? LOSES_ALL
        : cut === 'keeps names, loses their bytes'
          ? KEEPS_NAMES
          : cut
    survive(this.#root, '', survival, new Set())
    this.cutAtStep = Infinity
    this.before = () => {}
  }

  async open(path: string, how: 'read' | 'create'): Promise<OpenFile> {
    await this.#step(`open to ${how}`, path)
    if (how === 'create')
      this.#add(path, { kind: 'file', ino: ++this.#inodes, bytes: NONE, syncedBytes: NONE })
    const inode = this.#find(path)
    if (how === 'create') this.#unclosed.add(inode)
    return {
      read: async (target, offset, length, position) => {
        await this.#step('read', path)
        const bytes = fileOf(inode).bytes.subarray(position, position + length)
        target.set(bytes, offset)
        return { bytesRead: bytes.length }
      },
      writev: async (parts) => {
        await this.#step('write', path)
        const file = fileOf(inode)
        file.bytes = Buffer.concat([file.bytes, ...parts])
        return { bytesWritten: parts.reduce((sum, part) => sum + part.length, 0) }
      },
      stat: async () => statusOf(inode),
      sync: async () => {
        await this.#step('sync', path)
        if (inode.kind === 'file') inode.syncedBytes = inode.bytes
        else inode.syncedNames = new Map(inode.names)
      },
      close: async () => {
        if (how === 'create') this.#unclosed.delete(inode)
      },
    }
  }

  /** Files that whoever made them did not close. */
  get unclosed(): number {
    return this.#unclosed.size
  }

  /** The system closes what a process that died had open. */
  closeAll(): void {
    this.#unclosed.clear()
  }

  async link(existing: string, added: string): Promise<void> {
    await this.#step('link', added)
    if (!this.hardLinks) throw systemError('EPERM', added)
    this.#add(added, this.#find(existing))
  }

  async rename(from: string, to: string): Promise<void> {
    await this.#step('rename', to)
    const inode = this.#find(from)
    this.#folder(dirname(from)).names.delete(basename(from))
    this.#folder(dirname(to)).names.set(basename(to), inode)
  }

  async unlink(path: string): Promise<void> {
    await this.#step('unlink', path)
    this.#find(path)
    this.#folder(dirname(path)).names.delete(basename(path))
  }

  async mkdir(path: string): Promise<void> {
    await this.#step('mkdir', path)
    this.#add(path, this.#newFolder())
  }

  async rmdir(path: string): Promise<void> {
    await this.#step('rmdir', path)
    if (this.#folder(path).names.size > 0) throw systemError('ENOTEMPTY', path)
    this.#folder(dirname(path)).names.delete(basename(path))
  }

  async readdir(path: string): Promise<FolderEntry[]> {
    await this.#step('readdir', path)
    return [...this.#folder(path).names].map(([name, inode]) => ({ name, ...statusOf(inode) }))
  }

  async stat(path: string): Promise<FileStatus> {
    await this.#step('stat', path)
    return statusOf(this.#find(path))
  }

  /** Paths of all files, sorted. */
  files(): string[] {
    const found: string[] = []
    const walk = (folder: FolderNode, path: string): void => {
      for (const [name, inode] of folder.names)
        if (inode.kind === 'folder') walk(inode, `${path}/${name}`)
        else found.push(`${path}/${name}`)
    }
    walk(this.#root, '')
    return found.sort()
  }

  /** Flips one bit of a file where it lies, synced or not. */
  rot(path: string, bit: number): void {
    const file = fileOf(this.#find(path))
    const bytes = Buffer.from(file.bytes)
    const at = Math.floor(bit / 8) % Math.max(1, bytes.length)
    bytes[at] = (bytes[at] ?? 0) ^ (1 << (bit % 8))
    file.bytes = bytes
    file.syncedBytes = bytes
  }

  async #step(call: string, path: string): Promise<void> {
    await this.before(call, path)
    if (++this.steps >= this.cutAtStep) throw systemError('EIO', `${call} ${path}: the power is cut`)
  }

  #newFolder(): FolderNode {
    return { kind: 'folder', ino: ++this.#inodes, names: new Map(), syncedNames: new Map() }
  }

  #add(path: string, inode: Inode): void {
    const { names } = this.#folder(dirname(path))
    if (names.has(basename(path))) throw systemError('EEXIST', path)
    names.set(basename(path), inode)
  }

  #folder(path: string): FolderNode {
    const inode = this.#find(path)
    if (inode.kind !== 'folder') throw systemError('ENOTDIR', path)
    return inode
  }

  #find(path: string): Inode {
    if (path === '/') return this.#root
    const inode = this.#folder(dirname(path)).names.get(basename(path))
    if (inode === undefined) throw systemError('ENOENT', path)
    return inode
  }
}

const NONE = Buffer.alloc(0)

function survive(folder: FolderNode, path: string, survival: Survival, seen: Set<Inode>): void {
  for (const name of new Set([...folder.syncedNames.keys(), ...folder.names.keys()])) {
    const synced = folder.syncedNames.get(name)
    if (folder.names.get(name) === synced || survival.changedName(`${path}/${name}`)) continue
    if (synced === undefined) folder.names.delete(name)
    else folder.names.set(name, synced)
  }
  folder.syncedNames = new Map(folder.names)
  for (const [name, inode] of folder.names) {
    // A file with two names has lost its bytes once.
    if (seen.has(inode)) continue
    seen.add(inode)
    if (inode.kind === 'folder') survive(inode, `${path}/${name}`, survival, seen)
    else {
      if (inode.bytes !== inode.syncedBytes)
        inode.bytes = survival.changedBytes(inode.syncedBytes, inode.bytes)
      inode.syncedBytes = inode.bytes
    }
  }
}

function fileOf(inode: Inode): FileNode {
  if (inode.kind !== 'file') throw systemError('EISDIR', '')
  return inode
}

function statusOf(inode: Inode): FileStatus {
  return {
    size: inode.kind === 'file' ? inode.bytes.length : 0,
    dev: 1,
    ino: inode.ino,
    isFile: () => inode.kind === 'file',
    isDirectory: () => inode.kind === 'folder',
  }
}

export function systemError(code: string, message: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: ${message}`), { code })
}
