import { open, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { backUp } from '../src/chain/backup.js'
import { openRepository } from '../src/chain/open-repository.js'
import { openDiskSource } from '../src/feed/disk-source.js'
import { connectS3 } from '../src/store/s3-client.js'
import { s3SettingsFrom } from '../src/store/s3-settings.js'
import { run } from './command.js'
import { KiB, MiB } from './image.js'
import { positive, wholePositive } from './options.js'
import { everfoldMain, repositoryRoot } from './paths.js'
import {
  type Bar,
  describeCommit,
  describeMachine,
  formatBar,
  formatBytes,
  formatNumber,
  formatTable,
  writeResults,
} from './report.js'
import { type ProxyFigures, S3Proxy } from './s3-proxy.js'
import { SeededBytes } from './seeded-bytes.js'
import type { Workspace } from './workspace.js'

export const s3Usage = `s3: a repository in a bucket of a real server, over a line that is as slow as it is set
  --size-mib N       random bytes that are backed up (default 256)
  --points N         points of the repository that is opened (default 1000)
  --round-trip-ms N  of the line (default 80)
  --mbit N           of the line, in each direction (default 100)
  --results FOLDER   where the raw figures go (default bench/results)
  AWS_ENDPOINT_URL_S3 and credentials lead to a server; without them, scripts/s3-server starts one`

export interface S3Options {
  readonly sizeMib: number
  readonly points: number
  readonly roundTripMs: number
  readonly mbit: number
  readonly results: string
}

export function parseS3Options(args: readonly string[]): S3Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      'size-mib': { type: 'string', default: '256' },
      points: { type: 'string', default: '1000' },
      'round-trip-ms': { type: 'string', default: '80' },
      mbit: { type: 'string', default: '100' },
      results: { type: 'string', default: join(repositoryRoot, 'bench/results') },
    },
  })
  return {
    sizeMib: wholePositive('size-mib', values['size-mib']),
    points: wholePositive('points', values.points),
    roundTripMs: positive('round-trip-ms', values['round-trip-ms']),
    mbit: positive('mbit', values.mbit),
    results: values.results,
  }
}

/** What an incremental changes: 400 blocks, as a hypervisor records them. */
const CHANGED_BLOCKS = 400
const BLOCK_BYTES = 64 * KiB

interface Step extends ProxyFigures {
  readonly name: string
  readonly seconds: number
}

/** Backs up, folds, collects, verifies and restores through the line, and opens a repository of many points. */
export async function runS3(options: S3Options, workspace: Workspace): Promise<void> {
  const stop = await provideServer(workspace)
  const { results, ...parameters } = options
  const { roundTripMs, mbit } = options
  const direct = process.env['AWS_ENDPOINT_URL_S3'] ?? ''
  const proxy = await S3Proxy.start(direct)
  try {
    const bucket = await makeBucket()
    proxy.line = { roundTripMs, bytesPerSecond: (mbit * 1_000_000) / 8 }
    const life = await runLife(options, workspace, proxy, bucket)
    const opening = await runOpening(options, workspace, proxy, bucket, direct)
    const bars = barsOf(options, life, opening)
    print([...life, ...opening], bars)
    const machine = { machine: describeMachine(), commit: await describeCommit() }
    const figures = { ...machine, parameters, steps: [...life, ...opening], bars }
    console.log(`raw figures: ${await writeResults(results, 's3', figures)}`)
  } finally {
    await proxy.stop()
    await stop()
  }
}

/** @returns what stops it, if it was started here */
async function provideServer(workspace: Workspace): Promise<() => Promise<void>> {
  if (process.env['AWS_ENDPOINT_URL_S3'] !== undefined) return async () => undefined
  const program = join(repositoryRoot, 'scripts/s3-server')
  const folder = join(workspace.scratch, 's3-server')
  const { stdout } = await run({ program, args: ['start', folder] })
  for (const [, name = '', value = ''] of stdout.matchAll(/^export (\w+)=(.*)$/gmu)) process.env[name] = value
  return async () => {
    await run({ program, args: ['stop', folder] })
  }
}

async function makeBucket(): Promise<string> {
  const { sdk, client } = await connectS3(s3SettingsFrom(process.env))
  const bucket = `bench-${Date.now()}`
  await client.send(new sdk.CreateBucketCommand({ Bucket: bucket }))
  client.destroy()
  return bucket
}

