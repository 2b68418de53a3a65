/** The built command starts from V8's cache of its code where that fits, and runs all the same where it does not. */

import { execFileSync, spawn } from 'node:child_process'
import { cp, mkdtemp, readdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ended, type Json, MAIN } from './everfold.js'

let folder: string
/** A copy of the built command, to be damaged. */
let built: string
let cache: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'everfold-test-'))
  built = join(folder, 'dist/bin')
  await cp(dirname(MAIN), built, { recursive: true })
  await symlink(join(import.meta.dirname, '../node_modules'), join(folder, 'node_modules'))
  const [name = ''] = (await readdir(built)).filter((name) => name.endsWith('.cache'))
  cache = join(built, name)
})

afterAll(async () => {
  await rm(folder, { recursive: true })
})

/** Takes and restores a point with the copied command. */
async function takesAndRestores(name: string, flags: readonly string[] = []): Promise<void> {
  const run = async (...args: readonly string[]): Promise<Json> => {
    const child = spawn(process.execPath, [...flags, join(built, 'everfold.js'), ...args], {
      cwd: folder,
      env: { ...process.env, EVERFOLD_REPO: join(folder, name) },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const { status, stdout, stderr } = await ended(child)
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    return stdout
  }
  const disk = Buffer.alloc(300_000, name)
  await writeFile(join(folder, 'disk.img'), disk)
  await run('init')
  await run('backup', 'm', 'd=disk.img')
  await run('restore', 'm', 'latest', `d=${name}.img`)
  expect((await readFile(join(folder, `${name}.img`))).equals(disk)).toBe(true)
}

describe("V8's cache of the program's code", () => {
  it('is one that the Node.js that made it takes', () => {
    const program = cache.replace(/\.cache$/, '')
    const take = `
      const { readFileSync } = require('node:fs')
      const cachedData = readFileSync(${JSON.stringify(cache)})
      const code = readFileSync(${JSON.stringify(program)}, 'latin1')
      console.log(new (require('node:vm').Script)(code, { cachedData }).cachedDataRejected)`
    expect(execFileSync(process.execPath, ['--eval', take], { encoding: 'utf8' })).toBe('false\n')
  })

  it('lets the command run with flags that it was not made with', async () => {
    await takesAndRestores('flags', ['--max-lazy', '--no-opt'])
  })

  it('is left alone where a bit of it changed', async () => {
    const bytes = await readFile(cache)
    const at = bytes.length >> 1
    bytes[at] = (bytes[at] ?? 0) ^ 1
    await writeFile(cache, bytes)
    await takesAndRestores('flipped')
  })

  it('is left alone where it was cut short', async () => {
    await truncate(cache, 1000)
    await takesAndRestores('short')
  })

  it('may be missing', async () => {
    await rm(cache)
    await takesAndRestores('missing')
  })
})
