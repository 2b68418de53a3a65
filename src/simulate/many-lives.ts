import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { live } from './life.js'
import { BUNDLE_SEEDS_FROM, planLife, SERVICE_SEEDS_FROM } from './plan.js'
import { shorten } from './shorten.js'
import { Counts } from './world.js'

/** A life that failed, and what was wrong. */
export interface FailedLife {
  readonly seed: number
  readonly message: string
}

/** What many lives came to. */
export interface SimulationResult {
  readonly lives: number
  readonly failures: readonly FailedLife[]
  readonly operations: Readonly<Record<string, number>>
  readonly faults: Readonly<Record<string, number>>
  readonly refusals: Readonly<Record<string, number>>
  readonly comparedPoints: number
  readonly turns: number
  readonly ms: number
}

export type SimulationRequest = {
  readonly steps: number
  /** End with the first failure, and do not shorten it. */
  readonly stopEarly: boolean
} /** Begins no new life after `forMs`, if that is given. */ & (
  | { readonly seeds: readonly number[]; readonly forMs?: number }
  | { readonly from: number; readonly forMs: number; readonly processes: number }
)

/** Failures that are shortened and told; after that it stops. */
const FAILURES_TOLD = 3
/** How far apart the seeds of processes begin. */
const SEEDS_APART = 10_000_000

/** Lives these lives, or as many as there is time for, and tells of each failure with its shortest trace on standard error. */
export async function simulate(request: SimulationRequest): Promise<SimulationResult> {
  if ('from' in request && request.processes > 1) return inProcesses(request)
  const counts = new Counts()
  const failures: FailedLife[] = []
  const started = performance.now()
  let lives = 0
  for (const seed of seedsOf(request, started)) {
    const life = planLife(seed, request.steps)
    const { failure, counts: lived } = await live(life)
    lives++
    counts.add(lived)
    if (failure === undefined) continue
    failures.push({ seed, message: failure.message })
    process.stderr.write(`seed ${seed}: ${failure.message}\n`)
    if (request.stopEarly) break
    const { failure: again, trace } = await live(await shorten(life, failure))
    process.stderr.write(`shortest: ${again?.message ?? 'it does not fail alone'}\n${trace.join('\n')}\n`)
    if (failures.length === FAILURES_TOLD) break
  }
  return {
    lives,
    failures,
    operations: Object.fromEntries(counts.operations),
    faults: Object.fromEntries(counts.faults),
    refusals: Object.fromEntries(counts.refusals),
    comparedPoints: counts.comparedPoints,
    turns: counts.turns,
    ms: performance.now() - started,
  }
}

function* seedsOf(request: SimulationRequest, started: number): Generator<number> {
  const mayBegin = (): boolean => performance.now() - started < (request.forMs ?? Infinity)
  if ('from' in request)
    for (let seed = request.from; mayBegin(); seed++) {
      yield seed
      if (mayBegin()) yield seed + SERVICE_SEEDS_FROM
      if (mayBegin()) yield seed + BUNDLE_SEEDS_FROM + (seed % 2) * SERVICE_SEEDS_FROM
    }
  else for (const seed of request.seeds) if (mayBegin()) yield seed
}

async function inProcesses(
  request: Extract<SimulationRequest, { readonly from: number }>,
): Promise<SimulationResult> {
  const { from, forMs, processes, steps } = request
  const runs = Array.from({ length: processes }, async (_, i) => {
    const args = ['--minutes', String(forMs / 60_000), '--steps', String(steps), '--json']
    const env = { ...process.env, EVERFOLD_SIMULATE_FROM: String(from + i * SEEDS_APART) }
    const main = fileURLToPath(new URL('./main.js', import.meta.url))
    const child = promisify(execFile)(process.execPath, [main, ...args], { env, maxBuffer: 2 ** 26 })
    child.child.stderr?.pipe(process.stderr)
    const output = await child.catch((error: unknown) => error as { readonly stdout: string })
    return JSON.parse(output.stdout) as SimulationResult
  })
  return (await Promise.all(runs)).reduce(together)
}

function together(a: SimulationResult, b: SimulationResult): SimulationResult {
  const sum = (
    x: Readonly<Record<string, number>>,
    y: Readonly<Record<string, number>>,
  ): Record<string, number> =>
    Object.fromEntries(
      [...new Set([...Object.keys(x), ...Object.keys(y)])].map((k) => [k, (x[k] ?? 0) + (y[k] ?? 0)]),
    )
  return {
    lives: a.lives + b.lives,
    failures: [...a.failures, ...b.failures],
    operations: sum(a.operations, b.operations),
    faults: sum(a.faults, b.faults),
    refusals: sum(a.refusals, b.refusals),
    comparedPoints: a.comparedPoints + b.comparedPoints,
    turns: a.turns + b.turns,
    ms: Math.max(a.ms, b.ms),
  }
}
