import { open, realpath, rename, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { EverfoldError } from '../errors.js'
import { blockDeviceSize } from '../feed/disk-source.js'
import {
  type FinishableTarget,
  InPlaceTarget,
  orAbsent,
  refuseSmallDevice,
  targetFailed,
} from './file-target.js'

/** A disk at a point: its size in bytes. */
export interface DiskAt {
  readonly point: string
  readonly sizeBytes: number
}

/**
 * A file or block device that holds a disk as at one point, and is going to hold it as at another once what differs has been
 * written. A file loses its name as long as it is neither the one nor the other: it is `<path>.<before>-to-<after>.partial` then,
 * and whoever asks for the same again goes on with that.
 * @throws TARGET_FAILED, TARGET_EXISTS, TARGET_FULL; ARGUMENT_INVALID if it cannot be that disk: nothing was changed then
 */
export async function openOntoTarget(path: string, before: DiskAt, after: DiskAt): Promise<FinishableTarget> {
  try {
    const found = await orAbsent(stat(path))
    if (found?.isBlockDevice() === true) {
      refuseSmallDevice(path, await blockDeviceSize(path, found.rdev), after.sizeBytes)
      return new InPlaceTarget(path, await open(path, 'r+'))
    }
    if (found !== undefined && !found.isFile())
      throw new EverfoldError('TARGET_FAILED', `${path} is neither a file nor a block device.`, {
        details: { path },
      })
    // What a link leads to is changed, not the link.
    const real = found === undefined ? path : await realpath(path)
    const partial = `${real}.${before.point}-to-${after.point}.partial`
    if (found !== undefined) await takeName(path, real, partial, found.size, before)
    return await RenamedTarget.open(real, partial, after.sizeBytes)
  } catch (error) {
    throw targetFailed(path, error)
  }
}

async function takeName(
  path: string,
  real: string,
  partial: string,
  sizeBytes: number,
  before: DiskAt,
): Promise<void> {
  if (sizeBytes !== before.sizeBytes)
    throw new EverfoldError(
      'ARGUMENT_INVALID',
      `${path} has ${sizeBytes} bytes, and the disk at point ${before.point} has ${before.sizeBytes}: it is not that disk. Restore all of it, to another file.`,
      { details: { path, sizeBytes, expectedBytes: before.sizeBytes } },
    )
  if ((await orAbsent(stat(partial))) !== undefined)
    throw new EverfoldError(
      'TARGET_EXISTS',
      `${partial} was left by such a restore that did not end, and there is ${path} again. Remove the one that is not wanted.`,
      { details: { path: partial } },
    )
  await rename(real, partial)
  await syncFolder(real)
}

class RenamedTarget implements FinishableTarget {
  readonly #path: string
  readonly #partial: string
  readonly #sizeBytes: number
  readonly #inner: InPlaceTarget

  private constructor(path: string, partial: string, sizeBytes: number, inner: InPlaceTarget) {
    this.#path = path
    this.#partial = partial
    this.#sizeBytes = sizeBytes
    this.#inner = inner
  }

  static async open(path: string, partial: string, sizeBytes: number): Promise<RenamedTarget> {
    const found = await orAbsent(stat(partial))
    if (found === undefined)
      throw new EverfoldError('TARGET_FAILED', `There is no ${path} to write changes to.`, {
        details: { path },
      })
    const file = await open(partial, 'r+')
    try {
      if (found.size < sizeBytes) await file.truncate(sizeBytes)
    } catch (error) {
      await file.close()
      throw error
    }
    return new RenamedTarget(path, partial, sizeBytes, new InPlaceTarget(partial, file))
  }

  write(bytes: Uint8Array, offset: number): Promise<void> {
    return this.#inner.write(bytes, offset)
  }

  zeros(offset: number, length: number): Promise<void> {
    return this.#inner.zeros(offset, length)
  }

  async finish(): Promise<void> {
    try {
      const file = await open(this.#partial, 'r+')
      await file.truncate(this.#sizeBytes).finally(() => file.close())
      await this.#inner.finish()
      if ((await orAbsent(stat(this.#path))) !== undefined)
        throw new EverfoldError(
          'TARGET_EXISTS',
          `${this.#path} appeared meanwhile; what was restored is in ${this.#partial}, whole.`,
        )
      await rename(this.#partial, this.#path)
      await syncFolder(this.#path)
    } catch (error) {
      throw targetFailed(this.#path, error)
    }
  }

  /** It keeps the name that says what it is. */
  abandon(): Promise<void> {
    return this.#inner.abandon()
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(dirname(path), 'r')
  await folder.sync().finally(() => folder.close())
}
