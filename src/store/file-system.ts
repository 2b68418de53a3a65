import { constants } from 'node:fs'
import { link, mkdir, open, readdir, rename, rmdir, stat, unlink } from 'node:fs/promises'
import { skipBytes } from '../parts.js'
import { NewFile } from './new-file.js'

/** The calls that a local store makes, so that tests can record them, drop unsynced writes or fill the disk. */
export interface FileSystem {
  /** 'read' an existing file or folder, or 'create' a file that must not exist (EEXIST). */
  open(path: string, how: 'read' | 'create'): Promise<OpenFile>
  /** A second name for a file. EEXIST if the name is taken: that is what makes a put exclusive. */
  link(existing: string, added: string): Promise<void>
  rename(from: string, to: string): Promise<void>
  unlink(path: string): Promise<void>
  /** One folder, in a parent that exists. */
  mkdir(path: string): Promise<void>
  /** An empty folder. ENOTEMPTY (or EEXIST) if it is not. */
  rmdir(path: string): Promise<void>
  readdir(path: string): Promise<readonly FolderEntry[]>
  stat(path: string): Promise<FileStatus>
}

/** What is used of a `FileHandle`. */
export interface OpenFile {
  /** By which any thread of this process can read it; there is none where files are simulated. */
  readonly fd?: number
  read(target: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesRead: number }>
  writev(parts: readonly Uint8Array[]): Promise<{ bytesWritten: number }>
  stat(): Promise<FileStatus>
  sync(): Promise<void>
  close(): Promise<void>
}

export interface FileStatus {
  readonly size: number
  /** Device and inode: together they tell whether a path still leads to the same folder. */
  readonly dev: number
  readonly ino: number
  isFile(): boolean
  isDirectory(): boolean
}

export interface FolderEntry {
  readonly name: string
  isFile(): boolean
  isDirectory(): boolean
}

// A store holds whole disks: nobody but its owner reads it, unless the owner opens it up.
const FILE_MODE = 0o600
const FOLDER_MODE = 0o700

export const realFileSystem: FileSystem = {
  open: async (path, how) =>
    how === 'read'
      ? open(path, 'r')
      : new NewFile(
          path,
          await open(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, FILE_MODE),
        ),
  link,
  rename,
  unlink,
  mkdir: (path) => mkdir(path, FOLDER_MODE),
  rmdir,
  readdir: (path) => readdir(path, { withFileTypes: true }),
  stat: (path) => stat(path),
}

/** Puts a file's bytes, or a folder's names, on stable storage. */
export async function sync(fileSystem: FileSystem, path: string): Promise<void> {
  const file = await fileSystem.open(path, 'read')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

/**
 * Writes `parts` one after the other, without joining them first.
 * @throws what the system says; ENOSPC may come after some of the bytes were written.
 */
export async function writeParts(file: OpenFile, parts: readonly Uint8Array[]): Promise<void> {
  let rest = parts.filter((part) => part.length > 0)
  while (rest.length > 0) {
    // libuv splits what is more than one writev(2) takes (IOV_MAX parts).
    const { bytesWritten } = await file.writev(rest)
    if (bytesWritten === 0) throw new Error('The system wrote nothing and gave no reason')
    rest = skipBytes(rest, bytesWritten)
  }
}
