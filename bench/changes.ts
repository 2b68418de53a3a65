import { existsSync } from 'node:fs'
import { type FileHandle, open, readFile, rename, rm, writeFile } from 'node:fs/promises'
import type { ChangedExtent } from './feed.js'
import { KiB } from './image.js'
import { SeededBytes } from './seeded-bytes.js'

/** One block to be overwritten. */
export interface Change {
  readonly offset: number
  readonly data: Buffer
}

export const changeBytes = 64 * KiB

/** Where the real half of the changes is read from: off the chunk grid, so that it is not simply found again. */
const sourceShift = 4 * KiB

const zeros = Buffer.alloc(changeBytes)

async function readBlock(image: FileHandle, offset: number): Promise<Buffer> {
  const data = Buffer.alloc(changeBytes)
  await image.read(data, 0, changeBytes, offset)
  return data
}

/** A block of the image, at a random place, that is not all zeros. */
async function pickData(
  image: FileHandle,
  blocks: number,
  random: SeededBytes,
  shift: number,
): Promise<Change> {
  for (;;) {
    const offset = random.below(blocks) * changeBytes + shift
    const data = await readBlock(image, offset)
    if (!data.equals(zeros)) return { offset, data }
  }
}

/**
 * Plans scattered changes: whole blocks on the 64 KiB grid in which hypervisors record changes, at random places
 * that hold data, in the order of a disk. Every other one gets real file data from elsewhere in the image, the
 * others random bytes. The same seed and image give the same changes.
 */
export async function planChanges(imagePath: string, count: number, seed: string): Promise<Change[]> {
  const image = await open(imagePath)
  try {
    const random = new SeededBytes(seed)
    const blocks = Math.floor((await image.stat()).size / changeBytes) - 1
    if (blocks < 4 * count) throw new Error(`The image is too small for ${count} scattered changes`)
    const changes = new Map<number, Change>()
    while (changes.size < count) {
      const { offset } = await pickData(image, blocks, random, 0)
      const real = changes.size % 2 === 0
      const data = real ? (await pickData(image, blocks, random, sourceShift)).data : random.next(changeBytes)
      changes.set(offset, { offset, data })
    }
    return [...changes.values()].sort((a, b) => a.offset - b.offset)
  } finally {
    await image.close()
  }
}

/** The changes as a plain changed-block feed. */
export function feedOf(changes: readonly Change[]): ChangedExtent[] {
  return changes.map(({ offset, data }) => ({ offset, length: data.length }))
}

async function overwrite(imagePath: string, changes: readonly Change[]): Promise<void> {
  const image = await open(imagePath, 'r+')
  try {
    for (const { offset, data } of changes) await image.write(data, 0, data.length, offset)
    await image.sync()
  } finally {
    await image.close()
  }
}

const undoPath = (imagePath: string): string => `${imagePath}.undo`

/** Changes the image in place. What was there is kept beside it, so that even a killed benchmark can be undone. */
export async function applyChanges(imagePath: string, changes: readonly Change[]): Promise<void> {
  const image = await open(imagePath)
  const records: Buffer[] = []
  for (const { offset } of changes) {
    const head = Buffer.alloc(8)
    head.writeBigUInt64LE(BigInt(offset))
    records.push(head, await readBlock(image, offset))
  }
  await image.close()
  const partial = `${undoPath(imagePath)}.partial`
  await writeFile(partial, Buffer.concat(records), { flush: true })
  await rename(partial, undoPath(imagePath))
  await overwrite(imagePath, changes)
}

/** Undoes `applyChanges`, if there is anything to undo. */
export async function revertChanges(imagePath: string): Promise<void> {
  if (!existsSync(undoPath(imagePath))) return
  const bytes = await readFile(undoPath(imagePath))
  const changes: Change[] = []
  for (let at = 0; at < bytes.length; at += 8 + changeBytes) {
    const offset = Number(bytes.readBigUInt64LE(at))
    changes.push({ offset, data: bytes.subarray(at + 8, at + 8 + changeBytes) })
  }
  await overwrite(imagePath, changes)
  await rm(undoPath(imagePath))
}
