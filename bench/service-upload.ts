import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from './command.js'
import type { LoopFigures } from './loop-probe.js'
import { measure, median, medianOf } from './measure.js'
import { everfoldMain } from './paths.js'
import { loopOf, startService, stopService } from './service-process.js'

/** One client's full, medians of the rounds. */
export interface UploadFigures {
  readonly embeddedSeconds: number
  readonly serviceSeconds: number
  /** Of the service. */
  readonly loop: LoopFigures
}

/** The same image into new repositories, embedded and through the service on the same machine, in turns. */
export async function compareUploads(image: string, scratch: string, rounds: number): Promise<UploadFigures> {
  const embedded: number[] = []
  const through: number[] = []
  const loops: LoopFigures[] = []
  const cost = join(scratch, 'cost')
  const repository = join(scratch, 'upload-repository')
  const everfold = (...args: readonly string[]) => ({
    program: process.execPath,
    args: [everfoldMain, ...args],
  })
  const inNewRepository = async (work: () => Promise<void>): Promise<void> => {
    await run(everfold('init', repository))
    await work()
    await rm(repository, { recursive: true })
    await run({ program: 'sync', args: ['-f', scratch] })
  }
  const backup = ['backup', 'm', `vda=${image}`]
  for (let round = 0; round < rounds; round++) {
    await inNewRepository(async () => {
      embedded.push((await measure(everfold(...backup, '--repo', repository), cost)).wallSeconds)
    })
    await inNewRepository(async () => {
      const service = await startService(repository, join(scratch, 'loop.json'))
      const command = everfold(...backup, '--server', service.url)
      const env = { EVERFOLD_TOKEN: service.token }
      await loopOf(service)
      through.push((await measure({ ...command, env }, cost)).wallSeconds)
      const loop = await loopOf(service)
      if (loop !== undefined) loops.push(loop)
      await stopService(service)
    })
  }
  return { embeddedSeconds: median(embedded), serviceSeconds: median(through), loop: medianOf(loops) }
}
