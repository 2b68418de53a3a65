import { existsSync } from 'node:fs'
import { Agent, get } from 'node:http'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { provideImage } from './cached-image.js'
import { ensurePackages, run } from './command.js'
import { formatLoop } from './engine-summary.js'
import { GiB, imagePackages, MiB } from './image.js'
import type { LoopFigures } from './loop-probe.js'
import { positive, wholePositive } from './options.js'
import { everfoldMain, repositoryRoot } from './paths.js'
import { type RandomReads, readAtRandom } from './random-reads.js'
import {
  type Bar,
  describeCommit,
  describeMachine,
  formatBar,
  formatNumber,
  formatTable,
  verdict,
  writeResults,
} from './report.js'
import { type Load, type LoadOptions, runLoad } from './service-load.js'
import { loopOf, type ServiceProcess, startService, stopService } from './service-process.js'
import { compareUploads, type UploadFigures } from './service-upload.js'
import type { Workspace } from './workspace.js'

export const serviceUsage = `service: many clients sending incrementals at once; one client's full, beside the embedded command;
         reading a disk, all of it, and 64 KiB at random; all over loopback
  --clients N        clients at once (default 100)
  --load-seconds N   how long they send (default 120)
  --rounds N         fulls each way, of which the medians are shown (default 3)
  --size-gib N       size of the image, made or taken from an earlier run (default 1)
  --seconds N        how long random reads go on (default 10)
  --in-flight N      reads at once (default 16)
  --results FOLDER   where the raw figures go (default bench/results)`

export interface ServiceOptions extends LoadOptions {
  readonly rounds: number
  readonly sizeGib: number
  readonly seconds: number
  readonly inFlight: number
  readonly results: string
}

export function parseServiceOptions(args: readonly string[]): ServiceOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      clients: { type: 'string', default: '100' },
      'load-seconds': { type: 'string', default: '120' },
      rounds: { type: 'string', default: '3' },
      'size-gib': { type: 'string', default: '1' },
      seconds: { type: 'string', default: '10' },
      'in-flight': { type: 'string', default: '16' },
      results: { type: 'string', default: join(repositoryRoot, 'bench/results') },
    },
  })
  return {
    clients: wholePositive('clients', values.clients),
    loadSeconds: positive('load-seconds', values['load-seconds']),
    rounds: wholePositive('rounds', values.rounds),
    sizeGib: positive('size-gib', values['size-gib']),
    seconds: positive('seconds', values.seconds),
    inFlight: wholePositive('in-flight', values['in-flight']),
    results: values.results,
  }
}

/** Backs the image up, serves the repository, sends to it and reads from it. */
export async function runService(options: ServiceOptions, workspace: Workspace): Promise<void> {
  const cached = join(workspace.cache, `image-${options.sizeGib}gib.img`)
  if (!existsSync(cached)) await ensurePackages(imagePackages)
  const image = await provideImage(workspace, options.sizeGib)
  const repository = join(workspace.scratch, 'service-repository')
  const everfold = (...args: readonly string[]): Promise<unknown> =>
    run({ program: process.execPath, args: [everfoldMain, ...args, '--repo', repository] })
  await run({ program: process.execPath, args: [everfoldMain, 'init', repository] })
  await everfold('backup', 'm', `vda=${image}`)
  const started = await startService(repository, join(workspace.scratch, 'loop.json'))
  const service = { ...started, raw: `${started.url}/v1/machines/m/points/latest/disks/vda/raw` }
  try {
    const whole = await readWhole(service)
    await loopOf(service)
    const random = await readAtRandom({
      url: new URL(service.raw),
      token: service.token,
      image,
      diskBytes: options.sizeGib * GiB,
      seconds: options.seconds,
      inFlight: options.inFlight,
    })
    const randomLoop = await loopOf(service)
    const load = await runLoad(started, options)
    await stopService(started)
    const upload = await compareUploads(image, workspace.scratch, options.rounds)
    print(whole, random)
    printUploads(load, upload, options)
    printLoops([
      ['random reads', randomLoop],
      ['the load', load.loop],
      ["one client's full", upload.loop],
    ])
    const bars = barsOf(random, load, upload)
    for (const bar of bars) console.log(formatBar(bar))
    const { results, ...parameters } = options
    const path = await writeResults(results, 'service', {
      benchmark: 'service',
      commit: await describeCommit(),
      machine: describeMachine(),
      parameters,
      load,
      upload,
      whole,
      random,
      randomLoop,
      startSeconds: service.startSeconds,
      bars: bars.map((bar) => ({ ...bar, verdict: verdict(bar) })),
    })
    console.log(`raw figures: ${path}`)
  } finally {
    service.child.kill('SIGTERM')
  }
}

