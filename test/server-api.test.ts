import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ACCESS } from '../src/server/access.js'
import { ROLES, type Role } from '../src/server/roles.js'
import { ROUTES } from '../src/server/routes.js'
import { KIB, MIB, noise, overwritten } from './disk-bytes.js'
import type { Json } from './everfold.js'
import { Served } from './server-process.js'
import { Workspace } from './workspace.js'

const FIRST = Buffer.concat([noise('first', MIB), Buffer.alloc(MIB), noise('more', 300 * KIB)])
const SECOND = overwritten(FIRST, 100 * KIB, noise('second', 20 * KIB))

let at: Workspace
let served: Served
let admin: string
let points: string[]
let job: string
let session: string

beforeAll(async () => {
  at = await Workspace.make()
  points = []
  await at.write('disk', FIRST)
  points.push((await at.ok('backup', 'web1', 'vda=disk')).point)
  await at.write('disk', SECOND)
  points.push((await at.ok('backup', 'web1', 'vda=disk')).point)
  await at.write('other', noise('other', 200 * KIB))
  await at.ok('backup', 'db, "1"', 'vda=other')
  served = await Served.start(at)
  admin = served.adminToken ?? ''
  job = (await served.post('/v1/jobs', admin, { kind: 'gc', dryRun: true })).id
  await (await served.fetch(`/v1/jobs/${job}/events`, admin)).text()
  const disks = [{ id: 'vda', sizeBytes: MIB }]
  session = (await served.post('/v1/machines/new/sessions', admin, { disks })).session
})
afterAll(async () => {
  expect(await served.stop()).toBe(0)
  await at.remove()
})

async function tokenFor(role: Role, machines?: readonly string[]): Promise<string> {
  return (
    await served.post('/v1/tokens', admin, { name: `${role} test`, role, ...(machines && { machines }) })
  ).token
}

describe('figures', () => {
  it('list machines and points as the command line does', async () => {
    const { machines } = await served.ok('/v1/machines', admin)
    expect(machines.map((machine: Json) => [machine.machine, machine.points])).toEqual([
      ['db, "1"', 1],
      ['web1', 2],
    ])
    expect(machines[1]).toMatchObject({
      newest: { point: points[1] },
      sizeBytes: FIRST.length,
      damage: 'none',
    })
    const list = await served.ok('/v1/machines/web1/points', admin)
    expect(list.points.map((point: Json) => point.point)).toEqual(points)
    for (const [name, id] of [
      ['latest', points[1]],
      ['parent', points[0]],
      [points[0]?.slice(0, 6), points[0]],
    ])
      expect((await served.ok(`/v1/machines/web1/points/${name ?? ''}`, admin)).point).toBe(id)
    const time = encodeURIComponent(new Date().toISOString())
    expect((await served.ok(`/v1/machines/web1/points/${time}`, admin)).point).toBe(points[1])
  })

  it('report storage as JSON and as CSV that a name cannot break', async () => {
    const json = await served.ok('/v1/reports/storage', admin)
    expect(json.repository.logicalBytes).toBe(2 * FIRST.length + 200 * KIB)
    expect(json.machines.map((machine: Json) => machine.points)).toEqual([1, 2])
    for (const [path, headers] of [
      ['/v1/reports/storage?format=csv', {}],
      ['/v1/reports/storage', { Accept: 'text/csv' }],
    ] as const) {
      const response = await served.fetch(path, admin, { headers })
      expect(response.headers.get('content-type')).toMatch(/^text\/csv/)
      const [head, first] = (await response.text()).split('\r\n')
      expect(head).toBe('machine,points,logicalBytes,ownBytes,sharedBytes')
      expect(first).toMatch(/^"db, ""1""",1,204800,\d+,\d+$/)
    }
  })

  it('report protection, and only of the machines that a token is for', async () => {
    const token = await tokenFor('report', ['web*'])
    const { machines } = await served.ok('/v1/reports/protection', token)
    expect(machines).toMatchObject([
      {
        machine: 'web1',
        points: 2,
        newest: points[1],
        expectedIntervalSeconds: null,
        sizeBytes: FIRST.length,
      },
    ])
    expect((await served.ok('/v1/reports/storage', token)).repository).toBeNull()
    expect((await served.ok('/v1/machines', token)).machines).toHaveLength(1)
    await served.fails('FORBIDDEN', '/metrics', token)
    const missing = await served.fails('FORBIDDEN', '/v1/machines/nobody/points', token)
    const hidden = await served.fails(
      'FORBIDDEN',
      `/v1/machines/${encodeURIComponent('db, "1"')}/points`,
      token,
    )
    expect(missing.title).toBe(hidden.title)
  })

  it('are there for Prometheus', async () => {
    const text = await (await served.fetch('/metrics', admin)).text()
    expect(text).toContain('everfold_points{machine="web1"} 2')
    expect(text).toContain(
      'everfold_http_request_seconds_count{route="listMachines",method="GET",status="200"}',
    )
    expect(await served.ok('/readyz', admin)).toEqual({ status: 'ok' })
  })
})

