import { randomBytes } from 'node:crypto'
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { EverfoldError, messageOf, systemErrorCode } from '../errors.js'
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
 * @throws TARGET_EXISTS unless `force`; TARGET_FULL, TARGET_FAILED
 */
export async function openFileTarget(
  path: string,
  sizeBytes: number,
  force: boolean,
): Promise<FinishableTarget> {
  try {
    const found = await stat(path).catch((error: unknown) => {
      if (systemErrorCode(error) === 'ENOENT') return undefined
      throw error
    })
    if (found !== undefined && !force)
      throw new EverfoldError(
        'TARGET_EXISTS',
        `${path} exists. Give another name, or --force to overwrite it.`,
        {
          details: { path },
        },
      )
    if (found?.isBlockDevice() === true) return new DeviceTarget(path, await open(path, 'r+'))
    if (found !== undefined && !found.isFile())
      throw new EverfoldError('TARGET_FAILED', `${path} is neither a file nor a block device.`, {
        details: { path },
      })
    const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.partial`)
    const file = await open(temporary, 'wx', 0o600)
    const target = new NewFileTarget(path, temporary, file, force)
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
  readonly #force: boolean

  constructor(path: string, temporary: string, file: FileHandle, force: boolean) {
    this.#path = path
    this.#temporary = temporary
    this.#file = file
    this.#force = force
  }

  async write(bytes: Uint8Array, offset: number): Promise<void> {
    await writeFully(this.#path, this.#file, bytes, offset)
  }

  /** The file is new and has its full length: what is not written is a hole. */
  zeros(): Promise<void> {
    return Promise.resolve()
  }

  async finish(): Promise<void> {
    try {
      await this.#file.sync()
      await this.#file.close()
      if (
        !this.#force &&
        (await stat(this.#path).then(
          () => true,
          () => false,
        ))
      )
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
    await this.#file.close().catch(() => undefined)
    await rm(this.#temporary, { force: true })
  }
}

class DeviceTarget implements FinishableTarget {
  readonly #path: string
  readonly #file: FileHandle

  constructor(path: string, file: FileHandle) {
    this.#path = path
    this.#file = file
  }

  async write(bytes: Uint8Array, offset: number): Promise<void> {
    await writeFully(this.#path, this.#file, bytes, offset)
  }

  async zeros(offset: number, length: number): Promise<void> {
    for (let done = 0; done < length; done += ZERO_BLOCK.length)
      await this.write(ZERO_BLOCK.subarray(0, Math.min(ZERO_BLOCK.length, length - done)), offset + done)
  }

  async finish(): Promise<void> {
    try {
      await this.#file.sync()
      await this.#file.close()
    } catch (error) {
      throw targetFailed(this.#path, error)
    }
  }

  /** A device keeps what was written so far: the error says that it is not whole. */
  async abandon(): Promise<void> {
    await this.#file.close().catch(() => undefined)
  }
}

async function writeFully(path: string, file: FileHandle, bytes: Uint8Array, offset: number): Promise<void> {
  try {
    for (let done = 0; done < bytes.length; )
      done += (await file.write(bytes, done, bytes.length - done, offset + done)).bytesWritten
  } catch (error) {
    throw targetFailed(path, error)
  }
}

function targetFailed(path: string, error: unknown): unknown {
  if (error instanceof EverfoldError) return error
  const full = ['ENOSPC', 'EDQUOT', 'EFBIG'].includes(systemErrorCode(error) ?? '')
  const why = full ? 'there is no space left. Free some, or restore to another disk' : messageOf(error)
  return new EverfoldError(
    full ? 'TARGET_FULL' : 'TARGET_FAILED',
    `Cannot write ${path}: ${why}. Nothing was restored.`,
    { cause: error, details: { path } },
  )
}
