import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from './command.js'
import type { GrowthCurve, GrowthSample } from './growth-curve.js'
import { everfoldMain } from './paths.js'
import { formatBytes, formatDecimalBytes, formatNumber } from './report.js'
import { runLoad } from './service-load.js'
import { startService, stopService } from './service-process.js'
import type { Workspace } from './workspace.js'

export interface ClientGrowthOptions {
  /** Clients at once, fewest first. */
  readonly clients: readonly number[]
  readonly loadSeconds: number
}

/** The service, by the number of clients that send to it at once. */
export async function growClients(options: ClientGrowthOptions, workspace: Workspace): Promise<GrowthCurve> {
  const samples: GrowthSample[] = []
  for (const clients of options.clients) {
    const repository = join(workspace.scratch, 'growing-clients')
    await run({ program: process.execPath, args: [everfoldMain, 'init', repository] })
    const service = await startService(repository)
    const load = await runLoad(service, { clients, loadSeconds: options.loadSeconds })
    await stopService(service)
    await rm(repository, { recursive: true })
    if (load.failures > 0) throw new Error(`${load.failures} backups of ${clients} clients failed`)
    const { commitP50Ms, commitP99Ms, memoryMaxBytes, memoryLateBytes, sentMiBPerSecond } = load
    const figures = { memoryMaxBytes, memoryLateBytes, sentMiBPerSecond, commitP50Ms, commitP99Ms }
    samples.push({ name: `${clients} clients`, at: clients, figures })
    console.log(
      `clients: ${clients}: ${formatBytes(memoryMaxBytes)} at most, ${formatNumber(sentMiBPerSecond)} MiB/s`,
    )
  }
  return {
    name: 'clients',
    title: 'The service under incrementals of many clients at once',
    parameters: options,
    x: { label: 'clients', log: true, format: formatNumber },
    samples,
    panels: [
      {
        y: { label: 'memory of the service', format: formatDecimalBytes },
        figures: { memoryMaxBytes: 'at most', memoryLateBytes: 'late' },
      },
      {
        y: { label: 'MiB of changes a second', format: formatNumber },
        figures: { sentMiBPerSecond: 'MiB/s' },
      },
      {
        y: { label: 'ms until a commit is answered', log: true, format: formatNumber },
        figures: { commitP50Ms: 'p50 ms', commitP99Ms: 'p99 ms' },
      },
    ],
  }
}
