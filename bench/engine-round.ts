import { mkdir, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { applyChanges, type Change, feedOf, revertChanges } from './changes.js'
import { run } from './command.js'
import { type Cost, measureWithOutput, secondsOf } from './measure.js'
import type { Place, Tool } from './peers.js'

/** In the order in which they are taken. */
export const steps = ['full', 'again', 'second', 'incremental', 'restore'] as const
export type Step = (typeof steps)[number]

/** What one step of one tool cost. */
export interface Sample extends Cost {
  /** By how much the repository grew, in bytes on the disk. */
  readonly storedBytes: number
  /** Plain bytes that were in no chunk before, where the tool tells. */
  readonly newBytes?: number
  /** Of a restore, whose `wallSeconds` last until the disk is on stable storage: until the command had ended. */
  readonly unsyncedSeconds?: number
}

/** Of the steps that were chosen. */
export type Samples = Readonly<Partial<Record<Step, Sample>>>

/** Space that a folder's files take on the disk, in bytes: allocated blocks, as du counts them. */
export async function allocatedBytes(folder: string): Promise<number> {
  let total = 0
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    if (entry.isFile()) total += (await stat(join(entry.parentPath, entry.name))).blocks * 512
  }
  return total
}

/** Nobody pays for writing out what the step before left in memory; and allocation may wait for it. */
export async function writeOut(folder: string): Promise<void> {
  await run({ program: 'sync', args: ['-f', folder] })
}

/**
 * Nobody pays for reading the image from the disk. It counts as changed just now: a device has no time of change from which peers could tell that they
 * need not read it.
 */
export async function warm(imagePath: string): Promise<void> {
  await utimes(imagePath, new Date(), new Date())
  await run({ program: 'dd', args: [`if=${imagePath}`, 'of=/dev/null', 'bs=4M', 'status=none'] })
}

/** Disks that the steps work on, in one folder. */
export interface Images {
  readonly first: string
  /** For the step `second`. */
  readonly second: string | undefined
  readonly changes: readonly Change[]
}

async function makePlace({ first, second, changes }: Images, scratch: string): Promise<Place> {
  const place = {
    imageFolder: dirname(first),
    imageName: basename(first),
    secondName: basename(second ?? ''),
    repository: join(scratch, 'repository'),
    state: join(scratch, 'state'),
    feed: join(scratch, 'feed.json'),
    archive: 'incremental',
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

/** Until a file is on stable storage. Seconds. */
export function secondsToSync(path: string): Promise<number> {
  return secondsOf(() => run({ program: 'sync', args: [path] }))
}

/** Not every tool waits for the disk that it restores to be on stable storage, and none is faster for not having written it yet. */
async function withSync(cost: Cost, restored: string): Promise<Cost & Pick<Sample, 'unsyncedSeconds'>> {
  const syncSeconds = await secondsToSync(restored)
  const { wallSeconds } = cost
  return { ...cost, wallSeconds: wallSeconds + syncSeconds, unsyncedSeconds: wallSeconds }
}

/** What Everfold says of a backup, as far as it is needed here. */
function newBytesIn(stdout: string): { readonly newBytes?: number } {
  const found = /"newBytes":\s*(\d+)/.exec(stdout)?.[1]
  return found === undefined ? {} : { newBytes: Number(found) }
}

/**
 * Takes one tool through the chosen steps in a new repository, and compares what was restored with the image. The image is as before afterwards.
 *
 * @param scratch  An empty folder; it is removed.
 */
export async function runRound(
  tool: Tool,
  images: Images,
  chosen: readonly Step[],
  scratch: string,
): Promise<Samples> {
  const place = await makePlace(images, scratch)
  await run(tool.init(place))
  await writeOut(scratch)
  const sample = async (imagePath: string, step: Step): Promise<Sample> => {
    await warm(imagePath)
    const before = await allocatedBytes(place.repository)
    const { cost, output } = await measureWithOutput(tool[step](place), join(scratch, 'cost'))
    const synced = step === 'restore' ? await withSync(cost, tool.restoredFile(place)) : cost
    await writeOut(scratch)
    const storedBytes = (await allocatedBytes(place.repository)) - before
    return { ...synced, storedBytes, ...newBytesIn(output.stdout) }
  }
  const samples: Partial<Record<Step, Sample>> = {}
  try {
    for (const step of steps.filter((one) => chosen.includes(one))) {
      if (step === 'incremental') await applyChanges(images.first, images.changes)
      const image = step === 'second' ? (images.second ?? images.first) : images.first
      samples[step] = await sample(image, step)
      if (step === 'restore') await requireIdentical(images.first, tool.restoredFile(place), tool)
    }
    return samples
  } finally {
    await revertChanges(images.first)
    await rm(scratch, { recursive: true })
  }
}
