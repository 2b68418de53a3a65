/** The life of a service: starting, tokens, what is done and logged, stopping, and everything that clients send to break it. */

import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ERROR_CLASSES } from '../src/errors.js'
import { STOP_ANSWERS_SECONDS } from '../src/server/config/service-config.js'
import { KIB, MIB, noise, overwritten } from './disk-bytes.js'
import { ended, type Json, start } from './everfold.js'
import { problem, Served } from './server-process.js'
import { Workspace } from './workspace.js'

const DISK = noise('disk', 2 * MIB)
const RAW = '/v1/machines/m/points/latest/disks/vda/raw'

let at: Workspace
let served: Served
let admin: string

beforeAll(async () => {
  at = await Workspace.make()
  for (let i = 0; i < 4; i++) {
    await at.write('disk', overwritten(DISK, i * 64 * KIB, noise(`change ${i}`, 5000)))
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

/** A service that was told to stop takes no connections any more, some time after that. */
async function untilRefused(service: Served): Promise<void> {
  const isRefused = (): Promise<boolean> =>
    service.fetch('/healthz').then(
      () => false,
      () => true,
    )
  await expect.poll(isRefused, { timeout: 30_000 }).toBe(true)
}

/** A token that holds for so short that it can be waited for, and is tried while it does. */
async function expiringToken(): Promise<Json> {
  for (let forMs = 1500; ; forMs *= 2) {
    const expiresAt = new Date(Date.now() + forMs).toISOString()
    const made = await served.post('/v1/tokens', admin, { name: 'short', role: 'report', expiresAt })
    if ((await served.fetch('/v1/machines', made.token)).ok) return made
  }
}

describe('starting', () => {
  it('prints the first token once, and never again; the repository holds no more than its hash', async () => {
    const own = await Workspace.make()
    const first = await Served.start(own)
    const token = first.adminToken ?? ''
    expect(token).toMatch(/^everfold_[0-9a-z]{8}_[0-9a-f]{64}$/)
    expect(first.stderr.split(token)).toHaveLength(2)
    expect(first.stdout).not.toContain(token)
    await first.ok('/v1/machines', token)
    expect(await first.stop()).toBe(0)
    const second = await Served.start(own)
    expect(second.adminToken).toBeUndefined()
    await second.ok('/v1/machines', token)
    expect(await second.stop('SIGINT')).toBe(0)
    for (const path of await own.objects())
      expect(await readFile(join(own.repo, path), 'latin1')).not.toContain(token.slice(-64))
    await own.remove()
  })

  it('lets no second process in, and says so of an address that is taken', async () => {
    await at.fails('REPOSITORY_LOCKED', 'serve', '--listen', '127.0.0.1:0')
    await at.fails('REPOSITORY_LOCKED', 'token', 'list')
    const own = await Workspace.make()
    const { message } = await own.fails('LISTEN_FAILED', 'serve', '--listen', `127.0.0.1:${served.port}`)
    expect(message).toContain('something else listens there')
    for (const listen of ['nowhere', '127.0.0.1:99999', ':80', 'a:b:1'])
      await own.fails('ARGUMENT_INVALID', 'serve', '--listen', listen)
    await own.remove()
  })
})

describe('tokens', () => {
  it('are made, listed and revoked by the command line while no service runs', async () => {
    const own = await Workspace.make()
    const made = await own.ok(
      'token',
      'create',
      '--name',
      'desk',
      '--role',
      'restore',
      '--machine',
      'web*',
      'db',
    )
    expect(made).toMatchObject({ name: 'desk', role: 'restore', machines: ['web*', 'db'] })
    const { token, ...info } = made
    expect(await own.ok('token', 'list')).toEqual([info])
    const service = await Served.start(own)
    expect(service.adminToken).toBeUndefined()
    expect(await service.ok('/v1/machines', token)).toEqual({ machines: [] })
    await service.stop()
    await own.ok('token', 'revoke', made.id)
    expect(await own.ok('token', 'list')).toEqual([])
    await own.fails('TOKEN_UNKNOWN', 'token', 'revoke', made.id)
    await own.fails('ARGUMENT_INVALID', 'token', 'create', '--name', 'x', '--role', 'king')
    await own.fails('ARGUMENT_INVALID', 'token', 'create', '--name', 'x')
    await own.remove()
  })

  it('that are wrong, revoked or expired do not hold; the others are not held up by failures', async () => {
    const short = await expiringToken()
    const gone = await served.post('/v1/tokens', admin, { name: 'gone', role: 'report' })
    await served.ok('/v1/machines', gone.token)
    await served.ok(`/v1/tokens/${gone.id}`, admin, { method: 'DELETE' })
    const last = admin.at(-1) === '0' ? '1' : '0'
    for (const wrong of [gone.token, admin.slice(0, -1) + last, admin.slice(0, -1), 'x', `${admin}x`])
      await served.fails('UNAUTHENTICATED', '/v1/machines', wrong)
    for (const header of ['Bearer', 'Basic !!!', 'Digest x', `bearer  ${admin} x`, 'Basic eA=='])
      await served.fails('UNAUTHENTICATED', '/v1/machines', undefined, { headers: { Authorization: header } })
    await sleep(Math.max(0, Date.parse(short.expiresAt) - Date.now()))
    await served.fails('UNAUTHENTICATED', '/v1/machines', short.token)
    const list = await served.ok('/v1/tokens', admin)
    expect([...new Set(list.tokens.map((token: Json) => token.name))]).toEqual(['first admin', 'short'])
    expect(JSON.stringify(list)).not.toMatch(/sha256|[0-9a-f]{64}/)
  })

  it('that are wrong are answered more and more slowly', async () => {
    const times: number[] = []
    for (let i = 0; i < 6; i++) {
      const startMs = performance.now()
      await served.fails('UNAUTHENTICATED', '/v1/machines', 'wrong')
      times.push(performance.now() - startMs)
    }
    expect(times.at(-1)).toBeGreaterThan(700)
    // Whoever was held up would be so each time; a machine that is busy is not.
    const othersMs = async (): Promise<number> => {
      const startMs = performance.now()
      await served.ok('/healthz', admin)
      await served.ok('/v1/machines', admin)
      return performance.now() - startMs
    }
    await expect.poll(othersMs, { timeout: 30_000 }).toBeLessThan(500)
  })

  it('of a list that is damaged hold no longer: an older list may have more of them', async () => {
    const own = await Workspace.make()
    const { token, id } = await own.ok('token', 'create', '--name', 'old', '--role', 'admin')
    await own.ok('token', 'revoke', id)
    const newest = (await own.objects()).filter((path) => path.startsWith('tokens/')).at(-1) ?? ''
    const bytes = await readFile(join(own.repo, newest))
    bytes[20]! ^= 1
    await writeFile(join(own.repo, newest), bytes)
    const service = await Served.start(own)
    await service.fails('UNAUTHENTICATED', '/v1/machines', token)
    expect(service.stderr).toContain('damaged')
    await service.ok('/v1/machines', service.adminToken ?? '')
    await service.stop()
    expect((await ended(start(['verify', '--json'], own.options))).stdout).toContain(newest)
    await own.remove()
  })
})

describe('acting', () => {
  it('pins, unpins, deletes, folds and removes as the command line does, and logs who did what', async () => {
    const own = await Workspace.make()
    const ids: string[] = []
    for (let i = 0; i < 5; i++) {
      await own.write('disk', overwritten(DISK, i * 64 * KIB, noise(`change ${i}`, 5000)))
      ids.push((await own.ok('backup', 'm', 'vda=disk')).point)
    }
    const [p0 = '', p1 = '', p2 = '', , p4 = ''] = ids
    const service = await Served.start(own)
    const root = service.adminToken ?? ''
    const operator = await service.post('/v1/tokens', root, { name: 'night shift', role: 'operator' })
    const { token } = operator
    const point = (id: string): string => `/v1/machines/m/points/${id}`
    expect(await service.post(`${point(p1)}/pin`, token, { reason: 'audit' })).toMatchObject({
      pin: { reason: 'audit' },
    })
    await service.fails('POINT_PINNED', point(p1), token, { method: 'DELETE' })
    expect(await service.ok(point(p2), token, { method: 'DELETE' })).toMatchObject({ removed: [p2] })
    await service.fails('POINT_UNKNOWN', point(p2), token, { method: 'DELETE' })
    expect(await service.ok(`${point(p1)}/pin`, token, { method: 'DELETE' })).toMatchObject({ pin: null })
    expect(await service.post('/v1/machines/m/fold', token, { keep: 1 })).toMatchObject({ kept: [p4] })
    await service.fails('LAST_POINT', point(p4), token, { method: 'DELETE' })
    const raw = await service.fetch(`${point(p4)}/disks/vda/raw`, root)
    const changed = overwritten(DISK, 4 * 64 * KIB, noise('change 4', 5000))
    expect(Buffer.from(await raw.arrayBuffer()).equals(changed)).toBe(true)
    for (const query of ['', '?confirm=', '?confirm=n', '?confirm=m&confirm=m', '?really=m'])
      await service.fails('ARGUMENT_INVALID', `/v1/machines/m${query}`, root, { method: 'DELETE' })
    expect(await service.ok('/v1/machines/m?confirm=m', root, { method: 'DELETE' })).toMatchObject({
      removed: [p4],
    })
    await service.fails('MACHINE_UNKNOWN', '/v1/machines/m/points', root)
    expect(await service.stop()).toBe(0)
    const who = { token: operator.id, tokenName: 'night shift', machine: 'm' }
    expect(service.requests).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ ...who, action: 'pinPoint', point: p1, status: 200 }),
        expect.objectContaining({
          ...who,
          action: 'deletePoint',
          point: p1,
          status: 409,
          code: 'POINT_PINNED',
        }),
        expect.objectContaining({ ...who, action: 'foldMachine', removed: [p0, p1, ids[3]] }),
        expect.objectContaining({ action: 'readDisk', point: p4, disk: 'vda', bytes: DISK.length }),
        expect.objectContaining({ action: 'deleteMachine', machine: 'm', tokenName: 'first admin' }),
      ]),
    )
    expect(service.stderr).not.toContain(token)
    await own.remove()
  })
})

