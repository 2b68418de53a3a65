/** Jobs of the real service: what they answer, what they tell while they run, cancellation, and what a kill leaves of them. */

import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { KIB, MIB, noise, overwritten } from './disk-bytes.js'
import type { Json } from './everfold.js'
import { Served } from './server-process.js'
import { Workspace } from './workspace.js'

const DISK = noise('disk', 24 * MIB)
/** Takes seconds: each round is recorded and synced. */
const LONG = { kind: 'gc', rounds: 100 }

let at: Workspace
let served: Served
let admin: string

beforeAll(async () => {
  at = await Workspace.make()
  for (let i = 0; i < 4; i++) {
    await at.write('disk', overwritten(DISK, i * MIB, noise(`change ${i}`, 300 * KIB)))
    await at.ok('backup', 'm', 'vda=disk')
  }
  served = await Served.start(at)
  admin = served.adminToken ?? ''
})
afterAll(async () => {
  expect(await served.stop()).toBe(0)
  expect(served.stderr).not.toMatch(/UnhandledPromise|TypeError|"level":50/)
  await at.remove()
})

interface Event {
  readonly event: string
  readonly id: string
  readonly data: Json
}

/** All events of a job until the service ends them. */
async function eventsOf(service: Served, token: string, id: string): Promise<Event[]> {
  const response = await service.fetch(`/v1/jobs/${id}/events`, token)
  expect(response.status).toBe(200)
  expect(response.headers.get('content-type')).toBe('text/event-stream')
  const events: Event[] = []
  for (const block of (await response.text()).split('\n\n')) {
    const [, event = '', eventId = '', data = ''] = /^event: (.*)\nid: (.*)\ndata: (.*)$/.exec(block) ?? []
    if (event !== '') events.push({ event, id: eventId, data: JSON.parse(data) })
  }
  return events
}

async function finished(service: Served, token: string, id: string): Promise<Json> {
  return (await eventsOf(service, token, id)).at(-1)?.data
}

async function until<T>(what: () => Promise<T>, holds: (value: T) => boolean): Promise<T> {
  for (;;) {
    const value = await what()
    if (holds(value)) return value
    await sleep(5)
  }
}

function running(service: Served, token: string, id: string): Promise<Json> {
  return until(
    () => service.ok(`/v1/jobs/${id}`, token),
    (job) => job.state === 'running',
  )
}

