import { createHash } from 'node:crypto'
import { accessSync, constants, createReadStream, existsSync } from 'node:fs'
import { mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { z } from 'zod'
import { ensurePackages, run } from './command.js'
import { type ChangedExtent, compareImages } from './feed.js'
import { GiB, MiB, requireSpace } from './image.js'
import { repositoryRoot } from './paths.js'
import { spaceAdvice, type Workspace } from './workspace.js'

/** What is done in the system between two points. */
interface Step {
  readonly name: string
  /** For a shell in it, as root. */
  readonly commands: string
}

const postgres = (work: string): string =>
  [
    'bin=/usr/lib/postgresql/15/bin; data=/var/lib/postgresql/15/main',
    `su postgres -c "$bin/pg_ctl -D $data -o '-c config_file=/etc/postgresql/15/main/postgresql.conf' -w start"`,
    ...work.split('\n').map((line) => `su postgres -c "${line}"`),
    'su postgres -c "$bin/pg_ctl -D $data -m fast -w stop"',
  ].join('\n')

export const chainSteps: readonly Step[] = [
  {
    name: 'upgrade',
    commands: 'apt-get update; apt-get -y -o Dpkg::Options::=--force-confold upgrade',
  },
  {
    name: 'packages',
    commands: 'apt-get -y --no-install-recommends install postgresql-15 python3 git; apt-get clean',
  },
  {
    name: 'database',
    commands: postgres('createdb bench\n$bin/pgbench -i -s 5 bench\n$bin/pgbench -T 15 bench'),
  },
  {
    name: 'little',
    commands: `${postgres('$bin/pgbench -T 5 -R 50 bench')}\ndate >> /var/log/app.log`,
  },
  {
    name: 'java',
    commands: 'apt-get -y --no-install-recommends install openjdk-17-jre-headless; apt-get clean',
  },
  {
    name: 'purge',
    commands:
      'apt-get -y purge openjdk-17-jre-headless; apt-get -y autoremove --purge; rm -rf /usr/share/doc/*; fstrim -v /',
  },
]

const packages = [
  'mmdebstrap:mmdebstrap',
  'qemu-utils:qemu-img',
  'qemu-system-common:qemu-storage-daemon',
  'libnbd-bin:nbdinfo',
  'fdisk:sfdisk',
  'e2fsprogs:mke2fs',
]

/** Seconds that making the system, and each step, may take. */
const baseSecondsMax = 900
const stepSecondsMax = 600
/** All states while it is made. */
const spaceBytes = 12 * GiB

const extents = z.array(z.object({ offset: z.number(), length: z.number(), type: z.number() }))
const pointSchema = z.object({
  name: z.string(),
  /** Of the whole disk after the step. */
  sha256: z.string(),
  /** What QEMU's bitmap names, and of that what really differs, in blocks of 64 KiB. */
  dirtyBytes: z.number(),
  changedBytes: z.number(),
})

/** A point of the chain; its feed and the bytes of that lie in the folder. */
export type ChainPoint = z.infer<typeof pointSchema>

/** A disk, and what was done to it. */
export interface ChainDisk {
  readonly base: string
  readonly points: readonly ChainPoint[]
  feedPath(point: number): string
  /** Brings a copy of the disk from the point before to this one. */
  apply(imagePath: string, point: number): Promise<void>
}

/** @throws Error that names what this machine lacks */
function requireMachine(): void {
  const usable = (path: string): boolean => {
    try {
      accessSync(path, constants.R_OK | constants.W_OK)
      return true
    } catch {
      return false
    }
  }
  const missing = [
    ...(process.getuid?.() === 0 ? [] : ['root']),
    ...['/dev/fuse', '/dev/loop-control'].filter((path) => !usable(path)),
  ]
  if (missing.length > 0)
    throw new Error(
      `The chain is made in a loop device over a FUSE export of QEMU; this machine lacks: ${missing.join(', ')}. ` +
        'Run it as root on a Debian machine (or in a privileged container), or leave this benchmark out.',
    )
}

async function script(seconds: number, ...args: string[]): Promise<void> {
  const path = join(repositoryRoot, 'bench/debian-chain.sh')
  await run({ program: 'timeout', args: ['--kill-after=60', `${seconds}`, path, ...args] })
}

export async function hashFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path, { highWaterMark: 4 * MiB }), hash)
  return hash.digest('hex')
}

function totalLength(list: readonly ChangedExtent[]): number {
  return list.reduce((sum, { length }) => sum + length, 0)
}

/** QEMU's bitmap must name all that changed: else the feed is not worth measuring with. */
function requireCovered(
  changed: readonly ChangedExtent[],
  feed: readonly ChangedExtent[],
  name: string,
): void {
  let at = 0
  for (const { offset, length } of changed) {
    for (let from = offset; from < offset + length; ) {
      while ((feed[at]?.offset ?? Infinity) + (feed[at]?.length ?? 0) <= from) at += 1
      const within = feed[at]
      if (within === undefined || within.offset > from)
        throw new Error(`QEMU's bitmap of "${name}" does not name a change at byte ${from}`)
      from = within.offset + within.length
    }
  }
}

