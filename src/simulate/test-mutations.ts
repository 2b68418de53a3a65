import { execFile } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { MUTATIONS, type Mutation } from './mutations.js'

/** Lives that a mutation may survive before it counts as missed: in portions, each a process. */
const PORTIONS = 8
const LIVES_A_PORTION = 25
const PORTION_TIMEOUT_MS = 120_000

/** Root of the project: this file is built to dist/src/simulate. */
const PROJECT = fileURLToPath(new URL('../../..', import.meta.url))

/** Makes each mutation in a copy of the built code and lives lives with it. @returns whether all were noticed */
export async function testMutations(): Promise<boolean> {
  let missed = 0
  for (const mutation of MUTATIONS) {
    const portion = await caughtIn(mutation)
    if (portion === undefined) missed++
    const outcome = portion === undefined ? 'MISSED' : `caught within ${portion * LIVES_A_PORTION} lives`
    process.stdout.write(`${outcome.padEnd(24)} ${mutation.name}\n`)
  }
  process.stdout.write(`${MUTATIONS.length - missed} of ${MUTATIONS.length} mutations were caught.\n`)
  return missed === 0
}

/** @returns the number of the portion of lives that noticed it */
async function caughtIn(mutation: Mutation): Promise<number | undefined> {
  const folder = await mkdtemp(join(tmpdir(), 'everfold-mutation-'))
  try {
    await cp(join(PROJECT, 'dist'), join(folder, 'dist'), { recursive: true })
    await cp(join(PROJECT, 'package.json'), join(folder, 'package.json'))
    await symlink(join(PROJECT, 'node_modules'), join(folder, 'node_modules'))
    await mutate(join(folder, 'dist/src', mutation.file), mutation)
    const main = join(folder, 'dist/src/simulate/main.js')
    for (let portion = 1; portion <= PORTIONS; portion++) {
      const first = portion * 1000
      const seeds = `${first}..${first + LIVES_A_PORTION - 1}`
      const run = promisify(execFile)(process.execPath, [main, '--seeds', seeds, '--stop-early'], {
        timeout: PORTION_TIMEOUT_MS,
      })
      // A life that hangs or dies is noticed as well.
      if (
        await run.then(
          () => false,
          () => true,
        )
      )
        return portion
    }
    return undefined
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function mutate(path: string, { find, replace, name }: Mutation): Promise<void> {
  const code = await readFile(path, 'utf8')
  const places = code.split(find).length - 1
  if (places !== 1) throw new Error(`"${name}" fits ${places} places in ${path}; it has to fit one`)
  await writeFile(
    path,
    code.replace(find, () => replace),
  )
}
