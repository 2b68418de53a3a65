import { readSync } from 'node:fs'

/** As {@link readWhole}: files are simulated now and then. */
export type ReadWhole = (file: number, into: Uint8Array, offset: number) => boolean

/** Fills `into` from an open file. @returns false if the file ends before, or cannot be read: whoever asked reads it again another way, and hears why */
export function readWhole(file: number, into: Uint8Array, offset: number): boolean {
  try {
    for (let filled = 0; filled < into.length; ) {
      const bytesRead = readSync(file, into, filled, into.length - filled, offset + filled)
      if (bytesRead === 0) return false
      filled += bytesRead
    }
    return true
  } catch {
    return false
  }
}
