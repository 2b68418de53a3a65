import { constants, copyFileSync, existsSync, mkdirSync, statfsSync, statSync } from 'node:fs'
import { open, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { run } from './command.js'
import type { RealFile } from './real-files.js'

/** What making and changing images needs, as `scripts/prepare` takes it. */
export const imagePackages = ['e2fsprogs:mke2fs', 'e2fsprogs:debugfs', 'e2fsprogs:e2fsck']

export const KiB = 1024
export const MiB = 1024 * KiB
export const GiB = 1024 * MiB

export interface ImagePlan {
  readonly path: string
  readonly sizeBytes: number
  /** Data that the filesystem shall hold, in bytes. */
  readonly dataBytes: number
  readonly files: readonly RealFile[]
  /** Where a file of this machine goes to in the filesystem, if not to the same path. */
  readonly place?: (path: string) => string
}

export interface Image {
  /** Files in the image, as absolute paths in its filesystem. */
  readonly files: readonly RealFile[]
  readonly dataBytes: number
  /** How often the machine's files were laid out: more than once where it has too few. */
  readonly layouts: number
}

/**
 * Copies, because hard links would touch the originals' inodes, and other users' files may not be linked to.
 *
 * @returns Whether the file was still there.
 */
function stageFile(source: string, target: string): boolean {
  mkdirSync(dirname(target), { recursive: true })
  try {
    copyFileSync(source, target, constants.COPYFILE_FICLONE)
    return true
  } catch (error) {
    if (existsSync(source)) throw error
    return false
  }
}

function stage(plan: ImagePlan, folder: string): Image {
  const files: RealFile[] = []
  let dataBytes = 0
  let layouts = 0
  while (dataBytes < plan.dataBytes) {
    const before = dataBytes
    const prefix = layouts === 0 ? '' : `/copy-${layouts + 1}`
    for (const file of plan.files) {
      if (dataBytes >= plan.dataBytes) break
      const path = prefix + (plan.place?.(file.path) ?? file.path)
      if (!stageFile(file.path, folder + path)) continue
      files.push({ path, bytes: file.bytes })
      dataBytes += file.bytes
    }
    if (dataBytes === before) throw new Error('This machine has no files to fill an image with')
    layouts += 1
  }
  return { files, dataBytes, layouts }
}

/**
 * Makes an ext4 filesystem in a sparse file, filled with files of this machine. Needs no root and no mount.
 *
 * `plan.path` appears only when it is whole.
 */
export async function makeImage(plan: ImagePlan): Promise<Image> {
  const folder = `${plan.path}.files`
  const partial = `${plan.path}.partial`
  await rm(folder, { recursive: true, force: true })
  await rm(partial, { force: true })
  try {
    mkdirSync(folder)
    const image = stage(plan, folder)
    const handle = await open(partial, 'wx')
    await handle.truncate(plan.sizeBytes)
    await handle.close()
    await run({ program: 'mke2fs', args: ['-q', '-F', '-t', 'ext4', '-m', '0', '-d', folder, partial] })
    await rename(partial, plan.path)
    return image
  } finally {
    await rm(folder, { recursive: true, force: true })
    await rm(partial, { force: true })
  }
}

/** Changes a filesystem by debugfs commands, through its own structures, and proves it consistent afterwards. */
export async function editImage(image: string, commands: readonly string[], scratch: string): Promise<void> {
  const script = join(scratch, 'debugfs-commands')
  await writeFile(script, commands.map((command) => `${command}\n`).join(''))
  const { stderr } = await run({ program: 'debugfs', args: ['-w', '-f', script, image] })
  await rm(script)
  // debugfs exits with 0 whatever happens; all that it says there when it is content is its version.
  const complaints = stderr.split('\n').filter((line) => line !== '' && !/^debugfs \d/.test(line))
  if (complaints.length > 0) throw new Error(`debugfs could not change the image: ${complaints.join('; ')}`)
  await run({ program: 'e2fsck', args: ['-f', '-n', image] })
}

/** Bytes of an image that are data, and not holes. */
export function allocatedFileBytes(image: string): number {
  return statSync(image).blocks * 512
}

/** @throws Error that says how to make room, if a folder's filesystem has less free space than needed. */
export function requireSpace(folder: string, bytes: number, howToMove: string): void {
  const { bavail, bsize } = statfsSync(folder)
  const free = bavail * bsize
  if (free >= bytes) return
  const gib = (value: number): string => (value / GiB).toFixed(1)
  throw new Error(`${folder} has ${gib(free)} GiB free, ${gib(bytes)} GiB are needed: ${howToMove}`)
}
