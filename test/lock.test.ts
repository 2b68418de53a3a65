/** Two processes, one repository: the second is told who has it, and nothing is harmed. */

import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { KIB, noise } from './disk-bytes.js'
import { ended, start } from './everfold.js'
import { writeThinFile } from './thin-file.js'
import { Workspace } from './workspace.js'

const BYTES = noise('locked', 300 * KIB)
/** Reading so much takes far longer than what is done meanwhile. */
const ENDLESS_BYTES = 64 * 2 ** 30

let at: Workspace
let holder: ChildProcess

beforeEach(async () => {
  at = await Workspace.make()
  await at.write('disk', BYTES)
  await at.ok('backup', 'm', 'vda=disk')
  writeThinFile(at.path('endless'), ENDLESS_BYTES)
  holder = start(['backup', 'long', 'vda=endless'], at.options)
  await untilHeldBy(holder)
})
afterEach(async () => {
  await end(holder, 'SIGKILL')
  await at.remove()
})

async function untilHeldBy(child: ChildProcess): Promise<void> {
  for (;;) {
    const text = await readFile(join(at.repo, 'lock/holder.json'), 'utf8').catch(() => '')
    if (text.includes(`"pid":${child.pid}`) && text.endsWith('\n')) return
    expect(child.exitCode).toBeNull()
    await sleep(20)
  }
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  process.kill(-child.pid!, signal)
  await exit
}

describe('a repository that another process has open', () => {
  it('is refused to every command, with the name of the holder, and stays as it is', async () => {
    const feed = await at.feed([])
    const before = await at.listing()
    const commands = [
      ['backup', 'm', 'vda=disk'],
      ['backup', 'm', 'vda=disk', '--changed', `vda=${feed}`],
      ['restore', 'm', 'latest', 'vda=out'],
      ['points'],
      ['verify'],
      ['reindex'],
      ['stats'],
    ]
    for (const command of commands) {
      const { message, details } = await at.fails('REPOSITORY_LOCKED', ...command)
      expect(message).toContain(`process ${holder.pid}`)
      expect(message).toContain('everfold backup')
      expect(details.holder).toMatchObject({ pid: holder.pid, command: 'everfold backup' })
    }
    expect(await at.listing()).toEqual(before)
    expect(holder.exitCode).toBeNull()
  })

  it.each(['SIGKILL', 'SIGTERM', 'SIGINT'] as const)(
    'is free at once after %s, with all points',
    async (signal) => {
      await end(holder, signal)
      await at.expectDisk('m', 'latest', BYTES)
      expect(await at.ok('points')).toHaveLength(1)
      expect(await at.ok('backup', 'm', 'vda=disk')).toMatchObject({ kind: 'incremental', newBytes: 0 })
      expect(await at.ok('verify')).toMatchObject({ ok: true, machines: 1 })
    },
  )
})

describe('two backups started at the same moment', () => {
  it('make a point each or say that the other has the repository', async () => {
    await end(holder, 'SIGKILL')
    const racing = ['a', 'b', 'c'].map((machine) =>
      ended(start(['backup', machine, 'vda=disk', '--json'], at.options)),
    )
    const runs = await Promise.all(racing)
    const won = runs.filter((run) => run.status === 0)
    expect(won.length).toBeGreaterThan(0)
    for (const run of runs)
      if (run.status !== 0)
        expect(run).toMatchObject({ status: 4, stdout: expect.stringContaining('REPOSITORY_LOCKED') })
    expect(await at.ok('points')).toHaveLength(1 + won.length)
    expect(await at.ok('verify')).toMatchObject({ ok: true })
  })
})
