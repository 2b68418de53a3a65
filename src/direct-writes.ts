import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { ALIGNED_BLOCK, isAligned, withAlignedMemory } from './aligned-memory.js'
import { systemErrorCode } from './errors.js'
import { copyParts } from './parts.js'

/** Fewer bytes at once are better written through the page cache. */
export const DIRECT_BYTES_MIN = 256 * 1024

/** Linux has it; elsewhere everything goes through the page cache. */
const O_DIRECT = constants.O_DIRECT as number | undefined

/**
 * Opens a file that is there for {@link writeDirectly}.
 * @returns undefined where nothing goes past the page cache
 */
export async function openDirectly(path: string): Promise<FileHandle | undefined> {
  if (O_DIRECT === undefined) return undefined
  try {
    return await open(path, constants.O_WRONLY | O_DIRECT)
  } catch (error) {
    // Some file systems have no way past it, and say so here.
    if (isUnsupported(error)) return undefined
    throw error
  }
}

/**
 * Writes past the page cache, in whole blocks: for what is synced at once and seldom read soon. Copying it into the cache costs more
 * time of a processor than all else that becomes of it, and takes room from what is read again.
 * @param offset  a multiple of {@link ALIGNED_BLOCK}
 * @returns bytes written: what is left must go another way; none where this cannot be done
 */
export async function writeDirectly(
  file: FileHandle,
  parts: readonly Uint8Array[],
  offset: number,
): Promise<number> {
  const [only] = parts
  // What lies as it has to lie is written from there.
  if (parts.length === 1 && only !== undefined && isAligned(only)) return writeWhole(file, only, offset)
  return withAlignedMemory(async (memory) => {
    let written = 0
    for (;;) {
      const length = copyParts(parts, written, memory)
      const taken = await writeWhole(file, memory.subarray(0, length), offset + written)
      written += taken
      if (taken < memory.length) return written
    }
  })
}

/** Writes the whole blocks of what begins on one. @returns bytes written: of whole blocks, maybe not all */
async function writeWhole(file: FileHandle, bytes: Uint8Array, offset: number): Promise<number> {
  const whole = bytes.length - (bytes.length % ALIGNED_BLOCK)
  if (whole === 0) return 0
  try {
    const { bytesWritten } = await file.write(bytes, 0, whole, offset)
    return bytesWritten - (bytesWritten % ALIGNED_BLOCK)
  } catch (error) {
    // Disks with larger blocks, and some file systems, say it only now.
    if (isUnsupported(error)) return 0
    throw error
  }
}

function isUnsupported(error: unknown): boolean {
  const code = systemErrorCode(error)
  return code === 'EINVAL' || code === 'EOPNOTSUPP'
}