describe('a job', () => {
  it.each([
    [{ kind: 'verify' }, ['verify']],
    [{ kind: 'gc', dryRun: true }, ['gc', '--dry-run']],
    [{ kind: 'reindex' }, ['reindex']],
    [{ kind: 'retain', policy: { last: 2 }, dryRun: true }, ['retain', '--last', '2', '--dry-run']],
    [
      { kind: 'retain', machine: 'm', policy: { daily: 1 }, dryRun: true },
      ['retain', 'm', '--daily', '1', '--dry-run'],
    ],
  ])('gives what the command prints: %j', async (request, command) => {
    const own = await Workspace.make()
    await own.write('disk', noise('small', MIB))
    for (let i = 0; i < 3; i++) await own.ok('backup', 'm', 'vda=disk')
    const expected = await own.ok(...command)
    const service = await Served.start(own)
    const token = service.adminToken ?? ''
    const job = await service.post('/v1/jobs', token, request)
    expect(job).toMatchObject({ kind: request.kind, state: 'queued', attempt: 0, by: 'first admin' })
    const { kind: _kind, ...parameters } = request
    expect(job.parameters).toEqual(parameters)
    const done = await finished(service, token, job.id)
    expect(done).toMatchObject({ id: job.id, state: 'done', attempt: 1 })
    const withoutTime = (result: Json): Json => ({ ...result, seconds: undefined })
    expect(withoutTime(done.result)).toEqual(withoutTime(expected))
    expect(await service.ok(`/v1/jobs/${job.id}`, token)).toEqual(done)
    const { result: _result, ...head } = done
    expect((await service.ok('/v1/jobs', token)).jobs).toEqual([head])
    expect(await service.stop()).toBe(0)
    const again = await Served.start(own)
    expect(await again.ok(`/v1/jobs/${job.id}`, token)).toEqual(done)
    expect(await again.stop()).toBe(0)
    expect(await own.ok('verify')).toMatchObject({ ok: true })
    await own.remove()
  })

  it('tells what it does as it does it: how it is, progress that grows, and its end', async () => {
    const { id } = await served.post('/v1/jobs', admin, { kind: 'verify' })
    const events = await eventsOf(served, admin, id)
    expect(events[0]?.event).toBe('job')
    expect(events.at(-1)).toMatchObject({
      event: 'end',
      id: 'end',
      data: { state: 'done', result: { ok: true } },
    })
    const progress = events.filter(({ event }) => event === 'progress').map(({ data }) => data)
    expect(progress.length).toBeGreaterThan(0)
    expect(progress.map(({ done }) => done)).toEqual(progress.map(({ done }) => done).sort((a, b) => a - b))
    for (const one of progress) expect(one).toMatchObject({ unit: 'bytes', total: progress[0].total })
    // Whoever comes late, or again, hears of the end at once; a browser that heard of it is told to stop.
    expect(await eventsOf(served, admin, id)).toEqual([events.at(-1)])
    const headers = { 'Last-Event-ID': 'end' }
    expect((await served.fetch(`/v1/jobs/${id}/events`, admin, { headers })).status).toBe(204)
  })

  it('waits for the one before it in its lane, and beside those in others', async () => {
    const long = await served.post('/v1/jobs', admin, LONG)
    const behind = await served.post('/v1/jobs', admin, { kind: 'reindex' })
    const beside = await served.post('/v1/jobs', admin, { kind: 'verify', sample: 0.01 })
    expect(await finished(served, admin, beside.id)).toMatchObject({ state: 'done' })
    expect(await served.ok(`/v1/jobs/${long.id}`, admin)).toMatchObject({ state: 'running' })
    expect(await served.ok(`/v1/jobs/${behind.id}`, admin)).toMatchObject({ state: 'queued' })
    const queued = await served.ok('/v1/jobs?state=queued&kind=reindex', admin)
    expect(queued.jobs.map((job: Json) => job.id)).toEqual([behind.id])
    const init = { method: 'DELETE' }
    expect(await served.ok(`/v1/jobs/${behind.id}`, admin, init)).toMatchObject({
      state: 'cancelled',
      attempt: 0,
      error: { code: 'CANCELLED' },
    })
    expect(await served.ok(`/v1/jobs/${long.id}`, admin, init)).toMatchObject({
      state: 'cancelled',
      attempt: 1,
      error: { code: 'CANCELLED' },
    })
    // Again: it stays as it is. And the next one runs.
    expect(await served.ok(`/v1/jobs/${long.id}`, admin, init)).toMatchObject({ state: 'cancelled' })
    const after = await served.post('/v1/jobs', admin, { kind: 'gc' })
    expect(await finished(served, admin, after.id)).toMatchObject({ state: 'done' })
    expect(await finished(served, admin, long.id)).toMatchObject({ state: 'cancelled' })
  })

  it('that fails says why', async () => {
    const { id } = await served.post('/v1/jobs', admin, { kind: 'retain', machine: 'nobody' })
    expect(await finished(served, admin, id)).toMatchObject({
      state: 'failed',
      error: { code: 'MACHINE_UNKNOWN', details: { machine: 'nobody' } },
    })
    const save = await served.post('/v1/jobs', admin, { kind: 'retain', save: true })
    expect(await finished(served, admin, save.id)).toMatchObject({ error: { code: 'POLICY_INVALID' } })
  })

  it('of a machine is for tokens of that machine; what is about all, for tokens for all', async () => {
    const make = (name: string, role: string, machines: string[]): Promise<Json> =>
      served.post('/v1/tokens', admin, { name, role, machines })
    const { token } = await make('web team', 'operator', ['web*', 'm'])
    const other = await make('db team', 'operator', ['db'])
    const post = (body: unknown): RequestInit => ({
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    })
    for (const body of [
      { kind: 'gc' },
      { kind: 'verify' },
      { kind: 'retain' },
      { kind: 'retain', machine: 'db' },
    ])
      await served.fails('FORBIDDEN', '/v1/jobs', token, post(body))
    const mine = await served.post('/v1/jobs', token, {
      kind: 'retain',
      machine: 'm',
      policy: { last: 10 },
      dryRun: true,
    })
    expect(await finished(served, token, mine.id)).toMatchObject({ state: 'done', by: 'web team' })
    expect((await served.ok('/v1/jobs', token)).jobs.map((job: Json) => job.id)).toEqual([mine.id])
    expect((await served.ok('/v1/jobs', other.token)).jobs).toEqual([])
    for (const init of [{}, { method: 'DELETE' }])
      await served.fails('JOB_UNKNOWN', `/v1/jobs/${mine.id}`, other.token, init)
    await served.fails('JOB_UNKNOWN', `/v1/jobs/${mine.id}/events`, other.token)
    await served.fails('JOB_UNKNOWN', '/v1/jobs/0', token)
    const report = await make('figures', 'report', ['*'])
    await served.fails('FORBIDDEN', '/v1/jobs', report.token)
  })

  it.each([
    {},
    { kind: 'format' },
    { kind: 'verify', sample: 0 },
    { kind: 'verify', sample: 1.5 },
    { kind: 'gc', rounds: 101 },
    { kind: 'gc', deadShare: -1 },
    { kind: 'reindex', more: 1 },
    { kind: 'retain', policy: { daily: -1 } },
    { kind: 'retain', policy: { daily: 'x' } },
    { kind: ['gc'] },
    [],
    null,
    'gc',
  ])('that makes no sense is refused: %j', async (body) => {
    const headers = { 'Content-Type': 'application/json' }
    const init = { method: 'POST', headers, body: JSON.stringify(body) }
    await served.fails('ARGUMENT_INVALID', '/v1/jobs', admin, init)
  })

  it.each(['x', '-1', '999999999999', '01', '..%2f', '1e3'])('that is not there: %s', async (id) => {
    await served.fails('JOB_UNKNOWN', `/v1/jobs/${id}`, admin)
    await served.fails('JOB_UNKNOWN', `/v1/jobs/${id}/events`, admin)
    await served.fails('JOB_UNKNOWN', `/v1/jobs/${id}`, admin, { method: 'DELETE' })
  })

  it('is not taken when too many wait', async () => {
    const { id } = await served.post('/v1/jobs', admin, LONG)
    const ids: string[] = []
    const headers = { 'Content-Type': 'application/json' }
    const init = { method: 'POST', headers, body: '{"kind":"reindex"}' }
    for (;;) {
      const response = await served.fetch('/v1/jobs', admin, init)
      if (response.status !== 202) {
        expect(response.status).toBe(429)
        expect(response.headers.get('retry-after')).toBe('1')
        break
      }
      ids.push(((await response.json()) as Json).id)
    }
    expect(ids.length).toBeLessThanOrEqual(64)
    for (const one of [...ids, id]) await served.ok(`/v1/jobs/${one}`, admin, { method: 'DELETE' })
  })
})

