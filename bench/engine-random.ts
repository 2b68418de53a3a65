import { mkdir, open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from './command.js'
import { allocatedBytes, writeOut } from './engine-round.js'
import { MiB } from './image.js'
import { measure, secondsOf } from './measure.js'
import { SeededBytes } from './seeded-bytes.js'

/** A full of random bytes, and what it is held against. */
export interface RandomFigures {
  readonly wallSeconds: number
  readonly cpuSeconds: number
  readonly storedBytes: number
  /** `sha256sum` of each half of them, on two cores at once. */
  readonly sha256sumSeconds: number
  /** Until a copy of them is on stable storage. */
  readonly writeSeconds: number
}

const blockBytes = 4 * MiB

/** Two disks of random bytes. They stay for all rounds. */
export async function makeRandomDisks(folder: string, bytes: number): Promise<readonly string[]> {
  const random = new SeededBytes('incompressible')
  const disks = [join(folder, 'random-0'), join(folder, 'random-1')]
  for (const path of disks) {
    const disk = await open(path, 'wx')
    for (let at = 0; at < bytes / disks.length; at += blockBytes) await disk.write(random.next(blockBytes))
    await disk.close()
  }
  await writeOut(folder)
  return disks
}

/** @param main  the built command to measure */
export async function measureRandom(
  disks: readonly string[],
  main: string,
  scratch: string,
): Promise<RandomFigures> {
  const folder = join(scratch, 'random')
  await mkdir(folder)
  const sha256sumSeconds = await secondsOf(() =>
    Promise.all(disks.map((disk) => run({ program: 'sha256sum', args: [disk] }))),
  )
  const writeSeconds = await secondsOf(async () => {
    await run({ program: 'cp', args: ['--reflink=never', ...disks, folder] })
    await writeOut(folder)
  })
  const repository = join(folder, 'repository')
  const everfold = (...args: string[]) => ({ program: process.execPath, args: [main, ...args] })
  await run(everfold('init', repository))
  await writeOut(scratch)
  const before = await allocatedBytes(repository)
  const named = disks.map((disk, i) => `disk${i}=${disk}`)
  const backup = everfold('backup', 'random', ...named, '--repo', repository)
  const { wallSeconds, cpuSeconds } = await measure(backup, join(scratch, 'cost'))
  const storedBytes = (await allocatedBytes(repository)) - before
  await rm(folder, { recursive: true })
  await writeOut(scratch)
  return { wallSeconds, cpuSeconds, storedBytes, sha256sumSeconds, writeSeconds }
}
