import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from './command.js'
import { writeOut } from './engine-round.js'
import { measure } from './measure.js'
import { everfoldMain } from './paths.js'
import { startService, stopService } from './service-process.js'

/** A full through the service on this machine. CPU: of client and service together. */
export interface ServiceFigures {
  readonly wallSeconds: number
  readonly cpuSeconds: number
}

/** User and system time of a process so far. */
async function cpuSecondsOf(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  // proc(5): fields after the name in parentheses, which may contain spaces; utime and stime are in ticks of 10 ms.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

export async function measureThroughService(image: string, scratch: string): Promise<ServiceFigures> {
  const repository = join(scratch, 'service-repository')
  const everfold = (...args: string[]) => ({ program: process.execPath, args: [everfoldMain, ...args] })
  await run(everfold('init', repository))
  const service = await startService(repository)
  const pid = service.child.pid ?? 0
  try {
    await writeOut(scratch)
    const before = await cpuSecondsOf(pid)
    const backup = everfold('backup', 'bench', `disk0=${image}`, '--server', service.url)
    const cost = await measure({ ...backup, env: { EVERFOLD_TOKEN: service.token } }, join(scratch, 'cost'))
    const cpuSeconds = cost.cpuSeconds + (await cpuSecondsOf(pid)) - before
    return { wallSeconds: cost.wallSeconds, cpuSeconds: Math.round(cpuSeconds * 100) / 100 }
  } finally {
    await stopService(service)
    await rm(repository, { recursive: true })
    await writeOut(scratch)
  }
}
