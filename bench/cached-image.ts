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
export async function provideImage(workspace: Workspace, sizeGib: number): Promise<string> {
  const path = join(workspace.cache, `image-${sizeGib}gib.img`)
  if (existsSync(path)) {
    await revertChanges(path)
    return path
  }
  const sizeBytes = Math.round((sizeGib * GiB) / MiB) * MiB
  const dataBytes = sizeBytes * filledShare
  console.log(`image: making ${sizeGib} GiB of ext4 from this machine's files (kept for the next run) …`)
  const image = await makeImage({ path, sizeBytes, dataBytes, files: realFiles(dataBytes) })
  const repeated = image.layouts > 1 ? `, laid out ${image.layouts} times: this machine has no more` : ''
  console.log(`image: ${formatNumber(image.dataBytes / 1e9)} GB in ${image.files.length} files${repeated}`)
  return path
}
