/** What comes with the service for those who run it: the systemd unit, and alarms. */

import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { ended, everfold, type Json, MAIN } from './everfold.js'
import { Served } from './server-process.js'
import { attempt, Workspace } from './workspace.js'

const root = join(import.meta.dirname, '..')
const read = (path: string): string => readFileSync(join(root, path), 'utf8')
const unit = read('packaging/everfold.service')
const page = read('docs/operations.md')
const rules: Json[] = parse(read('packaging/alerts.yaml')).groups.flatMap((group: Json) => group.rules)

describe('packaging/everfold.service', () => {
  it('starts a command that there is', async () => {
    const [, command = ''] = /^ExecStart=\S+ \S+ (.*)$/m.exec(unit) ?? []
    expect(command).toBe('serve --config /etc/everfold/everfold.yaml')
    const { stdout } = await everfold(['serve', '--help'])
    expect(stdout).toContain('--config')
  })

  it.skipIf(attempt('systemd-analyze', '--version') === undefined)(
    'is one that systemd takes, without a word, and calls hardened',
    async () => {
      const folder = await mkdtemp(join(tmpdir(), 'everfold-unit-'))
      const path = join(folder, 'everfold.service')
      // With programs that are there.
      await writeFile(path, unit.replace(/^ExecStart=\S+ \S+/m, `ExecStart=${process.execPath} ${MAIN}`))
      const analyze = (...args: readonly string[]): ReturnType<typeof ended> =>
        ended(spawn('systemd-analyze', args, { stdio: ['ignore', 'pipe', 'pipe'] }))
      const verified = await analyze('verify', '--man=no', path)
      expect(verified.stderr.split('\n').filter((line) => line.includes('everfold'))).toEqual([])
      const { stdout } = await analyze('security', '--offline=true', '--no-pager', path)
      const [, exposure = '10'] = /exposure level for everfold\.service: (\d+\.\d)/.exec(stdout) ?? []
      expect(Number(exposure), stdout).toBeLessThan(3)
      await rm(folder, { recursive: true })
    },
  )
})

describe('packaging/alerts.yaml', () => {
  it('has alarms that the page on running the service says what to do about, and no others', () => {
    const told = [...page.matchAll(/^\| `(Everfold\w+)` \|/gm)].map((row) => row[1])
    expect(told).toEqual(rules.map(({ alert }) => alert))
  })

  it('asks for metrics that the service has, and so does the page', async () => {
    const at = await Workspace.make()
    const served = await Served.start(at)
    const token = served.adminToken ?? ''
    const { id } = await served.post('/v1/jobs', token, { kind: 'verify' })
    await (await served.fetch(`/v1/jobs/${id}/events`, token)).text()
    const text = await (await served.fetch('/metrics', token)).text()
    expect(text).toMatch(/^everfold_jobs_ended_total\{kind="verify",state="done"\} 1$/m)
    expect(text).toMatch(/^everfold_job_done_timestamp_seconds\{kind="verify"\} \d/m)
    expect(await served.stop()).toBe(0)
    const again = await Served.start(at)
    let later = ''
    while (!later.includes('everfold_job_done_timestamp_seconds{kind="verify"}'))
      later = await (await again.fetch('/metrics', token)).text()
    expect(await again.stop()).toBe(0)
    await at.remove()
    const known = new Set([...text.matchAll(/^# TYPE (\w+) /gm)].map(([, name = '']) => name))
    const [, chapter = ''] = page.split('\n### Monitoring\n')
    const [monitoring = ''] = chapter.split('\n## ')
    const named = `${rules.map(({ expr }) => expr).join('\n')}\n${monitoring}`
    const metrics = [...named.matchAll(/\b(?:everfold|process|nodejs)_\w+\b/g)].map(([name]) =>
      name.replace(/_count$/, ''),
    )
    expect(metrics.length).toBeGreaterThan(20)
    expect([...new Set(metrics)].filter((name) => !known.has(name))).toEqual([])
  })
})