describe('damage', () => {
  it('is a problem before the first byte, or cuts the connection: never a wrong byte', async () => {
    const own = await Workspace.make()
    await own.write('disk', DISK)
    await own.ok('backup', 'm', 'vda=disk', '--chunker', 'fixed')
    const [pack = ''] = (await own.objects()).filter((path) => path.startsWith('packs/'))
    const bytes = await readFile(join(own.repo, pack))
    bytes[1_900_000]! ^= 1
    await writeFile(join(own.repo, pack), bytes)
    const service = await Served.start(own)
    const token = service.adminToken ?? ''
    const good: number[] = []
    for (let offset = 0; offset < DISK.length; offset += 64 * KIB) {
      const headers = { Range: `bytes=${offset}-${offset + 64 * KIB - 1}` }
      const response = await service.fetch(RAW, token, { headers })
      if (response.status === 206) {
        const part = Buffer.from(await response.arrayBuffer())
        expect(part.equals(DISK.subarray(offset, offset + 64 * KIB))).toBe(true)
        good.push(offset)
      } else expect((await problem('DATA_DAMAGED', response)).details.lost).toMatchObject([{ offset }])
    }
    expect(good).toHaveLength(31)
    const whole = await service.fetch(RAW, token)
    await expect(whole.arrayBuffer()).rejects.toThrow()
    await service.stop()
    await own.remove()
  })
})