interface Extent {
  readonly offset: number
  readonly length: number
  readonly zero?: boolean
}

describe('extents', () => {
  const path = '/v1/machines/web1/points/latest/disks/vda/extents'

  it('say what holds data and what zeros, over the whole disk', async () => {
    const list: Extent[] = await served.ok(path, admin)
    let end = 0
    for (const { offset, length, zero } of list) {
      expect(offset).toBe(end)
      end += length
      if (zero === true) expect(SECOND.subarray(offset, end).every((byte) => byte === 0)).toBe(true)
    }
    expect(end).toBe(SECOND.length)
    expect(list.some(({ zero, length }) => zero === true && length > 800 * KIB)).toBe(true)
  })

  it('since another point are a feed that a backup takes', async () => {
    const list: Extent[] = await served.ok(`${path}?since=parent`, admin)
    const total = list.reduce((sum, { length }) => sum + length, 0)
    expect(total).toBeGreaterThanOrEqual(20 * KIB)
    expect(total).toBeLessThan(300 * KIB)
    const copy = Buffer.from(FIRST)
    for (const { offset, length } of list) copy.set(SECOND.subarray(offset, offset + length), offset)
    expect(copy.equals(SECOND)).toBe(true)
    expect(await served.ok(`${path}?since=latest`, admin)).toEqual([])
  })

  it('come in pages that a client follows by the Link header', async () => {
    const whole = await served.ok(path, admin)
    const pages: Json[] = []
    for (let next: string | undefined = `${path}?limit=1`; next !== undefined; ) {
      const response: Response = await served.fetch(next, admin)
      const page = (await response.json()) as Json[]
      expect(page).toHaveLength(1)
      pages.push(...page)
      next = /^<([^>]+)>; rel="next"$/.exec(response.headers.get('link') ?? '')?.[1]
    }
    expect(pages).toEqual(whole)
    expect(pages.length).toBeGreaterThan(2)
  })
})

describe('/openapi.json', () => {
  it('documents every route and nothing else, and every answer is as it says', async () => {
    const document = await served.ok('/openapi.json', admin)
    expect(document.openapi).toMatch(/^3\.1\./)
    const documented = Object.entries(document.paths).flatMap(([path, operations]) =>
      Object.keys(operations as object).map((method) => `${method} ${path}`),
    )
    expect(documented.sort()).toEqual(ROUTES.map(({ method, path }) => `${method} ${path}`).sort())
    for (const text of JSON.stringify(document).match(/"\$ref":"[^"]+"/g) ?? []) {
      const [, name = ''] = /schemas\/(\w+)"$/.exec(text) ?? []
      expect(document.components.schemas, text).toHaveProperty(name)
    }
    for (const [path, operations] of Object.entries<Json>(document.paths))
      for (const operation of Object.values<Json>(operations))
        for (const [, name] of path.matchAll(/\{(\w+)\}/g))
          expect(operation.parameters).toContainEqual(
            expect.objectContaining({ name, in: 'path', required: true }),
          )
  })

  it('documents only methods that the service takes', async () => {
    for (const { path } of ROUTES) {
      const response = await served.fetch(path.replaceAll(/\{\w+\}/g, 'web1'), admin, { method: 'PATCH' })
      expect(response.status).toBe(405)
      const methods = ROUTES.filter((route) => route.path === path).map(({ method }) => method.toUpperCase())
      expect(
        response.headers
          .get('allow')
          ?.split(', ')
          .filter((method) => method !== 'HEAD'),
      ).toEqual(methods)
    }
  })

  it.each(ROUTES.filter((route) => route.method === 'get'))('tells the truth about $name', async (route) => {
    const names: Readonly<Record<string, string>> = {
      machine: 'web1',
      point: 'latest',
      disk: 'vda',
      job,
      session,
    }
    const path = route.path.replaceAll(/\{(\w+)\}/g, (_, name: string) => names[name] ?? 'nothing')
    const response = await served.fetch(path, admin)
    expect(response.status).toBe(200)
    const [type = ''] = (response.headers.get('content-type') ?? '').split(';')
    const content = route.answers[200]?.content ?? {}
    expect(Object.keys(content)).toContain(type)
    const schema = content[type]
    if (schema !== undefined && schema !== null) schema.parse(await response.json())
    else await response.arrayBuffer()
  })
})

