import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { revertChanges } from './changes.js'
import { GiB, MiB, makeImage } from './image.js'
import { realFiles } from './real-files.js'
import { formatNumber } from './report.js'
import type { Workspace } from './workspace.js'

/** The share of an image that is filled: 6 GB of 8 GiB. */
export const filledShare = 0.7

/** Makes the image that benchmarks share, or takes the one that an earlier run left. */
export function provideImage(workspace: Workspace, sizeGib: number): Promise<string> {
  return provide(workspace, sizeGib, '')
}

/**
 * Another machine's disk, likewise: the same files in another ext4 filesystem, in other folders, so that they lie in another order and at other
 * offsets.
 */
export function provideSecondImage(workspace: Workspace, sizeGib: number): Promise<string> {
  const hash = (path: string): string => createHash('sha256').update(path).digest('hex')
  return provide(
    workspace,
    sizeGib,
    '-second',
    (path) => `/srv/${hash(path).slice(0, 2)}/${hash(path).slice(2, 18)}`,
  )
}

async function provide(
  workspace: Workspace,
  sizeGib: number,
  suffix: string,
  place?: (path: string) => string,
): Promise<string> {
  const path = join(workspace.cache, `image-${sizeGib}gib${suffix}.img`)
  if (existsSync(path)) {
    await revertChanges(path)
    return path
  }
  const sizeBytes = Math.round((sizeGib * GiB) / MiB) * MiB
  const dataBytes = sizeBytes * filledShare
  console.log(`image: making ${sizeGib} GiB of ext4 from this machine's files (kept for the next run) …`)
  const image = await makeImage({
    path,
    sizeBytes,
    dataBytes,
    files: realFiles(dataBytes),
    ...(place && { place }),
  })
  const repeated = image.layouts > 1 ? `, laid out ${image.layouts} times: this machine has no more` : ''
  console.log(`image: ${formatNumber(image.dataBytes / 1e9)} GB in ${image.files.length} files${repeated}`)
  return path
}
