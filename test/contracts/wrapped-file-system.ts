import { execFileSync } from 'node:child_process'
import { systemError } from '../../src/simulate/volatile-file-system.js'
import { type FileSystem, type OpenFile, realFileSystem } from '../../src/store/file-system.js'

/** A folder on a disk that is soon full. */
export interface SmallDisk {
  readonly fileSystem: FileSystem
  grow(): void
  unmount(): void
}

const MIB = 1024 * 1024

/** A real disk of 4 MiB (Linux, root), or undefined where nothing can be mounted. */
export function mountSmallDisk(folder: string): SmallDisk | undefined {
  const tmpfs = ['-t', 'tmpfs', '-o', 'size=4m', 'everfold-test', folder]
  try {
    execFileSync('mount', tmpfs, { stdio: 'ignore' })
  } catch {
    return undefined
  }
  return {
    fileSystem: realFileSystem,
    grow: () => execFileSync('mount', ['-o', 'remount,size=16m', folder]),
    unmount: () => execFileSync('umount', ['-l', folder]),
  }
}

/** The real file system, but it takes 4 MiB only, and gives back what is removed. */
export function simulateSmallDisk(): SmallDisk {
  const sizes = new Map<string, number>()
  let capacity = 4 * MIB
  const fileSystem = wrapFileSystem({
    opened: (file, path) => ({
      ...file,
      writev: async (parts) => {
        const used = [...sizes.values()].reduce((sum, size) => sum + size, 0)
        const bytes = parts.reduce((sum, part) => sum + part.length, 0)
        if (used + bytes > capacity) throw systemError('ENOSPC', path)
        sizes.set(path, (sizes.get(path) ?? 0) + bytes)
        return file.writev(parts)
      },
    }),
    calls: {
      link: async (existing, added) => {
        await realFileSystem.link(existing, added)
        sizes.set(added, sizes.get(existing) ?? 0)
        sizes.set(existing, 0)
      },
      unlink: async (path) => {
        await realFileSystem.unlink(path)
        sizes.delete(path)
      },
    },
  })
  return { fileSystem, grow: () => (capacity *= 4), unmount: () => {} }
}

/** The real file system, with some calls replaced, and what `opened` makes of each file. */
export function wrapFileSystem(changes: {
  opened?: (file: OpenFile, path: string, how: 'read' | 'create') => OpenFile
  calls?: Partial<FileSystem>
}): FileSystem {
  return {
    ...realFileSystem,
    open: async (path, how) => {
      const real = await realFileSystem.open(path, how)
      const file: OpenFile = {
        read: (...range) => real.read(...range),
        writev: (parts) => real.writev(parts),
        stat: () => real.stat(),
        sync: () => real.sync(),
        close: () => real.close(),
      }
      return changes.opened?.(file, path, how) ?? file
    },
    ...changes.calls,
  }
}