describe('a restart', () => {
  it('goes on with what SIGKILL interrupted, and with what waited; points are whole', async () => {
    const own = await Workspace.make()
    await own.write('disk', DISK)
    await own.ok('backup', 'm', 'vda=disk')
    const service = await Served.start(own)
    const token = service.adminToken ?? ''
    const long = await service.post('/v1/jobs', token, LONG)
    const behind = await service.post('/v1/jobs', token, { kind: 'gc', dryRun: true })
    await running(service, token, long.id)
    await service.stop('SIGKILL')
    const second = await Served.start(own)
    const job = await running(second, token, long.id)
    expect(job).toMatchObject({ attempt: 2, by: 'first admin', createdAt: long.createdAt })
    expect(await second.ok(`/v1/jobs/${behind.id}`, token)).toMatchObject({ state: 'queued' })
    await second.ok(`/v1/jobs/${long.id}`, token, { method: 'DELETE' })
    expect(await finished(second, token, behind.id)).toMatchObject({ state: 'done', attempt: 1 })
    expect(await second.stop()).toBe(0)
    await own.expectDisk('m', 'latest', DISK)
    expect(await own.ok('verify')).toMatchObject({ ok: true, objects: [] })
    await own.remove()
  })

  it('that is clean parks a job, and does not count its attempt; its followers hear the end of the answer', async () => {
    const own = await Workspace.make()
    await own.write('disk', DISK)
    await own.ok('backup', 'm', 'vda=disk')
    const first = await Served.start(own)
    const token = first.adminToken ?? ''
    const { id } = await first.post('/v1/jobs', token, LONG)
    await running(first, token, id)
    const following = eventsOf(first, token, id)
    expect(await first.stop()).toBe(0)
    const events = await following.catch(() => [])
    expect(events.map(({ event }) => event)).not.toContain('end')
    const second = await Served.start(own)
    expect(await running(second, token, id)).toMatchObject({ attempt: 1 })
    expect(await second.ok(`/v1/jobs/${id}`, token, { method: 'DELETE' })).toMatchObject({
      state: 'cancelled',
    })
    expect(await second.stop()).toBe(0)
    await own.remove()
  })

  it('does not begin a job again during which the service was killed three times', async () => {
    const own = await Workspace.make()
    await own.write('disk', DISK)
    await own.ok('backup', 'm', 'vda=disk')
    let service = await Served.start(own)
    const token = service.adminToken ?? ''
    const { id } = await service.post('/v1/jobs', token, LONG)
    for (let kill = 0; kill < 3; kill++) {
      await running(service, token, id)
      await service.stop('SIGKILL')
      service = await Served.start(own)
    }
    const job = await finished(service, token, id)
    expect(job).toMatchObject({ state: 'cancelled', attempt: 3 })
    expect(job.error.message).toContain('killed 3 times')
    expect(await service.stop()).toBe(0)
    await own.remove()
  })
})