/** Writes what of an image the extents name, one after the other. */
async function extract(imagePath: string, list: readonly ChangedExtent[], path: string): Promise<void> {
  const image = await open(imagePath)
  const delta = await open(path, 'wx')
  for (const { offset, length } of list) {
    const bytes = Buffer.alloc(length)
    await image.read(bytes, 0, length, offset)
    await delta.write(bytes)
  }
  await delta.close()
  await image.close()
}

async function takeStep(folder: string, number: number, { name, commands }: Step): Promise<ChainPoint> {
  await script(stepSecondsMax, 'step', folder, `${number}`, commands)
  const before = join(folder, `t${number - 1}.raw`)
  const after = join(folder, `t${number}.raw`)
  const map = extents.parse(JSON.parse(await readFile(join(folder, `b${number}.json`), 'utf8')))
  const feed = map.filter(({ type }) => (type & 1) === 1).map(({ offset, length }) => ({ offset, length }))
  const changed = await compareImages(before, after)
  requireCovered(changed, feed, name)
  await extract(after, feed, join(folder, `delta-${number}`))
  await writeFile(join(folder, `feed-${number}.json`), JSON.stringify(feed))
  if (number > 1) await rm(before)
  const sha256 = await hashFile(after)
  return { name, sha256, dirtyBytes: totalLength(feed), changedBytes: totalLength(changed) }
}

/** `--one-file-system`: whatever should be mounted there all the same is not touched. */
async function remove(folder: string): Promise<void> {
  if (!existsSync(folder)) return
  await script(60, 'release', folder)
  await run({ program: 'rm', args: ['-rf', '--one-file-system', folder] })
}

async function make(folder: string): Promise<void> {
  const partial = `${folder}.partial`
  await remove(partial)
  await mkdir(partial)
  try {
    console.log('chain: making a Debian system on a disk (kept for the next run) …')
    await script(baseSecondsMax, 'base', partial)
    const points: ChainPoint[] = []
    for (const [i, step] of chainSteps.entries()) {
      const point = await takeStep(partial, i + 1, step)
      points.push(point)
      console.log(
        `chain: ${step.name}: ${Math.round(point.dirtyBytes / MiB)} MiB dirty, ${Math.round(point.changedBytes / MiB)} MiB of it changed`,
      )
    }
    for (const name of ['disk.qcow2', `t${chainSteps.length}.raw`]) await rm(join(partial, name))
    await writeFile(join(partial, 'chain.json'), JSON.stringify(points))
    await rename(partial, folder)
  } catch (cause) {
    await remove(partial)
    throw new Error('The chain could not be made: it needs a Debian package source that can be reached', {
      cause,
    })
  }
}

/** A chain that was made before, or a small one that a test wrote. */
export async function readChainDisk(folder: string): Promise<ChainDisk> {
  const points = z.array(pointSchema).parse(JSON.parse(await readFile(join(folder, 'chain.json'), 'utf8')))
  const feedPath = (point: number): string => join(folder, `feed-${point}.json`)
  return {
    base: join(folder, 't0.raw'),
    points,
    feedPath,
    apply: async (imagePath, point) => {
      const feed = z
        .array(z.object({ offset: z.number(), length: z.number() }))
        .parse(JSON.parse(await readFile(feedPath(point), 'utf8')))
      const delta = await open(join(folder, `delta-${point}`))
      const image = await open(imagePath, 'r+')
      for (const { offset, length } of feed) {
        const bytes = Buffer.alloc(length)
        await delta.read(bytes, 0, length)
        await image.write(bytes, 0, length, offset)
      }
      await image.close()
      await delta.close()
      // What the guest trimmed are holes again, as in the file of a hypervisor that lets it: the delta has them as zeros.
      await run({ program: 'fallocate', args: ['--dig-holes', imagePath] })
      await run({ program: 'sync', args: [imagePath] })
    },
  }
}

/** Makes the chain, or takes the one that an earlier run left. */
export async function provideChainDisk(workspace: Workspace): Promise<ChainDisk> {
  const folder = join(workspace.cache, 'chain')
  if (!existsSync(folder)) {
    requireMachine()
    requireSpace(workspace.cache, spaceBytes, spaceAdvice)
    await ensurePackages(packages)
    await make(folder)
  }
  return readChainDisk(folder)
}

/** A copy to work on, with its holes. */
export async function copyDisk(disk: ChainDisk, path: string): Promise<void> {
  await run({ program: 'cp', args: ['--sparse=always', disk.base, path] })
}
