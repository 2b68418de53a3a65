import type { Stats } from 'node:fs'
import { type FileHandle, open, readFile, stat } from 'node:fs/promises'
import { EverfoldError, messageOf, systemErrorCode } from '../errors.js'
import { ByteExtents, totalBytes } from './byte-extents.js'
import { holesOf } from './holes.js'

/** A disk that is read for a backup. */
export interface DiskSource {
  /** For messages: a path. */
  readonly name: string
  readonly sizeBytes: number
  /** Of a file that holds just the bytes of the disk, open until {@link close}: threads may read from it themselves. */
  readonly descriptor?: number
  /** Fills all of `into` from `offset` on. @throws SOURCE_FAILED, SOURCE_CHANGED */
  read(into: Uint8Array, offset: number): Promise<void>
  /**
   * Ranges that read as zeros and need not be read: sorted, apart. Without it, whoever wants zeros looks for them.
   * @param grid  bytes: they begin and end on multiples of it, or at the disk's end
   * @throws SOURCE_FAILED
   */
  holes?(grid: number): Promise<ByteExtents>
  /** Is it as large as it was? To be asked at the end of a backup. @throws SOURCE_CHANGED */
  checkUnchanged(): Promise<void>
  close(): Promise<void>
}

/** Bytes of these disks that are going to be read, at most: what `changed` names, or all of a disk. */
export function bytesToRead(
  disks: readonly { readonly source: DiskSource; readonly changed: ByteExtents | undefined }[],
): number {
  let bytes = 0
  for (const { source, changed } of disks)
    bytes += changed === undefined ? source.sizeBytes : totalBytes(changed)
  return bytes
}

const SECTOR_BYTES = 512
const NO_EXTENTS = ByteExtents.from([])

/** A regular file or a block device. @throws SOURCE_FAILED */
export async function openDiskSource(path: string): Promise<DiskSource> {
  let file: FileHandle
  try {
    // To open a pipe would wait for whoever writes to it.
    requireDisk(path, await stat(path))
    file = await open(path, 'r')
  } catch (error) {
    if (error instanceof EverfoldError) throw error
    throw sourceFailed(path, error)
  }
  try {
    return new FileSource(path, file, await sizeOf(path, file))
  } catch (error) {
    await file.close()
    throw error
  }
}

class FileSource implements DiskSource {
  readonly name: string
  readonly sizeBytes: number
  readonly #file: FileHandle

  constructor(path: string, file: FileHandle, sizeBytes: number) {
    this.name = path
    this.#file = file
    this.sizeBytes = sizeBytes
  }

  get descriptor(): number {
    return this.#file.fd
  }

  async read(into: Uint8Array, offset: number): Promise<void> {
    for (let done = 0; done < into.length; ) {
      let count: number
      try {
        count = (await this.#file.read(into, done, into.length - done, offset + done)).bytesRead
      } catch (error) {
        throw sourceFailed(this.name, error)
      }
      if (count === 0)
        throw changed(this.name, this.sizeBytes, Math.min(offset + done, await sizeOf(this.name, this.#file)))
      done += count
    }
  }

  async holes(grid: number): Promise<ByteExtents> {
    try {
      const status = await this.#file.stat()
      if (!status.isFile() || status.blocks * SECTOR_BYTES >= status.size) return NO_EXTENTS
      if (!(await this.#sync())) return NO_EXTENTS
      return await holesOf(this.#file.fd, this.sizeBytes, grid)
    } catch (error) {
      throw sourceFailed(this.name, error)
    }
  }

  /**
   * Some file systems told what was just written for a hole, until it was on the disk (OpenZFS, issue 15526).
   * @returns false if it cannot be told: some that are only read, such as SquashFS, refuse it with EINVAL
   */
  async #sync(): Promise<boolean> {
    return this.#file.datasync().then(
      () => true,
      () => false,
    )
  }

  async checkUnchanged(): Promise<void> {
    const now = await sizeOf(this.name, this.#file)
    if (now < this.sizeBytes) throw changed(this.name, this.sizeBytes, now)
  }

  close(): Promise<void> {
    return this.#file.close()
  }
}

async function sizeOf(path: string, file: FileHandle): Promise<number> {
  const status = await file.stat()
  requireDisk(path, status)
  return status.isFile() ? status.size : blockDeviceSize(path, status.rdev)
}

/** @throws SOURCE_FAILED */
function requireDisk(path: string, status: Stats): void {
  if (status.isFile() || status.isBlockDevice()) return
  throw new EverfoldError('SOURCE_FAILED', `${path} is neither a file nor a block device.`, {
    details: { path },
  })
}

/**
 * Bytes of the block device with this number.
 * Linux says it in sectors of 512 bytes, whatever the device's own (Documentation/block/stat.rst).
 * @throws SOURCE_FAILED
 */
export async function blockDeviceSize(path: string, device: number): Promise<number> {
  // How the C library packs major and minor into a device number: gnu_dev_major(3).
  const major = ((device / 2 ** 8) & 0xfff) + (Math.floor(device / 2 ** 32) & 0xfffff000)
  const minor = (device & 0xff) + ((device / 2 ** 12) & 0xffffff00)
  try {
    return Number(await readFile(`/sys/dev/block/${major}:${minor}/size`, 'utf8')) * SECTOR_BYTES
  } catch (error) {
    throw sourceFailed(path, error)
  }
}

function sourceFailed(path: string, error: unknown): EverfoldError {
  const why = systemErrorCode(error) === 'ENOENT' ? 'there is no such file' : messageOf(error)
  return new EverfoldError('SOURCE_FAILED', `Cannot read ${path}: ${why}. No point was made.`, {
    cause: error,
    details: { path },
  })
}

function changed(path: string, expected: number, actual: number): EverfoldError {
  return new EverfoldError(
    'SOURCE_CHANGED',
    `${path} shrank from ${expected} to ${actual} bytes while it was read. No point was made; back up a snapshot of it instead.`,
    { details: { path, expectedBytes: expected, actualBytes: actual } },
  )
}