/** Who may call what, once more and by hand: a change of the table in access.ts has to be meant. */
const ALLOWED: Readonly<Record<string, readonly Role[]>> = {
  health: ROLES,
  ready: ROLES,
  openapi: ROLES,
  metrics: ['report', 'operator', 'admin'],
  listMachines: ['restore', 'report', 'operator', 'admin'],
  listPoints: ['restore', 'report', 'operator', 'admin'],
  getPoint: ['restore', 'report', 'operator', 'admin'],
  readDisk: ['restore', 'admin'],
  listExtents: ['restore', 'admin'],
  storageReport: ['report', 'operator', 'admin'],
  protectionReport: ['report', 'operator', 'admin'],
  pinPoint: ['operator', 'admin'],
  unpinPoint: ['operator', 'admin'],
  deletePoint: ['operator', 'admin'],
  foldMachine: ['operator', 'admin'],
  deleteMachine: ['admin'],
  getRetention: ['report', 'operator', 'admin'],
  getRetentionDefault: ['report', 'operator', 'admin'],
  setRetention: ['operator', 'admin'],
  setRetentionDefault: ['operator', 'admin'],
  forgetRetention: ['operator', 'admin'],
  forgetRetentionDefault: ['operator', 'admin'],
  retain: ['operator', 'admin'],
  retainDefault: ['operator', 'admin'],
  stats: ['report', 'operator', 'admin'],
  allPoints: ['restore', 'report', 'operator', 'admin'],
  createSession: ['backup', 'admin'],
  listSessions: ['backup', 'operator', 'admin'],
  getSession: ['backup', 'admin'],
  getReceived: ['backup', 'admin'],
  dropSession: ['backup', 'admin'],
  commitSession: ['backup', 'admin'],
  putData: ['backup', 'admin'],
  putImage: ['backup', 'admin'],
  putStream: ['backup', 'admin'],
  offerChunks: ['backup', 'admin'],
  startJob: ['operator', 'admin'],
  listJobs: ['operator', 'admin'],
  getJob: ['operator', 'admin'],
  followJob: ['operator', 'admin'],
  cancelJob: ['operator', 'admin'],
  listTokens: ['admin'],
  createToken: ['admin'],
  revokeToken: ['admin'],
  readAudit: ['admin'],
}

describe('the table of roles', () => {
  it('has a line for each route, and no other', () => {
    const names = ROUTES.map((route) => route.name).sort()
    expect(Object.keys(ACCESS).sort()).toEqual(names)
    expect(Object.keys(ALLOWED).sort()).toEqual(names)
  })

  it.each(ROLES)('holds for %s, by real requests', async (role) => {
    const token = await tokenFor(role)
    for (const route of ROUTES) {
      // Nothing is there, and no body comes: whoever is let in gets a 400 or 404, or a document.
      const path = route.path.replaceAll(/\{\w+\}/g, 'nothing')
      const response = await served.fetch(path, token, { method: route.method.toUpperCase() })
      const code = response.ok ? '' : ((await response.json()) as Json).code
      expect(code === 'FORBIDDEN', `${role} ${route.name}: ${code}`).toBe(
        !ALLOWED[route.name]?.includes(role),
      )
      expect(response.status).toBeLessThan(500)
    }
  })

  it('lets nobody in without a token, but to /healthz', async () => {
    for (const route of ROUTES) {
      const path = route.path.replaceAll(/\{\w+\}/g, 'web1')
      const init = { method: route.method.toUpperCase() }
      if (route.name === 'health') expect((await served.fetch(path, undefined, init)).status).toBe(200)
      else await served.fails('UNAUTHENTICATED', path, undefined, init)
    }
    await served.fails('UNAUTHENTICATED', '/nothing')
  })

  it('does not let an admin of some machines make tokens for others', async () => {
    const token = await tokenFor('admin', ['web1'])
    for (const method of ['GET', 'POST']) await served.fails('FORBIDDEN', '/v1/tokens', token, { method })
    expect((await served.ok('/v1/machines', token)).machines).toHaveLength(1)
  })
})
