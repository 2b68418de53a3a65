import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { ModuleKind, ScriptTarget, transpileModule } from 'typescript'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { lockFolder, lockSocket } from './kernel-locks.js'
import { lockRepository } from './lock.js'

let scratch: string
let root: string
const children: ChildProcess[] = []

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'everfold-lock-'))
  await compile(scratch)
})

beforeEach(async () => {
  root = await mkdtemp(join(scratch, 'repository-'))
})

afterEach(async () => {
  for (const child of children.splice(0)) await kill(child)
})

afterAll(async () => {
  await rm(scratch, { recursive: true })
})

describe('the lock of a repository', () => {
  it('is refused to a second process, which is told who holds it and what to do', async () => {
    const holder = await startHolder()
    const error: unknown = await lockRepository(root, 'test').catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({
      code: 'REPOSITORY_LOCKED',
      details: { location: root, holder: { pid: holder.pid, command: 'child holder' } },
    })
    expect(String(error)).toContain(`process ${holder.pid} on `)
    expect(String(error)).toMatch(/child holder.*since 2\d{3}-.*Wait until it is done, or stop it/u)
  })

  it('is free the moment its holder is killed, with nothing to clean up', async () => {
    for (let round = 0; round < 3; round++) {
      const holder = await startHolder()
      await expect(lockRepository(root, 'test')).rejects.toMatchObject({ code: 'REPOSITORY_LOCKED' })
      await kill(holder)
      const lock = await lockRepository(root, 'test')
      await lock.release()
    }
  })

  it('is refused to the same process a second time, which does not weaken it', async () => {
    const lock = await lockRepository(root, 'first')
    for (let attempt = 0; attempt < 3; attempt++) {
      await expect(lockRepository(root, 'second')).rejects.toMatchObject({
        code: 'REPOSITORY_LOCKED',
        details: { holder: { pid: process.pid, command: 'first' } },
      })
    }
    expect(await askChild()).toBe('REPOSITORY_LOCKED')
    await lock.release()
    expect(await askChild()).toBe('locked')
  })

  it('goes to exactly one of many processes that ask at once', async () => {
    for (let round = 0; round < 3; round++) {
      const answers = await Promise.all(Array.from({ length: 8 }, () => startChild()))
      expect(answers.map(({ answer }) => answer).sort()).toEqual([
        ...Array.from({ length: 7 }, () => 'REPOSITORY_LOCKED'),
        'locked',
      ])
      await Promise.all(answers.map(({ child }) => kill(child)))
    }
  })

  it('goes to exactly one of many attempts in one process', async () => {
    const attempts = await Promise.allSettled(Array.from({ length: 8 }, () => lockRepository(root, 'test')))
    const locks = attempts.flatMap((attempt) => (attempt.status === 'fulfilled' ? [attempt.value] : []))
    expect(locks).toHaveLength(1)
    await locks[0]?.release()
  })

  it('does not come free when its owner forgets it and garbage is collected', async () => {
    const holder = await startHolder({ collectGarbage: true })
    await expect(lockRepository(root, 'test')).rejects.toMatchObject({ code: 'REPOSITORY_LOCKED' })
    expect(await attempt(lockSocket)).toBe('busy')
    expect(await attempt(lockFolder)).toBe('busy')
    await kill(holder)
  })

  it('may be released twice, and then belongs to the next one alone', async () => {
    const first = await lockRepository(root, 'first')
    await first.release()
    const second = await lockRepository(root, 'second')
    await first.release()
    expect(await askChild()).toBe('REPOSITORY_LOCKED')
    expect(JSON.parse(await readFile(join(root, 'lock/holder.json'), 'utf8'))).toMatchObject({
      command: 'second',
    })
    await second.release()
    expect(await readdir(join(root, 'lock'))).toEqual([])
  })

  it('is one lock by whatever path the folder is reached', async () => {
    const lock = await lockRepository(root, 'test')
    await expect(lockRepository(`${root}/lock/..`, 'test')).rejects.toMatchObject({
      code: 'REPOSITORY_LOCKED',
    })
    await lock.release()
  })

  it.each(['lock/holder.json', 'lock/LOCK', 'lock/flock'])(
    'does not depend on what is in %s, nor on its removal while it is held',
    async (path) => {
      await mkdir(join(root, 'lock'))
      await writeFile(join(root, path), Buffer.from([0xff, 0x00, 0x7b]))
      const lock = await lockRepository(root, 'test')
      await writeFile(join(root, path), '{"pid": "many"}')
      expect(await askChild()).toBe('REPOSITORY_LOCKED')
      await rm(join(root, 'lock'), { recursive: true })
      expect(await askChild()).toBe('REPOSITORY_LOCKED')
      await lock.release()
    },
  )

  it('does not name a holder that is dead', async () => {
    const holder = await startHolder()
    await kill(holder)
    const socketAlone = await lockSocket(root)
    await expect(lockRepository(root, 'test')).rejects.toMatchObject({
      code: 'REPOSITORY_LOCKED',
      details: { location: root },
      message: expect.stringContaining('by another process'),
    })
    if (socketAlone.state === 'held') await socketAlone.release()
  })

  it('is REPOSITORY_NOT_FOUND where there is no folder', async () => {
    await expect(lockRepository(join(root, 'missing'), 'test')).rejects.toMatchObject({
      code: 'REPOSITORY_NOT_FOUND',
    })
  })

  it.each([
    ['the socket', lockSocket],
    ['flock', lockFolder],
  ])('is refused when only %s says that it is taken, and leaves the other one free', async (_, layer) => {
    const held = await layer(root)
    if (held.state !== 'held') throw new Error(`no such lock here: ${JSON.stringify(held)}`)
    expect(await askChild()).toBe('REPOSITORY_LOCKED')
    await held.release()
    expect(await askChild()).toBe('locked')
  })

  it('works by the socket alone where there is no flock program, and meets those that have it', async () => {
    const lock = await lockRepository(root, 'test')
    expect(await askChild({ PATH: '/nowhere' })).toBe('REPOSITORY_LOCKED')
    await lock.release()
    const { answer, child } = await startChild({ PATH: '/nowhere' })
    expect(answer).toBe('locked')
    await expect(lockRepository(root, 'test')).rejects.toMatchObject({ code: 'REPOSITORY_LOCKED' })
    await kill(child)
  })
})

