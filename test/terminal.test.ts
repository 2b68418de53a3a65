/** What people see: help with examples, a progress bar on a terminal, plain results elsewhere. */

import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { MIB, noise } from './disk-bytes.js'
import { ended, everfold, MAIN } from './everfold.js'
import { attempt, Workspace } from './workspace.js'

let at: Workspace

beforeAll(async () => {
  at = await Workspace.make()
  await at.write('disk', noise('shown', 150 * MIB))
})
afterAll(() => at.remove())

describe('the command', () => {
  it('shows every command, examples and exit statuses with --help; each command shows examples of its own', async () => {
    const help = await everfold(['--help'])
    expect(help).toMatchObject({ status: 0, stderr: '' })
    expect(help.stdout).toMatch(/Examples:[^]*Exit status: 0 done/)
    const commands = [...help.stdout.matchAll(/^ {2}([a-z-]+) .*(?:\[options\]|<)/gm)].map(
      ([, name]) => name!,
    )
    expect(commands).toEqual(
      expect.arrayContaining(['init', 'backup', 'points', 'restore', 'verify', 'reindex', 'stats']),
    )
    for (const command of commands) {
      const run = await everfold([command, '--help'])
      expect(run, command).toMatchObject({ status: 0, stderr: '' })
      expect(run.stdout, command).toMatch(new RegExp(`Examples?:\\n +everfold ${command}`))
      expect(run.stdout, command).toContain('--json')
    }
  })

  it('shows its help, and fails, where no command is named', async () => {
    const run = await everfold([])
    expect(run).toMatchObject({ status: 2, stdout: '' })
    expect(run.stderr).toContain('Examples:')
  })

  it('prints a table that says what was backed up', async () => {
    await everfold(['backup', 'web1', 'vda=disk', '--note', 'before the upgrade'], at.options)
    const { stdout } = await everfold(['points'], at.options)
    expect(stdout).toMatch(/^machine +point +taken +kind +size/)
    expect(stdout).toMatch(
      /web1 +\w{8} +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +full +150 MiB.*vda +before the upgrade/,
    )
    expect((await everfold(['stats'], at.options)).stdout).toMatch(/recovery points +1\n/)
  })
})

const script = attempt('script', '-qec', 'true', '/dev/null') !== undefined
describe.skipIf(!script)('on a terminal (made by script, of util-linux)', () => {
  it('long work draws a bar with rate and time left; standard output holds the result alone', async () => {
    const line = `${process.execPath} ${MAIN} backup bar vda=disk >out.txt`
    const run = await ended(
      spawn('script', ['-qec', line, '/dev/null'], {
        cwd: at.folder,
        env: { ...process.env, ...at.options.env },
        stdio: ['ignore', 'pipe', 'pipe'],
      }),
    )
    expect(run.status).toBe(0)
    expect(run.stdout).toMatch(/backing up bar .*\d+% \| .* MiB of 150 MiB \| .*iB\/s \| .* left/)
    expect(await readFile(at.path('out.txt'), 'utf8')).toMatch(/^Point \w{8} of bar .*\n$/)
  })
})

describe('without a terminal', () => {
  it('nothing but the result is printed of short work', async () => {
    // What takes longer than five seconds tells how far it is.
    await at.write('small', noise('small', MIB))
    const run = await everfold(['backup', 'quiet', 'vda=small'], at.options)
    expect(run).toMatchObject({ status: 0, stderr: '' })
    expect(run.stdout).toMatch(/^Point \w{8} of quiet \(full\) is safe: read 1 MiB,.*\n$/)
  })
})
