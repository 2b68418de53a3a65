import { mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { applyChanges, type Change, feedOf, revertChanges } from './changes.js'
import { type Command, run } from './command.js'
import { type Cost, measure } from './measure.js'
import type { Place, Tool } from './peers.js'

export const steps = ['full', 'incremental', 'restore'] as const
export type Step = (typeof steps)[number]

/** What one step of one tool cost. */
export interface Sample extends Cost {
  /** By how much the repository grew, in bytes on the disk. */
  readonly storedBytes: number
}

export type Samples = Readonly<Record<Step, Sample>>

/** Space that a folder's files take on the disk, in bytes: allocated blocks, as du counts them. */
async function allocatedBytes(folder: string): Promise<number> {
  let total = 0
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    if (entry.isFile()) total += (await stat(join(entry.parentPath, entry.name))).blocks * 512
  }
  return total
}

/** Nobody pays for writing out what the step before left in memory; and allocation may wait for it. */
async function writeOut(folder: string): Promise<void> {
  await run({ program: 'sync', args: ['-f', folder] })
}

/** Nobody pays for reading the image from the disk. */
async function warm(imagePath: string): Promise<void> {
  await run({ program: 'dd', args: [`if=${imagePath}`, 'of=/dev/null', 'bs=4M', 'status=none'] })
}

async function makePlace(imagePath: string, scratch: string, changes: readonly Change[]): Promise<Place> {
  const place = {
    imageFolder: dirname(imagePath),
    imageName: basename(imagePath),
    repository: join(scratch, 'repository'),
    state: join(scratch, 'state'),
    feed: join(scratch, 'feed.json'),
    output: join(scratch, 'output'),
  }
  await mkdir(place.state)
  await mkdir(place.output)
  await writeFile(place.feed, JSON.stringify(feedOf(changes)))
  return place
}

async function requireIdentical(imagePath: string, restored: string, tool: Tool): Promise<void> {
  try {
    await run({ program: 'cmp', args: [imagePath, restored] })
  } catch (cause) {
    throw new Error(`What ${tool.name} restored is not what it saved`, { cause })
  }
}

/**
 * Takes one tool through a full, an incremental and a restore in a new repository, and compares what was restored
 * with the image. The image is as before afterwards.
 *
 * @param scratch  An empty folder; it is removed.
 */
export async function runRound(
  tool: Tool,
  imagePath: string,
  changes: readonly Change[],
  scratch: string,
): Promise<Samples> {
  const place = await makePlace(imagePath, scratch, changes)
  await run(tool.init(place))
  await writeOut(scratch)
  const sample = async (command: Command): Promise<Sample> => {
    await warm(imagePath)
    const before = await allocatedBytes(place.repository)
    const cost = await measure(command, join(scratch, 'cost'))
    await writeOut(scratch)
    return { ...cost, storedBytes: (await allocatedBytes(place.repository)) - before }
  }
  try {
    const full = await sample(tool.full(place))
    await applyChanges(imagePath, changes)
    const incremental = await sample(tool.incremental(place))
    const restore = await sample(tool.restore(place))
    await requireIdentical(imagePath, tool.restoredFile(place), tool)
    return { full, incremental, restore }
  } finally {
    await revertChanges(imagePath)
    await rm(scratch, { recursive: true })
  }
}