describe('the lock on a full disk', () => {
  let mounted: boolean

  beforeEach(() => {
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'everfold-test', root], { stdio: 'ignore' })
      mounted = true
    } catch {
      mounted = false
    }
  })

  afterEach(() => {
    if (mounted) execFileSync('umount', ['-l', root])
  })

  it('is to be had, and excludes others, without a single free byte', async () => {
    // Where nothing can be mounted, a file in place of lock/ refuses the holder's name just as well.
    if (mounted) await fill(join(root, 'ballast'))
    else await writeFile(join(root, 'lock'), '')
    const lock = await lockRepository(root, 'test')
    expect(await askChild()).toBe('REPOSITORY_LOCKED')
    await lock.release()
    const holder = await startHolder()
    await expect(lockRepository(root, 'test')).rejects.toMatchObject({ code: 'REPOSITORY_LOCKED' })
    await kill(holder)
    await (await lockRepository(root, 'test')).release()
  })

  it("forgets the last holder's name when the new one cannot be written", async () => {
    await mkdir(join(scratch, 'full/lock'), { recursive: true })
    await symlink('/dev/full', join(scratch, 'full/lock/holder.json'))
    const lock = await lockRepository(join(scratch, 'full'), 'test')
    expect(await readdir(join(scratch, 'full/lock'))).toEqual([])
    await lock.release()
  })
})

