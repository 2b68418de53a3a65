import { readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { ExtentList } from '../src/chain/extent-list.js'
import { PackTable } from '../src/chain/pack-table.js'
import { Repository } from '../src/chain/repository.js'
import { MemoryIndex } from '../src/index/memory-index.js'
import { InlineCrew } from '../src/pack/inline-crew.js'
import { LocalStore } from '../src/store/local-store.js'
import type { GrowthCurve, GrowthSample } from './growth-curve.js'
import { medianOf, secondsOf } from './measure.js'
import { formatDecimalBytes, formatNumber } from './report.js'
import { SeededBytes } from './seeded-bytes.js'
import { startService, stopService } from './service-process.js'
import { gridBytes, packIds, storeRun, syntheticPoint } from './synthetic-runs.js'
import type { Workspace } from './workspace.js'

export interface StartGrowthOptions {
  /** Machines, fewest first. */
  readonly machines: readonly number[]
  readonly pointsPerMachine: number
  readonly rounds: number
  readonly seed: string
}

/** Machines with points, whose runs name packs that are not there: nobody reads them here. */
async function layDownMachines(folder: string, machines: number, options: StartGrowthOptions): Promise<void> {
  const store = await LocalStore.open(folder, { create: true })
  await Repository.init(store, {})
  const openIndex = async (): Promise<MemoryIndex> => new MemoryIndex()
  const repository = await Repository.open({ store, crew: new InlineCrew(), openIndex })
  const random = new SeededBytes(options.seed)
  for (let number = 0; number < machines; number += 1) {
    const machine = `machine-${number}`
    const packs = new PackTable()
    const list = new ExtentList(gridBytes, packs, 1)
    list.append(0, gridBytes, packs.slotOf(packIds(1, random)[0] ?? ''), 0, 0)
    const run = await storeRun(repository, machine, list)
    const points = Array.from({ length: options.pointsPerMachine }, (_, i) =>
      syntheticPoint(random, list.end, run, i === 0),
    )
    await repository.chains.edit(machine, () => ({ points }))
  }
  await repository.close()
  await store.close()
}

function residentBytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024
}

async function get(url: string, token: string): Promise<void> {
  const answer = await fetch(url, { headers: { Authorization: `Bearer ${token}` } })
  const { length } = await answer.arrayBuffer().then((body) => new Uint8Array(body))
  if (!answer.ok || length === 0) throw new Error(`${url} answered ${answer.status}`)
}

/** Starts the service anew, and asks it for what has to look at every machine. */
async function sampleStart(folder: string, token: string): Promise<Record<string, number>> {
  const service = await startService(folder)
  try {
    const pid = service.child.pid ?? 0
    const startMemoryBytes = residentBytes(pid)
    const machines = `${service.url}/v1/machines`
    const figures = {
      startSeconds: service.startSeconds,
      firstListSeconds: await secondsOf(() => get(machines, token)),
      listSeconds: await secondsOf(() => get(machines, token)),
      metricsSeconds: await secondsOf(() => get(`${service.url}/metrics`, token)),
      startMemoryBytes,
    }
    return { ...figures, listedMemoryBytes: residentBytes(pid) }
  } finally {
    await stopService(service)
  }
}

/** The service: until it listens, and until it has listed all machines, with the memory that this takes. */
export async function growStart(options: StartGrowthOptions, workspace: Workspace): Promise<GrowthCurve> {
  const samples: GrowthSample[] = []
  for (const machines of options.machines) {
    const folder = join(workspace.scratch, 'growing-machines')
    await layDownMachines(folder, machines, options)
    // Its first start makes the token.
    const first = await startService(folder)
    await stopService(first)
    const rounds: Record<string, number>[] = []
    for (let round = 0; round < options.rounds; round += 1)
      rounds.push(await sampleStart(folder, first.token))
    const figures = medianOf(rounds)
    const at = machines * options.pointsPerMachine
    samples.push({ name: `${formatNumber(machines)} machines, ${formatNumber(at)} points`, at, figures })
    console.log(
      `start: ${machines} machines, ${at} points: listens after ${formatNumber(figures['startSeconds'] ?? 0)} s`,
    )
    await rm(folder, { recursive: true })
  }
  return {
    name: 'start',
    title: `Starting the service, ${formatNumber(options.pointsPerMachine)} points a machine`,
    parameters: options,
    x: { label: 'points', log: true, format: formatNumber },
    samples,
    panels: [
      {
        y: { label: 's', log: true, format: formatNumber },
        figures: {
          startSeconds: 'until it listens, s',
          firstListSeconds: 'first list of machines, s',
          listSeconds: 'second list, s',
          metricsSeconds: 'metrics, s',
        },
      },
      {
        y: { label: 'memory of the service', format: formatDecimalBytes },
        figures: { startMemoryBytes: 'when it listens', listedMemoryBytes: 'after the lists' },
      },
    ],
  }
}