describe('stopping', () => {
  it('is clean from the first moment that one can hear of it', async () => {
    // It tells itself to end while it says where it listens: no other process could be quicker.
    const early = `const write = process.stdout.write.bind(process.stdout)
      process.stdout.write = (text, ...rest) => {
        const done = write(text, ...rest)
        if (String(text).includes('listens on')) for (const signal of ['SIGHUP', 'SIGTERM']) process.kill(process.pid, signal)
        return done
      }`
    const NODE_OPTIONS = `--import=data:text/javascript,${encodeURIComponent(early)}`
    const env = { ...at.options.env, EVERFOLD_REPO: undefined, NODE_OPTIONS }
    const own = await Workspace.make()
    const run = await ended(
      start(['serve', '--listen', '127.0.0.1:0', '--repo', own.repo], { ...own.options, env }),
    )
    expect(run).toMatchObject({ status: 0, signal: null })
    expect(run.stderr).toContain('"stopped"')
    await own.remove()
  })

  it('finishes the answers that are running, takes nothing new, and ends with 0', async () => {
    const own = await Workspace.make()
    await own.write('disk', noise('large', 24 * MIB))
    await own.ok('backup', 'm', 'vda=disk')
    const service = await Served.start(own)
    const headers = { Authorization: `Bearer ${service.adminToken ?? ''}` }
    let received = 0
    const response = await new Promise<IncomingMessage>((resolve) => {
      httpRequest(service.url + RAW, { headers }, resolve).end()
    })
    // One piece, and the rest when it is told to stop.
    await once(response, 'readable')
    service.signal('SIGTERM')
    await untilRefused(service)
    expect(service.exitCode).toBeNull()
    for await (const part of response) received += (part as Buffer).length
    expect(received).toBe(24 * MIB)
    expect(await service.ended()).toBe(0)
    expect(service.stderr).toContain('"stopped"')
    await own.ok('points')
    await own.remove()
  })

  it('does not wait for ever: a second signal cuts what is left', async () => {
    const own = await Workspace.make()
    await own.write('disk', noise('large', 24 * MIB))
    await own.ok('backup', 'm', 'vda=disk')
    const service = await Served.start(own)
    const headers = { Authorization: `Bearer ${service.adminToken ?? ''}` }
    const stuck = httpRequest(service.url + RAW, { headers })
    const begun = new Promise<void>((resolve) => {
      stuck.once('response', (response) => {
        response.on('error', () => undefined)
        response.once('readable', resolve)
      })
    })
    stuck.on('error', () => undefined).end()
    await begun
    service.signal('SIGTERM')
    await untilRefused(service)
    const startMs = performance.now()
    expect(service.exitCode).toBeNull()
    expect(await service.stop()).toBe(0)
    expect(performance.now() - startMs).toBeLessThan((STOP_ANSWERS_SECONDS - 1) * 1000)
    stuck.destroy()
    await own.remove()
  })
})

