import { randomBytes } from 'node:crypto'
import { type FileHandle, lstat, open, realpath, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { EverfoldError, messageOf, systemErrorCode } from '../errors.js'
import { blockDeviceSize } from '../feed/disk-source.js'
import { DiskFile } from './disk-file.js'
import type { DiskTarget } from './restore.js'

const ZERO_BLOCK = new Uint8Array(1024 * 1024)

/** A file or block device that a disk is restored to; nothing is seen under its name before {@link finish}. */
export interface FinishableTarget extends DiskTarget {
  /** All is written: makes it durable and gives it its name. */
  finish(): Promise<void>
  /** It failed: removes what was written. */
  abandon(): Promise<void>
}

/**
 * A new file beside `path`, sparse, renamed to it at the end; or a block device, written in place.
 * @param announce  told the temporary name before there is such a file, for whoever has to end in a hurry
 * @throws TARGET_EXISTS unless `force`; TARGET_FULL, TARGET_FAILED
 */
export async function openFileTarget(
  path: string,
  sizeBytes: number,
  force: boolean,
  announce: (temporary: string) => void = () => undefined,
): Promise<FinishableTarget> {
  try {
    const found = await orAbsent(stat(path))
    // A link that leads nowhere is there all the same.
    if (!force && (found ?? (await orAbsent(lstat(path)))) !== undefined)
      throw new EverfoldError(
        'TARGET_EXISTS',
        `${path} exists. Give another name, or --force to overwrite it.`,
        {
          details: { path },
        },
      )
    if (found?.isBlockDevice() === true) {
      refuseSmallDevice(path, await blockDeviceSize(path, found.rdev), sizeBytes)
      return new InPlaceTarget(path, await open(path, 'r+'))
    }
    if (found !== undefined && !found.isFile())
      throw new EverfoldError('TARGET_FAILED', `${path} is neither a file nor a block device.`, {
        details: { path },
      })
    // What a link leads to is overwritten, not the link.
    const real = found === undefined ? path : await realpath(path)
    const temporary = join(dirname(real), `.${basename(real)}.${randomBytes(6).toString('hex')}.partial`)
    announce(temporary)
    const file = await open(temporary, 'wx', 0o600)
    const target = new NewFileTarget(real, temporary, file, force)
    try {
      await file.truncate(sizeBytes)
    } catch (error) {
      await target.abandon()
      throw error
    }
    return target
  } catch (error) {
    throw targetFailed(path, error)
  }
}

class NewFileTarget implements FinishableTarget {
  readonly #path: string
  readonly #temporary: string
  readonly #file: FileHandle
  readonly #disk: DiskFile
  readonly #force: boolean
  readonly #writeBack: WriteBack

  constructor(path: string, temporary: string, file: FileHandle, force: boolean) {
    this.#path = path
    this.#temporary = temporary
    this.#file = file
    this.#disk = new DiskFile(temporary, file)
    this.#force = force
    this.#writeBack = new WriteBack(file)
  }

  async write(bytes: Uint8Array, offset: number): Promise<void> {
    this.#writeBack.wrote(await writeFully(this.#path, this.#disk, bytes, offset))
  }

  /** The file is new and has its full length: what is not written is a hole. */
  zeros(): Promise<void> {
    return Promise.resolve()
  }

  async finish(): Promise<void> {
    try {
      await this.#writeBack.finish()
      await this.#disk.close()
      await this.#file.sync()
      await this.#file.close()
      if (!this.#force && (await orAbsent(lstat(this.#path))) !== undefined)
        throw new EverfoldError('TARGET_EXISTS', `${this.#path} appeared meanwhile; it was not overwritten.`)
      await rename(this.#temporary, this.#path)
      const folder = await open(dirname(this.#path), 'r')
      await folder.sync().finally(() => folder.close())
    } catch (error) {
      await rm(this.#temporary, { force: true })
      throw targetFailed(this.#path, error)
    }
  }

  async abandon(): Promise<void> {
    await this.#writeBack.finish().catch(() => undefined)
    await this.#disk.close().catch(() => undefined)
    await this.#file.close().catch(() => undefined)
    await rm(this.#temporary, { force: true })
  }
}

/** Written bytes after which the disk is asked to take them, while more are on their way: the last sync then is short. */
const WRITE_BACK_BYTES = 128 * 1024 * 1024

/** Syncs a file now and then as it is written, once at a time, in the background. */
class WriteBack {
  readonly #file: FileHandle
  #unsynced = 0
  #running: Promise<void> | undefined
  #failure: { readonly error: unknown } | undefined

  constructor(file: FileHandle) {
    this.#file = file
  }

  wrote(bytes: number): void {
    this.#unsynced += bytes
    if (this.#unsynced < WRITE_BACK_BYTES || this.#running !== undefined) return
    this.#unsynced = 0
    this.#running = this.#file
      .datasync()
      .catch((error: unknown) => {
        this.#failure ??= { error }
      })
      .finally(() => {
        this.#running = undefined
      })
  }

  /** Waits for the sync under way. @throws what any of them threw: the system reports a lost write only once */
  async finish(): Promise<void> {
    await this.#running
    if (this.#failure !== undefined) throw this.#failure.error
  }
}

/** Writes to what is there already. */
export class InPlaceTarget implements FinishableTarget {
  readonly #path: string
  readonly #file: FileHandle
  readonly #disk: DiskFile

  constructor(path: string, file: FileHandle) {
    this.#path = path
    this.#file = file
    this.#disk = new DiskFile(path, file)
  }

  async write(bytes: Uint8Array, offset: number): Promise<void> {
    await writeFully(this.#path, this.#disk, bytes, offset)
  }

  async zeros(offset: number, length: number): Promise<void> {
    for (let done = 0; done < length; done += ZERO_BLOCK.length)
      await this.write(ZERO_BLOCK.subarray(0, Math.min(ZERO_BLOCK.length, length - done)), offset + done)
  }

  async finish(): Promise<void> {
    try {
      await this.#disk.close()
      await this.#file.sync()
      await this.#file.close()
    } catch (error) {
      throw targetFailed(this.#path, error)
    }
  }

  /** A device keeps what was written so far: the error says that it is not whole. */
  async abandon(): Promise<void> {
    await this.#disk.close().catch(() => undefined)
    await this.#file.close().catch(() => undefined)
  }
}

export async function orAbsent<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked
  } catch (error) {
    if (systemErrorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

export function refuseSmallDevice(path: string, deviceBytes: number, sizeBytes: number): void {
  if (deviceBytes >= sizeBytes) return
  throw new EverfoldError(
    'TARGET_FULL',
    `${path} has ${deviceBytes} bytes, and the disk needs ${sizeBytes}. Nothing was written: restore to a larger device.`,
    { details: { path, deviceBytes, sizeBytes } },
  )
}

/** @returns as {@link DiskFile.write} @throws TARGET_FULL, TARGET_FAILED */
async function writeFully(path: string, disk: DiskFile, bytes: Uint8Array, offset: number): Promise<number> {
  try {
    return await disk.write(bytes, offset)
  } catch (error) {
    throw targetFailed(path, error)
  }
}

export function targetFailed(path: string, error: unknown): unknown {
  if (error instanceof EverfoldError) return error
  const full = ['ENOSPC', 'EDQUOT', 'EFBIG'].includes(systemErrorCode(error) ?? '')
  const why = full ? 'there is no space left. Free some, or restore to another disk' : messageOf(error)
  return new EverfoldError(
    full ? 'TARGET_FULL' : 'TARGET_FAILED',
    `Cannot write ${path}: ${why}. Nothing was restored.`,
    { cause: error, details: { path } },
  )
}
