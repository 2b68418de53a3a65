/** The audit log: who did what to which point, durably, without secrets, and readable by admins alone. */

import { appendFile, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { AuditEntry } from '../src/server/audit/audit-entry.js'
import { AuditLog } from '../src/server/audit/audit-log.js'
import { readAudit } from '../src/server/audit/read-audit.js'
import { KIB, noise } from './disk-bytes.js'
import { type Json, succeed } from './everfold.js'
import { Served } from './server-process.js'
import { Workspace } from './workspace.js'

const RAW = '/v1/machines/web1/points/latest/disks/vda/raw'

let at: Workspace
let served: Served
let admin: string
let ids: string[]

beforeAll(async () => {
  at = await Workspace.make()
  ids = []
  for (let i = 0; i < 4; i++) {
    await at.write('disk', noise(`disk ${i}`, 100 * KIB))
    ids.push((await at.ok('backup', 'web1', 'vda=disk')).point)
  }
  served = await Served.start(at)
  admin = served.adminToken ?? ''
})
afterAll(async () => {
  await at.remove()
})

async function entries(query = ''): Promise<Json[]> {
  return (await served.ok(`/v1/audit${query}`, admin)).entries
}

describe('the audit log of a service', () => {
  it('says who did what to which point, and what came of it, as soon as it is answered', async () => {
    const operator = await served.post('/v1/tokens', admin, { name: 'night shift', role: 'operator' })
    const { token } = operator
    const point = `/v1/machines/web1/points/${ids[1] ?? ''}`
    await served.post(`${point}/pin`, token, { reason: 'kept' })
    await served.fails('POINT_PINNED', point, token, { method: 'DELETE' })
    await served.ok('/v1/machines/web1/points/parent', token, { method: 'DELETE' })
    await served.fails('FORBIDDEN', '/v1/machines/web1?confirm=web1', token, { method: 'DELETE' })
    await served.fails('FORBIDDEN', '/v1/audit', token)
    const who = { token: operator.id, tokenName: 'night shift', role: 'operator', machine: 'web1' }
    const mine = (await entries(`?token=${operator.id}`)).map(
      ({ time: _t, request: _r, from: _f, ...rest }) => rest,
    )
    expect(mine).toEqual([
      expect.objectContaining({ action: 'readAudit', status: 403, code: 'FORBIDDEN' }),
      expect.objectContaining({ ...who, action: 'deleteMachine', status: 403, code: 'FORBIDDEN' }),
      expect.objectContaining({
        ...who,
        action: 'deletePoint',
        status: 200,
        point: ids[0],
        removed: [ids[0]],
      }),
      expect.objectContaining({
        ...who,
        action: 'deletePoint',
        status: 409,
        code: 'POINT_PINNED',
        point: ids[1],
      }),
      expect.objectContaining({ ...who, action: 'pinPoint', status: 200, point: ids[1] }),
    ])
    const made = await entries('?action=createToken')
    expect(made).toEqual([
      expect.objectContaining({ tokenName: 'first admin', created: operator.id, status: 201 }),
    ])
    const [started] = await entries('?action=start')
    expect(started).toMatchObject({ url: served.url })
    expect(started.created).toMatch(/^[0-9a-z]{8}$/)
  })

  it('says once who read a disk, however often it is read, and who could not log in', async () => {
    for (let i = 0; i < 5; i++) {
      const headers = { Range: `bytes=${i * 10}-${i * 10 + 9}` }
      await (await served.fetch(RAW, admin, { headers })).arrayBuffer()
      await served.fails('UNAUTHENTICATED', '/v1/machines', `everfold_wrong${i}`)
    }
    await served.ok('/v1/machines', admin)
    expect(await entries('?action=readDisk')).toEqual([
      expect.objectContaining({ machine: 'web1', point: ids[3], disk: 'vda', tokenName: 'first admin' }),
    ])
    expect(await entries('?action=login')).toHaveLength(1)
    expect(await entries('?action=listMachines')).toEqual([])
  })

  it('says how jobs ended, and which points they removed', async () => {
    const { id } = await served.post('/v1/jobs', admin, {
      kind: 'retain',
      machine: 'web1',
      policy: { last: 1 },
    })
    await (await served.fetch(`/v1/jobs/${id}/events`, admin)).text()
    const [ended] = await entries('?action=jobEnded')
    expect(ended).toMatchObject({ job: id, kind: 'retain', state: 'done', tokenName: 'first admin' })
    expect(ended.removed).toEqual({ web1: [ids[2]] })
    expect(await entries('?action=startJob')).toEqual([expect.objectContaining({ job: id, status: 202 })])
  })

  it('is found by machine, point, token, action and time, newest first, a page at a time', async () => {
    const all = await served.ok('/v1/audit?limit=10000', admin)
    expect(all.more).toBe(false)
    const times = all.entries.map((entry: Json) => entry.time)
    expect(times).toEqual([...times].sort().reverse())
    const page = await served.ok('/v1/audit?limit=2', admin)
    expect(page).toEqual({ entries: all.entries.slice(0, 2), more: true })
    const until = encodeURIComponent(times[2])
    const before = await entries(`?limit=10000&until=${until}`)
    expect(before).toEqual(all.entries.filter((entry: Json) => entry.time < times[2]))
    expect(await entries(`?since=${until}&limit=10000`)).toEqual(
      all.entries.filter((entry: Json) => entry.time >= times[2]),
    )
    // A point is found by what removed it, too.
    expect((await entries(`?point=${ids[2] ?? ''}`)).map((entry) => entry.action)).toEqual(['jobEnded'])
    expect((await entries(`?machine=web1&point=${ids[1] ?? ''}`)).map((entry) => entry.action)).toEqual([
      'deletePoint',
      'pinPoint',
    ])
    for (const query of ['?limit=0', '?limit=10001', '?since=now', '?who=me', '?machine=..'])
      expect((await served.fetch(`/v1/audit${query}`, admin)).status).toBe(400)
  })

  it('is shown by the command, from the files and by the service alike; nothing in it is a secret', async () => {
    const env = { EVERFOLD_SERVER: served.url, EVERFOLD_TOKEN: admin, EVERFOLD_REPO: undefined }
    const asked = await succeed(['audit', '--machine', 'web1'], { cwd: at.folder, env })
    expect(asked.entries.length).toBeGreaterThan(4)
    expect(await at.ok('audit', '--machine', 'web1')).toEqual(asked)
    const folder = join(at.repo, 'audit')
    expect(await readdir(folder)).toEqual(['audit-000001.jsonl'])
    const text = await readFile(join(folder, 'audit-000001.jsonl'), 'utf8')
    expect(text).not.toMatch(/[0-9a-f]{64}|everfold_/)
    expect(await served.stop()).toBe(0)
    const [stopped] = (await at.ok('audit', '--limit', '1')).entries
    expect(stopped.action).toBe('stop')
    // It is no object of the store: nothing takes offence at it.
    expect(await at.ok('verify')).toMatchObject({ ok: true })
    await at.fails('ARGUMENT_INVALID', 'audit', '--limit', '0')
  })
})

describe('its files', () => {
  const entry = (i: number): AuditEntry => ({ time: new Date(i * 1000).toISOString(), action: `a${i}` })
  const everything = { limit: 10_000 }

  it('are appended to by many at once, continued by the next start, and replaced when they are large', async () => {
    const folder = join(at.folder, 'rotated', 'audit')
    for (let start = 0; start < 3; start++) {
      const log = await AuditLog.open(folder, { fileBytes: 1000, filesMax: 3 })
      await Promise.all(Array.from({ length: 100 }, (_, i) => log.append(entry(start * 100 + i))))
      for (let i = 0; i < 20; i++) await log.append(entry(1000 + start * 100 + i))
      await log.close()
    }
    const files = (await readdir(folder)).sort()
    expect(files).toHaveLength(3)
    const { entries: found } = await readAudit(folder, everything)
    expect(found[0]).toEqual(entry(1219))
    expect(found.length).toBeGreaterThan(20)
  })

  it('that a crash cut short go on with a line of their own', async () => {
    const folder = join(at.folder, 'torn')
    const options = { fileBytes: 100_000, filesMax: 3 }
    const log = await AuditLog.open(folder, options)
    await log.append(entry(1))
    await log.close()
    await appendFile(join(folder, 'audit-000001.jsonl'), '{"time":"2026-')
    const next = await AuditLog.open(folder, options)
    await next.append(entry(2))
    await next.close()
    const { entries: found } = await readAudit(folder, everything)
    expect(found).toEqual([entry(2), entry(1)])
  })

  it('that somebody else put there are left alone', async () => {
    const folder = join(at.folder, 'foreign')
    const log = await AuditLog.open(folder, { fileBytes: 100, filesMax: 2 })
    await writeFile(join(folder, 'notes.txt'), 'mine')
    for (let i = 0; i < 20; i++) await log.append(entry(i))
    await log.close()
    expect(await readdir(folder)).toContain('notes.txt')
  })

  it('that cannot be made keep the service from starting, and say how to go on', async () => {
    const own = await Workspace.make()
    await own.write('file', '')
    await own.write('everfold.yaml', 'audit: {folder: file/audit}')
    const { message } = await own.fails('CONFIG_INVALID', 'serve', '--config', 'everfold.yaml')
    expect(message).toContain('audit.folder')
    await own.remove()
  })
})