describe('hostile input', () => {
  it.each([
    ['ROUTE_UNKNOWN', 'GET', '/'],
    ['ROUTE_UNKNOWN', 'GET', '/v2/machines'],
    ['ROUTE_UNKNOWN', 'GET', '/v1/machines/m/points/'],
    ['ROUTE_UNKNOWN', 'GET', '//v1/machines'],
    ['ROUTE_UNKNOWN', 'GET', '/v1/machines/../../etc/passwd'],
    ['NAME_INVALID', 'GET', '/v1/machines/../points'],
    ['NAME_INVALID', 'GET', '/v1/machines/%2e%2e%2f%2e%2e/points'],
    ['NAME_INVALID', 'GET', '/v1/machines/..%5c../points'],
    ['NAME_INVALID', 'GET', '/v1/machines/m%00/points'],
    ['NAME_INVALID', 'GET', `/v1/machines/${'a'.repeat(201)}/points`],
    ['ARGUMENT_INVALID', 'GET', '/v1/machines/%ff/points'],
    ['ARGUMENT_INVALID', 'GET', '/v1/machines/%/points'],
    ['POINT_UNKNOWN', 'GET', '/v1/machines/m/points/..'],
    ['POINT_UNKNOWN', 'GET', '/v1/machines/m/points/%2e%2e%2f'],
    ['ARGUMENT_INVALID', 'GET', `/v1/machines/m/points/${'9'.repeat(65)}`],
    ['ARGUMENT_INVALID', 'GET', '/v1/machines/m/points/2026-99-99'],
    ['NAME_INVALID', 'GET', '/v1/machines/m/points/latest/disks/..%2fvda/raw'],
    ['DISK_UNKNOWN', 'GET', '/v1/machines/m/points/latest/disks/vdz/raw'],
    ['ARGUMENT_INVALID', 'GET', `${RAW}?offset=1`],
    ['ARGUMENT_INVALID', 'GET', `${RAW.replace('raw', 'extents')}?limit=0`],
    ['ARGUMENT_INVALID', 'GET', `${RAW.replace('raw', 'extents')}?limit=1e3`],
    ['ARGUMENT_INVALID', 'GET', `${RAW.replace('raw', 'extents')}?offset=99999999999999999999`],
    ['ARGUMENT_INVALID', 'GET', '/v1/reports/storage?format=xml'],
    ['METHOD_NOT_ALLOWED', 'POST', RAW],
    ['METHOD_NOT_ALLOWED', 'OPTIONS', RAW],
    ['METHOD_NOT_ALLOWED', 'PROPFIND', '/v1/machines'],
    ['TOKEN_UNKNOWN', 'DELETE', '/v1/tokens/..%2f'],
    ['URL_TOO_LONG', 'GET', `/v1/machines/${'a'.repeat(5000)}/points`],
    ['HEADERS_TOO_LARGE', 'GET', `/v1/machines/${'a'.repeat(20_000)}/points`],
    ['ARGUMENT_INVALID', 'GE T', '/'],
  ] as const)('is a %s: %s %s', async (code, method, path) => {
    const answer = await served.raw(
      `${method} ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${admin}\r\nConnection: close\r\n\r\n`,
    )
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${ERROR_CLASSES[code].http} `))
    expect(answer).toContain('application/problem+json')
    expect(JSON.parse(answer.slice(answer.indexOf('{'))).code).toBe(code)
  })

  it.each([
    ['MEDIA_TYPE_UNSUPPORTED', { 'Content-Type': 'text/plain' }, '{}'],
    ['MEDIA_TYPE_UNSUPPORTED', { 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' }, '{}'],
    ['ARGUMENT_INVALID', { 'Content-Type': 'application/json' }, '{'],
    ['ARGUMENT_INVALID', { 'Content-Type': 'application/json' }, '[]'],
    ['ARGUMENT_INVALID', { 'Content-Type': 'application/json' }, '{"keep":1.5}'],
    ['ARGUMENT_INVALID', { 'Content-Type': 'application/json' }, '{"keep":0}'],
    ['ARGUMENT_INVALID', { 'Content-Type': 'application/json' }, '{"keep":2,"more":1}'],
    ['ARGUMENT_INVALID', { 'Content-Type': 'application/json' }, '{"__proto__":{"keep":1}}'],
    ['ARGUMENT_INVALID', { 'Content-Type': 'application/json' }, ''],
    ['BODY_TOO_LARGE', { 'Content-Type': 'application/json' }, ' '.repeat(70_000)],
  ] as const)('in a body is a %s (%#)', async (code, headers, body) => {
    await served.fails(code, '/v1/machines/m/fold', admin, { method: 'POST', headers, body })
  })

  it('of a body without an end, or where none belongs, is refused without reading on', async () => {
    const head = `Host: x\r\nAuthorization: Bearer ${admin}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked`
    const chunk = `4000\r\n${' '.repeat(0x4000)}\r\n`
    const answer = await served.raw(`POST /v1/machines/m/fold HTTP/1.1\r\n${head}\r\n\r\n${chunk.repeat(8)}`)
    expect(answer).toMatch(/^HTTP\/1.1 413 /)
    const init = { method: 'DELETE', body: '{}', headers: { 'Content-Type': 'application/json' } }
    await served.fails('ARGUMENT_INVALID', '/v1/machines/m?confirm=m', admin, init)
  })

  it('in ranges never gives other bytes than those of the disk, nor a 500', async () => {
    const whole = Buffer.from(await (await served.fetch(RAW, admin)).arrayBuffer())
    const number = fc.oneof(
      fc.constant(''),
      fc.nat(DISK.length + 10).map(String),
      fc.bigInt({ min: 0n }).map(String),
    )
    const header = fc.oneof(
      fc.tuple(number, number).map(([first, last]) => `bytes=${first}-${last}`),
      fc.string({ unit: fc.constantFrom(...'b y t e s = - , 0 1 2 5 9'.split(' ')), maxLength: 30 }),
    )
    await fc.assert(
      fc.asyncProperty(header, async (range) => {
        const response = await served.fetch(RAW, admin, { headers: { Range: range } })
        const bytes = Buffer.from(await response.arrayBuffer())
        if (response.status === 416) return
        expect([200, 206]).toContain(response.status)
        const [, from = '0', to = String(whole.length - 1)] =
          /^bytes (\d+)-(\d+)\//.exec(response.headers.get('content-range') ?? '') ?? []
        expect(bytes.equals(whole.subarray(Number(from), Number(to) + 1))).toBe(true)
      }),
      { numRuns: 60 },
    )
  })

  it('in addresses is always a 4xx with a code', async () => {
    const segment = fc.oneof(
      fc.string({ maxLength: 20 }),
      fc.constantFrom('..', '.', 'm', 'latest', 'vda', '%2e%2e', 'a/b', '\0', '\\', '*', ':', '{machine}'),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(segment, { maxLength: 7 }), fc.boolean(), async (segments, encode) => {
        const path = segments
          .map((text) => (encode ? encodeURIComponent(text) : text.replace(/[^!-~]/g, '')))
          .join('/')
        const answer = await served.raw(
          `GET /v1/machines/${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${admin}\r\nConnection: close\r\n\r\n`,
        )
        expect(answer, path).toMatch(/^HTTP\/1.1 (?:200|4\d\d) /)
      }),
      { numRuns: 150 },
    )
  })

  it('that comes slowly is cut off: headers have seconds, not for ever', async () => {
    const socket = connect(served.port, '127.0.0.1')
    let answer = ''
    socket.setEncoding('latin1').on('data', (part: string) => (answer += part))
    socket.once('error', () => undefined)
    socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\n')
    const drip = setInterval(() => socket.write('X-A: b\r\n'), 1000)
    await new Promise((resolve) => socket.once('close', resolve))
    clearInterval(drip)
    expect(answer).toMatch(/^HTTP\/1.1 408 /)
  })
})