async function runLife(
  { sizeMib }: S3Options,
  { scratch }: Workspace,
  proxy: S3Proxy,
  bucket: string,
): Promise<Step[]> {
  const disk = join(scratch, 's3-disk.raw')
  const random = new SeededBytes('s3 bench')
  const file = await open(disk, 'w+')
  for (let i = 0; i < sizeMib; i++) await file.write(random.next(MiB))
  const feed = join(scratch, 's3-feed.json')
  const blocks = (sizeMib * MiB) / BLOCK_BYTES
  const places = Array.from({ length: CHANGED_BLOCKS }, (_, i) => Math.floor((i * blocks) / CHANGED_BLOCKS))
  await writeFile(
    feed,
    JSON.stringify(places.map((block) => ({ offset: block * BLOCK_BYTES, length: BLOCK_BYTES }))),
  )
  const change = async (): Promise<void> => {
    for (const block of places)
      await file.write(random.next(BLOCK_BYTES), 0, BLOCK_BYTES, block * BLOCK_BYTES)
  }
  const everfold = commandOf(proxy, join(scratch, 's3-cache'), `s3://${bucket}/life`)
  const changed = ['--changed', `vda=${feed}`]
  const steps: Step[] = []
  const step = async (name: string, ...args: readonly string[]): Promise<void> => {
    steps.push(await everfold(name, ...args))
  }
  await step('init', 'init', `s3://${bucket}/life`)
  await step('full', 'backup', 'm', `vda=${disk}`)
  await change()
  await step('incremental of 25 MiB', 'backup', 'm', `vda=${disk}`, ...changed)
  await step('incremental, nothing changed', 'backup', 'm', `vda=${disk}`, ...changed)
  await step('points --fast', 'points', '--fast')
  await step('fold to 1 point', 'fold', 'm', '--keep', '1')
  await step('gc, first round', 'gc')
  await step('gc, third round', 'gc', '--rounds', '2')
  await step('restore', 'restore', 'm', 'latest', `vda=${join(scratch, 's3-restored.raw')}`)
  await rm(join(scratch, 's3-cache'), { recursive: true })
  await step(
    'restore, on a new machine',
    'restore',
    'm',
    'latest',
    `vda=${join(scratch, 's3-restored.raw')}`,
    '--force',
  )
  await step('verify --sample 5%', 'verify', '--sample', '5%')
  await file.close()
  await run({ program: 'cmp', args: [disk, join(scratch, 's3-restored.raw')] })
  return steps
}

/** A repository of many points, made without the line. */
async function runOpening(
  { points }: S3Options,
  { scratch }: Workspace,
  proxy: S3Proxy,
  bucket: string,
  direct: string,
): Promise<Step[]> {
  const location = `s3://${bucket}/points`
  const cacheFolder = join(scratch, 's3-points-cache')
  await run({
    program: process.execPath,
    args: [everfoldMain, 'init', location],
    env: { AWS_ENDPOINT_URL_S3: direct },
  })
  const path = join(scratch, 's3-small.raw')
  const opened = await openRepository(location, { command: 'bench', threads: true, cacheFolder })
  try {
    for (let i = 0; i < points; i++) {
      await writeFile(path, `point ${i}`.padEnd(4096))
      const source = await openDiskSource(path)
      try {
        await backUp(opened.repository, { machine: 'm', disks: [{ id: 'vda', source, changed: undefined }] })
      } finally {
        await source.close()
      }
    }
  } finally {
    await opened.close()
  }
  const everfold = commandOf(proxy, join(scratch, 's3-opening-cache'), location)
  const named = `of ${points} points`
  return [
    await everfold(`opening one ${named}, on a new machine`, 'points', '--fast'),
    await everfold(`opening one ${named}`, 'points', '--fast'),
  ]
}

function commandOf(
  proxy: S3Proxy,
  cache: string,
  location: string,
): (name: string, ...args: readonly string[]) => Promise<Step> {
  return async (name, ...args) => {
    const env = { AWS_ENDPOINT_URL_S3: proxy.url, EVERFOLD_CACHE: cache, EVERFOLD_REPO: location }
    proxy.takeFigures()
    const startMs = performance.now()
    await run({ program: process.execPath, args: [everfoldMain, ...args], env })
    return { name, seconds: (performance.now() - startMs) / 1000, ...proxy.takeFigures() }
  }
}

function requestsOf({ get, put, list, delete: removed, other }: Step): number {
  return get + put + list + removed + other
}

function barsOf({ mbit, points }: S3Options, life: readonly Step[], opening: readonly Step[]): Bar[] {
  const named = (name: string): Step | undefined => life.find((step) => step.name === name)
  const unused = (name: string, bytes: 'bytesUp' | 'bytesDown'): number | undefined => {
    const step = named(name)
    return step && 100 - ((step[bytes] * 8) / 1_000_000 / step.seconds / mbit) * 100
  }
  const requests = (step: Step | undefined): number | undefined => step && requestsOf(step)
  return [
    { text: 'full upload: bandwidth not used', limit: 20, measured: unused('full', 'bytesUp'), unit: '%' },
    {
      text: 'full restore: bandwidth not used',
      limit: 20,
      measured: unused('restore', 'bytesDown'),
      unit: '%',
    },
    {
      text: 'incremental of 25 MiB: requests',
      limit: 12,
      measured: requests(named('incremental of 25 MiB')),
      unit: 'requests',
    },
    {
      text: `opening a repository of ${points} points`,
      limit: 10,
      measured: requests(opening[1]),
      unit: 'requests',
    },
  ]
}

function print(steps: readonly Step[], bars: readonly Bar[]): void {
  const rows = steps.map((step) => [
    step.name,
    `${formatNumber(step.seconds)} s`,
    String(requestsOf(step)),
    ...[step.get, step.put, step.list, step.delete, step.other].map(String),
    formatBytes(step.bytesDown),
    formatBytes(step.bytesUp),
  ])
  console.log(
    formatTable([
      ['', 'time', 'requests', 'get', 'put', 'list', 'delete', 'other', 'received', 'sent'],
      ...rows,
    ]),
  )
  for (const bar of bars) console.log(formatBar(bar))
}
