import { open } from 'node:fs/promises'
import { KiB, MiB } from './image.js'

/** A run of changed bytes, in the plain form of a changed-block feed. */
export interface ChangedExtent {
  readonly offset: number
  readonly length: number
}

/** What hypervisors record changes in: QEMU's default bitmap granularity. */
export const feedBlockBytes = 64 * KiB

const readBytes = 4 * MiB

/**
 * Finds what a hypervisor would have recorded, by comparing a disk with its previous state.
 *
 * @returns Sorted extents of whole blocks (the last one of a disk may be short); neighbours are joined.
 */
export async function compareImages(beforePath: string, afterPath: string): Promise<ChangedExtent[]> {
  const before = await open(beforePath)
  const after = await open(afterPath)
  try {
    const extents: ChangedExtent[] = []
    const left = Buffer.alloc(readBytes)
    const right = Buffer.alloc(readBytes)
    for (let base = 0; ; base += readBytes) {
      const leftBytes = (await before.read(left, 0, readBytes, base)).bytesRead
      const rightBytes = (await after.read(right, 0, readBytes, base)).bytesRead
      if (rightBytes === 0) return extents
      for (let at = 0; at < rightBytes; at += feedBlockBytes) {
        const end = Math.min(at + feedBlockBytes, rightBytes)
        if (end <= leftBytes && left.compare(right, at, end, at, end) === 0) continue
        const last = extents.at(-1)
        if (last !== undefined && last.offset + last.length === base + at) {
          extents[extents.length - 1] = { offset: last.offset, length: last.length + end - at }
        } else extents.push({ offset: base + at, length: end - at })
      }
    }
  } finally {
    await before.close()
    await after.close()
  }
}
