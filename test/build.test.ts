/** What `npm run build` makes of the command stays in place until the next build is whole: commands run meanwhile. */

import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'

const run = promisify(execFile)
const project = join(import.meta.dirname, '..')
/** A project whose program prints one word. */
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'everfold-test-'))
  for (const path of ['scripts/bundle.js', 'scripts/code-cache.js', 'src/cli/start.ts', 'package.json'])
    await cp(join(project, path), join(folder, path))
  await symlink(join(project, 'node_modules'), join(folder, 'node_modules'))
  await mkdir(join(folder, 'src/pack'))
  await writeFile(join(folder, 'src/pack/worker.ts'), 'export {}')
})

afterAll(async () => {
  await rm(folder, { recursive: true })
})

async function build(program: string): Promise<void> {
  await writeFile(join(folder, 'src/cli/main.ts'), program)
  await run(process.execPath, [join(folder, 'scripts/bundle.js')])
}

/** It waits, as every command does: that is what the code cache is made by. */
function saying(word: string): string {
  return `setTimeout(() => process.stdout.write('${word}'))`
}

async function printed(): Promise<string> {
  return (await run(process.execPath, [join(folder, 'dist/bin/everfold.js')])).stdout
}

it('the built command is replaced by the next one at once, and not by one that cannot be built', async () => {
  await build(saying('first'))
  expect(await printed()).toBe('first')
  await expect(build('this is no program')).rejects.toThrow('Command failed')
  expect(await printed()).toBe('first')
  await build(saying('second'))
  expect(await printed()).toBe('second')
  expect(await readdir(join(folder, 'dist'))).toEqual(['bin'])
})
