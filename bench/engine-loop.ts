import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from './command.js'
import type { LoopFigures } from './loop-probe.js'
import { repositoryRoot } from './paths.js'

/** What a command is to see, so that it writes into a file what keeps its main thread busy. */
export function probing(path: string): {
  readonly NODE_OPTIONS: string
  readonly EVERFOLD_BENCH_PROBE: string
} {
  return {
    NODE_OPTIONS: `${process.env['NODE_OPTIONS'] ?? ''} --import ${join(repositoryRoot, 'dist/bench/loop-probe.js')}`,
    EVERFOLD_BENCH_PROBE: path,
  }
}

/** A full with a probe in its process: how long its main thread kept events waiting. Its time does not count. */
export async function measureLoop(image: string, main: string, scratch: string): Promise<LoopFigures> {
  const repository = join(scratch, 'loop-repository')
  const probe = join(scratch, 'loop.json')
  const env = probing(probe)
  await run({ program: process.execPath, args: [main, 'init', repository] })
  const backup = [main, 'backup', 'bench', `disk0=${image}`, '--repo', repository]
  await run({ program: process.execPath, args: backup, env })
  const figures = JSON.parse(await readFile(probe, 'utf8')) as LoopFigures
  await rm(probe)
  await rm(repository, { recursive: true })
  return figures
}