describe('the records of jobs', () => {
  it('are few after gc, and may be lost or damaged: only the list suffers', async () => {
    const own = await Workspace.make()
    await own.write('disk', noise('small', MIB))
    await own.ok('backup', 'm', 'vda=disk')
    const service = await Served.start(own)
    const token = service.adminToken ?? ''
    const ids: string[] = []
    for (let i = 0; i < 5; i++) {
      const { id } = await service.post('/v1/jobs', token, { kind: 'gc' })
      await finished(service, token, id)
      ids.push(id)
    }
    await service.stop()
    await own.ok('gc')
    const records = (await own.objects()).filter((path) => path.startsWith('jobs/'))
    expect(records).toHaveLength(5)
    await rm(join(own.repo, records[0] ?? ''))
    const damaged = join(own.repo, records[1] ?? '')
    const bytes = await readFile(damaged)
    bytes[40]! ^= 1
    await writeFile(damaged, bytes)
    const second = await Served.start(own)
    expect((await second.ok('/v1/jobs', token)).jobs.map((job: Json) => job.id)).toEqual(
      ids.slice(2).reverse(),
    )
    const next = await second.post('/v1/jobs', token, { kind: 'verify' })
    expect((await finished(second, token, next.id)).result.objects).toMatchObject([{ key: records[1] }])
    await second.stop()
    await own.remove()
  })
})
