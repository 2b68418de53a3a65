import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { ended, everfold, type RunOptions, start, succeed } from './everfold.js'

it.each([
  ['help', ['--help']],
  ['a result', ['init']],
  ['a document', ['init', '--json']],
])('does not fail, or complain, when nobody reads on: %s', async (_, args) => {
  const folder = mkdtempSync(join(tmpdir(), 'everfold-pipe.'))
  try {
    const child = start(args, { env: { EVERFOLD_REPO: join(folder, 'repository') } })
    // As `everfold … | head` does.
    child.stdout?.destroy()
    const { status, stderr } = await ended(child)
    expect(stderr).toBe('')
    expect(status).toBe(0)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

it('ends as its work did when nobody reads its complaints', async () => {
  const child = start(['points', '--repo', '/nowhere'])
  child.stderr?.destroy()
  expect((await ended(child)).status).toBe(3)
})

describe('on a full disk', () => {
  const folder = mkdtempSync(join(tmpdir(), 'everfold-output.'))
  const env = { EVERFOLD_REPO: join(folder, 'repository') }
  afterAll(() => rmSync(folder, { recursive: true }))

  const withOutput = (which: 1 | 2): RunOptions => ({
    env,
    through: ['sh', '-c', `exec "$@" ${which}>/dev/full`, 'sh'],
  })

  it('a result that cannot be written is a failure, in one line', async () => {
    const { status, stderr } = await everfold(['init'], withOutput(1))
    expect(stderr).toMatch(/^everfold: Cannot write to standard output: ENOSPC.*\[TARGET_FAILED\]\n$/)
    expect(status).toBe(6)
    await succeed(['points'], { env })
  })

  it('an error keeps its exit status, wherever it cannot be said', async () => {
    for (const which of [1, 2] as const)
      expect((await everfold(['points', 'nobody', '--json'], withOutput(which))).status).toBe(3)
  })

  it('the service does without its log', async () => {
    // Its first start says a token there.
    await succeed(['token', 'create', '--name', 'x', '--role', 'admin'], { env })
    const service = start(['serve', '--listen', '127.0.0.1:0', '--json'], withOutput(2))
    await refusesAll(await urlOf(service), 3)
    service.kill()
    expect((await ended(service)).status).toBe(0)
  })
})

it('lets the service go on where nobody reads its log for a while', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'everfold-log.'))
  const env = { EVERFOLD_REPO: folder }
  await succeed(['init'], { env })
  const service = start(['serve', '--listen', '127.0.0.1:0', '--json'], { env })
  try {
    // Some 400 KB of lines: more than a pipe or a socket takes.
    await refusesAll(await urlOf(service), 1500)
    service.kill()
    const { status, stderr } = await ended(service)
    expect(status).toBe(0)
    expect(stderr.split('"msg":"request"').length - 1).toBe(1500)
  } finally {
    service.kill('SIGKILL')
    rmSync(folder, { recursive: true })
  }
})

/** Where a service that was just started listens: the first that it says. */
async function urlOf({ stdout }: ChildProcess): Promise<string> {
  if (stdout === null) throw new Error('its output is no pipe')
  const [told] = (await once(stdout, 'data')) as [Buffer]
  return (JSON.parse(String(told)) as { url: string }).url
}

async function refusesAll(url: string, requests: number): Promise<void> {
  for (let i = 0; i < requests; i++) {
    const answer = await fetch(`${url}/v1/nothing`, { signal: AbortSignal.timeout(20_000) })
    await answer.text()
    expect(answer.status).toBe(401)
  }
}