describe('where flock is different', () => {
  const path = process.env['PATH']

  afterEach(() => {
    process.env['PATH'] = path
    vi.restoreAllMocks()
  })

  it('locks a file where folders cannot be locked, as on network file systems', async () => {
    const script =
      '#!/bin/sh\n[ -d /proc/self/fd/3 ] && { echo "flock: 3: Bad file descriptor" >&2; exit 71; }\n'
    await mkdir(join(scratch, 'bin'), { recursive: true })
    await writeFile(join(scratch, 'bin/flock'), `${script}PATH='${path}' exec flock "$@"`, { mode: 0o755 })
    process.env['PATH'] = `${scratch}/bin:${path}`
    const held = await lockFolder(root)
    if (held.state !== 'held') throw new Error(JSON.stringify(held))
    expect(await readdir(join(root, 'lock'))).toEqual(['flock'])
    expect(await attempt(lockFolder)).toBe('busy')
    expect(await askChild()).toBe('REPOSITORY_LOCKED')
    await held.release()
    expect(await askChild()).toBe('locked')
  })

  it('refuses where neither kind of lock is to be had, and says what to install', async () => {
    process.env['PATH'] = '/nowhere'
    vi.spyOn(process, 'platform', 'get').mockReturnValue('freebsd')
    await expect(lockRepository(root, 'test')).rejects.toMatchObject({
      code: 'STORE_FAILED',
      message: expect.stringMatching(/cannot lock .*ENOENT.*Install the program flock/u),
    })
  })
})

async function fill(path: string): Promise<void> {
  await expect(writeFile(path, Buffer.alloc(1024 * 1024))).rejects.toMatchObject({ code: 'ENOSPC' })
}

async function attempt(lock: typeof lockSocket): Promise<string> {
  const result = await lock(root)
  if (result.state === 'held') await result.release()
  return result.state
}

/** A second process locks the root and says how that went; it keeps the lock until it is killed. */
async function startChild(
  env: Record<string, string> = {},
  options: { collectGarbage?: boolean } = {},
): Promise<{ answer: string; child: ChildProcess }> {
  const script = `
    const { lockRepository } = await import(${JSON.stringify(pathToFileURL(join(scratch, 'src/store/lock.js')).href)})
    setInterval(() => undefined, 1000)
    const answer = await lockRepository(process.argv[1], 'child holder').then(() => 'locked', (error) => error.code)
    for (let round = 0; globalThis.gc && round < 10; round++) {
      await new Promise((resolve) => setTimeout(resolve, 5))
      globalThis.gc()
    }
    console.log(answer)`
  const flags = options.collectGarbage === true ? ['--expose-gc'] : []
  const child = spawn(process.execPath, [...flags, '--input-type=module', '-e', script, root], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(child)
  const [answer] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string]
  return { answer: answer.trim(), child }
}

async function startHolder(options: { collectGarbage?: boolean } = {}): Promise<ChildProcess> {
  const { answer, child } = await startChild({}, options)
  expect(answer).toBe('locked')
  return child
}

async function askChild(env: Record<string, string> = {}): Promise<string> {
  const { answer, child } = await startChild(env)
  await kill(child)
  return answer
}

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGKILL')
  await exited
}

/** The store layer as JavaScript: a second process of Node.js 20 cannot run it otherwise. */
async function compile(target: string): Promise<void> {
  const source = dirname(dirname(fileURLToPath(import.meta.url)))
  await writeFile(join(target, 'package.json'), '{"type": "module"}')
  for (const folder of ['', 'store']) {
    await mkdir(join(target, 'src', folder), { recursive: true })
    for (const name of await readdir(join(source, folder))) {
      const path = join(source, folder, name)
      if (!name.endsWith('.ts') || name.endsWith('.test.ts') || !(await stat(path)).isFile()) continue
      const { outputText } = transpileModule(await readFile(path, 'utf8'), {
        compilerOptions: { module: ModuleKind.ESNext, target: ScriptTarget.ES2022 },
      })
      await writeFile(join(target, 'src', folder, name.replace(/\.ts$/u, '.js')), outputText)
    }
  }
}
