import { execFile } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { inOrder } from '../in-order.js'
import type { SimulationResult } from './many-lives.js'
import { MUTATIONS, type Mutation } from './mutations.js'
import { BUNDLE_SEEDS_FROM, SERVICE_SEEDS_FROM } from './plan.js'

/** Lives that a mutation may survive before it counts as missed, and seconds after which no new one begins. */
const LIVES_MAX = 1000
const SECONDS_MAX = 240
const FIRST_SEED = 1
/** A process that takes this much longer hangs. */
const PATIENCE_MS = 60_000
/** Mutations that are tried at once. */
const AT_ONCE = 2
const MESSAGE_LENGTH_MAX = 110

/** Root of the project: this file is built to dist/src/simulate. */
const PROJECT = fileURLToPath(new URL('../../..', import.meta.url))

type Verdict =
  /** The unmutated code lives the same life without failing. */
  | { readonly kind: 'caught'; readonly seed: number; readonly lives: number; readonly message: string }
  | { readonly kind: 'missed'; readonly lives: number }
  /** It failed, but not for certain because of the mutation. */
  | { readonly kind: 'unproven'; readonly message: string }

/**
 * Makes each mutation in a copy of the built code, and lives the same lives with it until one fails; that one must not fail without
 * the mutation. One that is missed takes four minutes; two are tried at a time.
 * @param part  Only mutations whose names have this in them.
 * @returns whether all were caught
 */
export async function testMutations(part: string): Promise<boolean> {
  const chosen = MUTATIONS.filter(({ name }) => name.includes(part))
  let caught = 0
  const tried = inOrder(chosen, AT_ONCE, async (mutation) => ({ mutation, verdict: await judge(mutation) }))
  for await (const { mutation, verdict } of tried) {
    if (verdict.kind === 'caught') caught++
    process.stdout.write(`${describe(verdict).padEnd(32)} ${mutation.name}\n`)
    if (verdict.kind !== 'missed') process.stdout.write(`${''.padEnd(32)}   ${verdict.message}\n`)
  }
  process.stdout.write(`${caught} of ${chosen.length} mutations were caught.\n`)
  return caught === chosen.length
}

function describe(verdict: Verdict): string {
  if (verdict.kind === 'caught') return `caught by seed ${verdict.seed}, life ${verdict.lives}`
  return verdict.kind === 'missed' ? `MISSED in ${verdict.lives} lives` : 'NOT PROVEN'
}

async function judge(mutation: Mutation): Promise<Verdict> {
  const folder = await mkdtemp(join(tmpdir(), 'everfold-mutation-'))
  try {
    await cp(join(PROJECT, 'dist/src'), join(folder, 'dist/src'), { recursive: true })
    await cp(join(PROJECT, 'package.json'), join(folder, 'package.json'))
    await symlink(join(PROJECT, 'node_modules'), join(folder, 'node_modules'))
    for (const edit of mutation.edits) await mutate(join(folder, 'dist/src', edit.file), edit, mutation.name)
    const first =
      FIRST_SEED + (mutation.service ? SERVICE_SEEDS_FROM : 0) + (mutation.bundles ? BUNDLE_SEEDS_FROM : 0)
    const seeds = [...(mutation.seeds ?? []), `${first}..${first + LIVES_MAX - 1}`].join()
    const lived = await lives(folder, '--seeds', seeds, '--at-most', String(SECONDS_MAX))
    if (typeof lived === 'string') return { kind: 'unproven', message: `the process died or hung: ${lived}` }
    const [failure] = lived.failures
    if (failure === undefined) return { kind: 'missed', lives: lived.lives }
    const message = (failure.message.split('\n')[0] ?? '').slice(0, MESSAGE_LENGTH_MAX)
    const without = await lives(PROJECT, '--seed', String(failure.seed))
    return typeof without === 'string' || without.failures.length > 0
      ? { kind: 'unproven', message: `seed ${failure.seed} fails without the mutation, too: ${message}` }
      : { kind: 'caught', seed: failure.seed, lives: lived.lives, message }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Lives lives in a process of their own, up to the first failure. @returns what they came to, or why that is not known */
async function lives(folder: string, ...args: readonly string[]): Promise<SimulationResult | string> {
  const main = join(folder, 'dist/src/simulate/main.js')
  const timeout = SECONDS_MAX * 1000 + PATIENCE_MS
  const run = promisify(execFile)(process.execPath, [main, ...args, '--stop-early', '--json'], { timeout })
  const ended = await run.catch((error: unknown) => error as { stdout: string; stderr: string })
  try {
    return JSON.parse(ended.stdout) as SimulationResult
  } catch {
    return ended.stderr.slice(-MESSAGE_LENGTH_MAX)
  }
}

async function mutate(path: string, edit: Mutation['edits'][number], name: string): Promise<void> {
  const code = await readFile(path, 'utf8')
  const places = code.split(edit.find).length - 1
  if (places !== 1) throw new Error(`"${name}" fits ${places} places in ${path}; it has to fit one`)
  await writeFile(
    path,
    code.replace(edit.find, () => edit.replace),
  )
}