/** Where the disk is. */
interface Service extends ServiceProcess {
  readonly raw: string
}

/** Reads everything. @returns bytes received */
function read(service: Service, agent: Agent): Promise<number> {
  const headers = { Authorization: `Bearer ${service.token}` }
  return new Promise((resolve, reject) => {
    get(service.raw, { headers, agent }, (response) => {
      let received = 0
      response.on('data', (part: Buffer) => (received += part.length))
      response.once('end', () => {
        if (response.statusCode === 200) resolve(received)
        else reject(new Error(`the service answered ${response.statusCode ?? '?'}`))
      })
    }).once('error', reject)
  })
}

interface Whole {
  readonly bytes: number
  readonly seconds: number
}

async function readWhole(service: Service): Promise<Whole> {
  const agent = new Agent({ keepAlive: true })
  const startMs = performance.now()
  const bytes = await read(service, agent)
  agent.destroy()
  return { bytes, seconds: (performance.now() - startMs) / 1000 }
}

function print(whole: Whole, random: RandomReads): void {
  const rate = formatNumber(whole.bytes / MiB / whole.seconds)
  console.log(
    formatTable([
      ['read', 'rate', 'p50', 'p99'],
      ['whole disk', `${rate} MiB/s`, '', ''],
      [
        '64 KiB at random',
        `${formatNumber(random.perSecond)}/s`,
        `${formatNumber(random.p50Ms)} ms`,
        `${formatNumber(random.p99Ms)} ms`,
      ],
    ]),
  )
}

function printUploads(load: Load, upload: UploadFigures, options: ServiceOptions): void {
  const mib = (bytes: number): string => `${formatNumber(bytes / MiB)} MiB`
  console.log(
    `\n${options.clients} clients for ${options.loadSeconds} s: ${load.commits} commits, ${load.failures} failed, ` +
      `${formatNumber(load.sentMiBPerSecond)} MiB/s of changes; commit p50 ${formatNumber(load.commitP50Ms)} ms, p99 ${formatNumber(load.commitP99Ms)} ms\n` +
      `memory of the service: at most ${mib(load.memoryMaxBytes)}; ${mib(load.memoryEarlyBytes)} in the second quarter, ${mib(load.memoryLateBytes)} in the last\n` +
      `full of ${options.sizeGib} GiB: ${formatNumber(upload.embeddedSeconds)} s embedded, ${formatNumber(upload.serviceSeconds)} s through the service\n`,
  )
}

function printLoops(loops: readonly (readonly [string, LoopFigures | undefined])[]): void {
  for (const [when, loop] of loops) if (loop !== undefined) console.log(formatLoop(loop, when))
  console.log()
}

function barsOf(random: RandomReads, load: Load, upload: UploadFigures): Bar[] {
  return [
    {
      text: 'random reads of 64 KiB: 3,000 a second',
      limit: 1000 / 3000,
      measured: 1000 / random.perSecond,
      unit: 'ms each',
    },
    { text: 'random reads of 64 KiB, p99', limit: 15, measured: random.p99Ms, unit: 'ms' },
    { text: 'failed commits', limit: 0, measured: load.failures, unit: '' },
    {
      text: 'memory of the service under load',
      limit: 600,
      measured: load.memoryMaxBytes / 1e6,
      unit: 'MB',
    },
    {
      text: 'full through the service at 0.7 of the embedded speed',
      limit: upload.embeddedSeconds / 0.7,
      measured: upload.serviceSeconds,
      unit: 's',
    },
    {
      text: 'events kept waiting under load, p99',
      limit: 20,
      measured: load.loop?.delayP99Ms,
      unit: 'ms',
    },
    {
      text: "events kept waiting during one client's full, p99",
      limit: 20,
      measured: upload.loop.delayP99Ms,
      unit: 'ms',
    },
  ]
}
