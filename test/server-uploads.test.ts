/** Uploads to the real service over real HTTP: sessions, data in any order, one-shot images, restarts, and who may do what. */

import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { request as httpRequest } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { diskLike, KIB, MIB, noise, overwritten } from './disk-bytes.js'
import type { Json } from './everfold.js'
import { Served } from './server-process.js'
import { Uploader } from './uploads.js'
import { Workspace } from './workspace.js'

const DISK = Buffer.concat([noise('disk', 3 * MIB), Buffer.alloc(MIB), noise('end', 700 * KIB + 77)])

let at: Workspace
let served: Served
let admin: string
let up: Uploader

beforeAll(async () => {
  at = await Workspace.make()
  served = await Served.start(at)
  admin = served.adminToken ?? ''
  const { token } = await served.post('/v1/tokens', admin, { name: 'agent', role: 'backup' })
  up = new Uploader(served, token)
})
afterAll(async () => {
  expect(await served.stop()).toBe(0)
  expect(served.stderr).not.toMatch(/UnhandledPromise|TypeError|Warning|"level":50/)
  await at.remove()
})

function reader(): Uploader {
  return new Uploader(served, admin)
}

async function eventually<T>(what: () => Promise<T>, holds: (value: T) => boolean): Promise<T> {
  for (;;) {
    const value = await what()
    if (holds(value)) return value
    await sleep(20)
  }
}

/** Objects of sessions in the repository: `begin`, `done` and parts. */
async function sessionObjects(where: Workspace, session: string): Promise<string[]> {
  return (await where.objects()).filter((path) => path.startsWith(`sessions/${session}/`))
}

describe('an image in one request', () => {
  it('makes a point with nothing but curl, from a file and from a pipe', async () => {
    const file = await at.write('image', DISK)
    const first = await up.curl('/v1/machines/img/disks/vda/image?note=nightly', '-T', at.path(file))
    expect(first).toMatchObject({ machine: 'img', kind: 'full', readBytes: DISK.length })
    await reader().expectDisk('img', first.point, DISK)
    const changed = overwritten(DISK, 100 * KIB, noise('change', 30 * KIB)).subarray(0, 4 * MIB)
    await at.write('image', changed)
    const chunked = ['-H', 'Transfer-Encoding: chunked', '-T', at.path(file)]
    const second = await up.curl('/v1/machines/img/disks/vda/image?consistency=filesystem', ...chunked)
    expect(second).toMatchObject({ kind: 'incremental', disks: [{ id: 'vda', sizeBytes: 4 * MIB }] })
    expect(second.newBytes).toBeLessThan(300 * KIB)
    await reader().expectDisk('img', second.point, changed)
    await reader().expectDisk('img', first.point, DISK)
    const { points } = await served.ok('/v1/machines/img/points', admin)
    expect(points).toMatchObject([{ note: 'nightly' }, { consistency: 'filesystem' }])
  })

  it('repeated with its Idempotency-Key is the same point, never two', async () => {
    const file = at.path(await at.write('image', DISK))
    const path = '/v1/machines/once/disks/vda/image'
    const first = await up.curl(path, '-H', 'Idempotency-Key: monday', '-T', file)
    for (let i = 0; i < 2; i++)
      expect(await up.curl(path, '-H', 'Idempotency-Key: monday', '-T', file)).toEqual(first)
    const other = await up.curl(path, '-H', 'Idempotency-Key: tuesday', '-T', file)
    expect(other.point).not.toBe(first.point)
    expect(other).toMatchObject({ changedBytes: 0, newBytes: 0 })
    expect((await served.ok('/v1/machines/once/points', admin)).points).toHaveLength(2)
  })

  it('sent twice at once with the same key is one that is busy; once the first is cut off, it can be repeated', async () => {
    const path = '/v1/machines/twice/disks/vda/image'
    const headers = { Authorization: `Bearer ${up.token}`, 'Idempotency-Key': 'twice' }
    const first = httpRequest(served.url + path, {
      method: 'PUT',
      headers: { ...headers, Expect: '100-continue' },
    })
    first.on('error', () => undefined).flushHeaders()
    await once(first, 'continue')
    first.write(DISK.subarray(0, MIB))
    const again = async (): Promise<Json> => {
      const init = { method: 'PUT', headers: { 'Idempotency-Key': 'twice' }, body: DISK }
      return (await served.fetch(path, up.token, init)).json()
    }
    await eventually(again, (answer) => answer.code === 'SESSION_BUSY')
    first.destroy()
    const { point } = await eventually(again, (answer) => {
      expect([undefined, 'SESSION_BUSY']).toContain(answer.code)
      return answer.code === undefined
    })
    await reader().expectDisk('twice', point, DISK)
    expect((await served.ok('/v1/machines/twice/points', admin)).points).toHaveLength(1)
  })

  it('that breaks off makes no point, and leaves no session', async () => {
    const path = '/v1/machines/broken/disks/vda/image'
    await up.cutOff('PUT', path, DISK, 2 * MIB)
    const sessions = async (): Promise<string[]> =>
      (await at.objects()).filter((path) => path.startsWith('sessions/'))
    await eventually(sessions, (left) => left.every((key) => !key.endsWith('/begin')))
    await served.fails('MACHINE_UNKNOWN', '/v1/machines/broken/points', admin)
  })

  it('of fewer or more bytes than its size says makes no point, from a file or from a pipe', async () => {
    const file = at.path(await at.write('image', DISK))
    const path = (size: number): string => `/v1/machines/sized/disks/vda/image?size=${size}`
    for (const chunked of [[], ['-H', 'Transfer-Encoding: chunked']]) {
      const put = (size: number): Promise<Json> => up.curl(path(size), ...chunked, '-T', file)
      expect(await put(DISK.length + 1)).toMatchObject({
        code: 'DISK_INCOMPLETE',
        details: { sizeBytes: DISK.length + 1, receivedBytes: DISK.length },
      })
      expect(await put(DISK.length - 1)).toMatchObject({ code: 'ARGUMENT_INVALID' })
    }
    await served.fails('ARGUMENT_INVALID', path(0), up.token, { method: 'PUT', body: Buffer.from('x') })
    await served.fails('MACHINE_UNKNOWN', '/v1/machines/sized/points', admin)
    const { point } = await up.curl(path(DISK.length), '-H', 'Transfer-Encoding: chunked', '-T', file)
    await reader().expectDisk('sized', point, DISK)
  })

  it('without a byte, or of another type, is refused', async () => {
    const path = '/v1/machines/no/disks/vda/image'
    const bytes = Buffer.from('x')
    await served.fails('ARGUMENT_INVALID', path, up.token, { method: 'PUT' })
    const headers = { 'Content-Type': 'application/x-www-form-urlencoded' }
    await served.fails('MEDIA_TYPE_UNSUPPORTED', path, up.token, { method: 'PUT', headers, body: 'x' })
    await served.fails('ARGUMENT_INVALID', `${path}?consistency=none`, up.token, {
      method: 'PUT',
      body: bytes,
    })
    const key = { 'Idempotency-Key': 'a b' }
    await served.fails('ARGUMENT_INVALID', path, up.token, { method: 'PUT', headers: key, body: bytes })
    await served.fails('MACHINE_UNKNOWN', '/v1/machines/no/points', admin)
  })
})

describe('a session', () => {
  it('takes the data of its disks in any order, side by side, and commits them as one point', async () => {
    const data = diskLike('data', 3 * MIB + 1)
    const begun = await up.begin('pair', {
      disks: [
        { id: 'vda', sizeBytes: DISK.length },
        { id: 'vdb', sizeBytes: data.length, chunker: 'fixed' },
      ],
      note: 'both',
      consistency: 'application',
    })
    expect(begun).toMatchObject({ machine: 'pair', state: 'open', parent: null, chunkSize: 65536 })
    const { session } = begun
    const pieces: { disk: string; offset: number; bytes: Buffer }[] = []
    for (const [disk, all] of [['vda', DISK] as const, ['vdb', data] as const])
      for (let offset = 0; offset < all.length; offset += 300 * KIB + 5)
        pieces.push({ disk, offset, bytes: all.subarray(offset, offset + 300 * KIB + 5) })
    const [last = { disk: '', offset: 0, bytes: DISK }, ...others] = pieces.reverse()
    await Promise.all(others.map(({ disk, offset, bytes }) => up.put(session, disk, offset, bytes)))
    const missing = { offset: last.offset, length: last.bytes.length }
    expect((await up.get(session)).disks).toMatchObject([
      { id: 'vda', receivedBytes: DISK.length, missing: [], chunker: 'cdc' },
      { id: 'vdb', receivedBytes: data.length - last.bytes.length, missing: [missing], chunker: 'fixed' },
    ])
    expect(await served.ok(`/v1/sessions/${session}/disks/vda/received`, up.token)).toEqual([
      { offset: 0, length: DISK.length },
    ])
    const path = `/v1/sessions/${session}/commit`
    const incomplete = await served.fails('DISK_INCOMPLETE', path, up.token, { method: 'POST' })
    expect(incomplete.details).toEqual({ session, disk: 'vdb', missing: [missing] })
    await up.put(session, last.disk, last.offset, last.bytes)
    const response = await served.fetch(path, up.token, { method: 'POST' })
    expect(response.status).toBe(201)
    const point = (await response.json()) as Json
    expect(point).toMatchObject({ kind: 'full', readBytes: DISK.length + data.length })
    const again = await served.fetch(path, up.token, { method: 'POST' })
    expect([again.status, await again.json()]).toEqual([200, point])
    expect(await up.get(session)).toMatchObject({ state: 'committed', point })
    await reader().expectDisk('pair', point.point, DISK)
    await reader().expectDisk('pair', point.point, data, 'vdb')
    const { points } = await served.ok('/v1/machines/pair/points', admin)
    expect(points).toMatchObject([{ note: 'both', consistency: 'application' }])
    await served.fails('CONFLICT', `/v1/sessions/${session}/disks/vda/data?offset=0`, up.token, {
      method: 'PUT',
      body: Buffer.from('x'),
    })
    await served.fails('CONFLICT', `/v1/sessions/${session}`, up.token, { method: 'DELETE' })
  })

  it('of changes needs no more than they are; what a disk has grown by has to come', async () => {
    const { session: full } = await up.begin('chg', { disks: [{ id: 'vda', sizeBytes: DISK.length }] })
    await up.put(full, 'vda', 0, DISK)
    const { point } = await up.commit(full)
    const disks = [{ id: 'vda', sizeBytes: DISK.length + 1000 }]
    const begun = await up.begin('chg', { disks, parent: 'newest' })
    expect(begun.parent).toBe(point)
    expect(begun.disks).toMatchObject([
      { content: 'changes', receivedBytes: 0, missing: [{ offset: DISK.length, length: 1000 }] },
    ])
    const change = noise('change', 70_001)
    await up.put(begun.session, 'vda', 1_234_567, change)
    await up.put(begun.session, 'vda', DISK.length, Buffer.alloc(1000, 7))
    const committed = await up.commit(begun.session)
    expect(committed).toMatchObject({ kind: 'incremental', readBytes: 71_001 })
    const expected = Buffer.concat([overwritten(DISK, 1_234_567, change), Buffer.alloc(1000, 7)])
    await reader().expectDisk('chg', committed.point, expected)
    // Nothing changed: a point all the same.
    const empty = await up.begin('chg', { disks, parent: committed.point })
    await reader().expectDisk('chg', (await up.commit(empty.session)).point, expected)
    const old = await served.fetch('/v1/machines/chg/sessions', up.token, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ disks, parent: point }),
    })
    expect(await old.json()).toMatchObject({ code: 'CONFLICT', details: { machine: 'chg' } })
  })

  it('holds what any writes in any order leave, the later over the earlier', async () => {
    let parent = Buffer.alloc(0)
    const write = fc.tuple(fc.nat(MIB - 1), fc.integer({ min: 1, max: 200 * KIB }), fc.nat(2))
    await fc.assert(
      fc.asyncProperty(fc.array(write, { minLength: 1, maxLength: 12 }), fc.nat(), async (writes, seed) => {
        const size = MIB
        const changes = parent.length > 0 && seed % 2 === 0
        const disks = [{ id: 'vda', sizeBytes: size, ...(parent.length === 0 && { chunker: 'fixed' }) }]
        const { session } = await up.begin('any', { disks, ...(changes && { parent: 'newest' }) })
        const disk = changes ? Buffer.from(parent) : Buffer.alloc(size)
        if (!changes) await up.put(session, 'vda', 0, disk)
        for (const [i, [offset, length, kind]] of writes.entries()) {
          const end = Math.min(size, offset + length)
          const bytes = kind === 0 ? Buffer.alloc(end - offset) : noise(`${seed % 50} ${i}`, end - offset)
          bytes.copy(disk, offset)
          await up.put(session, 'vda', offset, bytes)
        }
        const { point } = await up.commit(session)
        await reader().expectDisk('any', point, disk)
        parent = disk
      }),
      { numRuns: 20 },
    )
    await served.stop()
    await at.ok('verify')
    served = await Served.start(at)
    up = new Uploader(served, up.token)
  }, 120_000)

  it('loses to another that committed first', async () => {
    const disks = [{ id: 'vda', sizeBytes: 1000 }]
    const { session: first } = await up.begin('race', { disks })
    const { session: second } = await up.begin('race', { disks })
    await up.put(first, 'vda', 0, noise('first', 1000))
    await up.put(second, 'vda', 0, noise('second', 1000))
    const { point } = await up.commit(second)
    const path = `/v1/sessions/${first}/commit`
    const { details } = await served.fails('CONFLICT', path, up.token, { method: 'POST' })
    expect(details).toEqual({ machine: 'race', newest: point })
    await reader().expectDisk('race', 'latest', noise('second', 1000))
    await up.drop(first)
    await served.fails('SESSION_UNKNOWN', path, up.token, { method: 'POST' })
  })

  it('is the same for whoever repeats its beginning with the same key, and whoever commits twice at once', async () => {
    const init = {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'Idempotency-Key': 'night-1' },
      body: JSON.stringify({ disks: [{ id: 'vda', sizeBytes: 10 }] }),
    }
    const path = '/v1/machines/key/sessions'
    const answers = [await served.fetch(path, up.token, init), await served.fetch(path, up.token, init)]
    expect(answers.map((answer) => answer.status)).toEqual([201, 200])
    const [first, second] = await Promise.all(answers.map((answer) => answer.json() as Json))
    expect(second.session).toBe(first.session)
    await up.put(first.session, 'vda', 0, Buffer.from('everything'))
    const points = await Promise.all([1, 2, 3].map(() => up.commit(first.session)))
    expect(new Set(points.map((point) => point.point)).size).toBe(1)
    expect((await served.ok('/v1/machines/key/points', admin)).points).toHaveLength(1)
    const later = await served.ok(path, up.token, init)
    expect(later).toMatchObject({ session: first.session, state: 'committed', point: points[0] })
    // Another token's key is another key.
    const { token } = await served.post('/v1/tokens', admin, { name: 'second agent', role: 'backup' })
    expect((await served.ok(path, token, init)).session).not.toBe(first.session)
  })

  it('keeps what came of a request that broke off, and tells what', async () => {
    const { session } = await up.begin('cut', { disks: [{ id: 'vda', sizeBytes: DISK.length }] })
    const path = `/v1/sessions/${session}/disks/vda/data?offset=0`
    await up.cutOff('PUT', path, DISK, 2 * MIB + 17)
    const [disk] = (
      await eventually(
        () => up.get(session),
        (told) => told.disks[0].receivedBytes > 0,
      )
    ).disks
    expect(disk.receivedBytes).toBeLessThanOrEqual(2 * MIB + 17)
    expect(disk.missing).toEqual([{ offset: disk.receivedBytes, length: DISK.length - disk.receivedBytes }])
    await up.put(session, 'vda', disk.receivedBytes, DISK.subarray(disk.receivedBytes))
    await reader().expectDisk('cut', (await up.commit(session)).point, DISK)
  })

  it.each([
    ['no disks', 'ARGUMENT_INVALID', { disks: [] }],
    ['a disk named twice', 'ARGUMENT_INVALID', { disks: [1, 2].map(() => ({ id: 'a', sizeBytes: 1 })) }],
    ['a size below 0', 'ARGUMENT_INVALID', { disks: [{ id: 'a', sizeBytes: -1 }] }],
    ['a size over 2^53', 'ARGUMENT_INVALID', { disks: [{ id: 'a', sizeBytes: 2 ** 53 }] }],
    ['a name with a slash', 'NAME_INVALID', { disks: [{ id: '../a', sizeBytes: 1 }] }],
    [
      'changes without a parent',
      'ARGUMENT_INVALID',
      { disks: [{ id: 'a', sizeBytes: 1, content: 'changes' }] },
    ],
    [
      'a parent that there is none of',
      'FEED_WITHOUT_BASE',
      { disks: [{ id: 'a', sizeBytes: 1 }], parent: 'newest' },
    ],
    ['a note of two lines', 'ARGUMENT_INVALID', { disks: [{ id: 'a', sizeBytes: 1 }], note: 'a\nb' }],
    ['a member that is none', 'ARGUMENT_INVALID', { disks: [{ id: 'a', sizeBytes: 1 }], more: 1 }],
  ] as const)('is not begun with %s', async (_what, code, body) => {
    await served.fails(code, '/v1/machines/bad/sessions', up.token, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    })
  })

  it('takes nothing behind the end of a disk, nor for a disk that it does not have', async () => {
    const { session } = await up.begin('end', { disks: [{ id: 'vda', sizeBytes: 1000 }] })
    const put = (code: 'ARGUMENT_INVALID' | 'DISK_UNKNOWN', path: string): Promise<Json> =>
      served.fails(code, `/v1/sessions/${session}/disks/${path}`, up.token, {
        method: 'PUT',
        body: Buffer.from('xyz'),
      })
    await put('ARGUMENT_INVALID', 'vda/data?offset=998')
    await put('ARGUMENT_INVALID', 'vda/data?offset=-1')
    await put('ARGUMENT_INVALID', 'vda/data')
    await put('ARGUMENT_INVALID', `vda/data?offset=${2 ** 53}`)
    await put('DISK_UNKNOWN', 'vdb/data?offset=0')
    const chunked = await up.curl(
      `/v1/sessions/${session}/disks/vda/data?offset=999`,
      ...['-X', 'PUT', '-H', 'Transfer-Encoding: chunked', '-H', 'Content-Type: application/octet-stream'],
      ...['--data-binary', 'xyz'],
    )
    expect(chunked).toMatchObject({ code: 'ARGUMENT_INVALID', details: { sizeBytes: 1000 } })
    expect((await up.get(session)).disks[0].receivedBytes).toBe(0)
    await up.drop(session)
  })
})

describe('sessions', () => {
  it("are those of the token that made them, and an admin's", async () => {
    const { session } = await up.begin('own', { disks: [{ id: 'vda', sizeBytes: 3 }] })
    const { token } = await served.post('/v1/tokens', admin, { name: 'other agent', role: 'backup' })
    const other = new Uploader(served, token)
    await served.fails('SESSION_UNKNOWN', `/v1/sessions/${session}`, token)
    const data = `/v1/sessions/${session}/disks/vda/data?offset=0`
    await served.fails('SESSION_UNKNOWN', data, token, { method: 'PUT', body: Buffer.from('abc') })
    for (const [method, path] of [
      ['POST', '/commit'],
      ['DELETE', ''],
    ] as const)
      await served.fails('SESSION_UNKNOWN', `/v1/sessions/${session}${path}`, token, { method })
    expect((await served.ok('/v1/sessions', token)).sessions).toEqual([])
    const mine = (await served.ok('/v1/sessions', up.token)).sessions
    expect(mine.map((one: Json) => one.session)).toContain(session)
    const { token: operator } = await served.post('/v1/tokens', admin, { name: 'op', role: 'operator' })
    expect(JSON.stringify(await served.ok('/v1/sessions', operator))).toContain(session)
    await served.fails('FORBIDDEN', `/v1/sessions/${session}`, operator)
    await new Uploader(served, admin).put(session, 'vda', 0, Buffer.from('abc'))
    await up.commit(session)
    await served.fails('SESSION_UNKNOWN', `/v1/sessions/${session}`, token)
    const { token: some } = await served.post('/v1/tokens', admin, {
      name: 'agent of others',
      role: 'backup',
      machines: ['web*'],
    })
    await served.fails('FORBIDDEN', '/v1/machines/own/disks/vda/image', some, {
      method: 'PUT',
      body: Buffer.from('abc'),
    })
    await served.fails('FORBIDDEN', '/v1/machines/own/points/latest/disks/vda/raw', other.token)
    for (const id of ['nothing', '../x', session.replace(/.$/, '!'), 'a'.repeat(26)])
      await served.fails('SESSION_UNKNOWN', `/v1/sessions/${encodeURIComponent(id)}`, admin)
  })
})

describe('a restart', () => {
  it.each(['SIGTERM', 'SIGKILL'] as const)(
    'by %s keeps what was answered, also over collections',
    async (signal) => {
      const own = await Workspace.make()
      let service = await Served.start(own)
      const token = service.adminToken ?? ''
      let client = new Uploader(service, token)
      const { session } = await client.begin('m', { disks: [{ id: 'vda', sizeBytes: DISK.length }] })
      const half = 2 * MIB + 333
      await client.put(session, 'vda', 0, DISK.subarray(0, half))
      const later = client.cutOff('PUT', `/v1/sessions/${session}/disks/vda/data?offset=${half}`, DISK, 100)
      await later
      await service.stop(signal)
      // Nothing but the session needs its packs: they stay.
      for (let round = 0; round < 3; round++) await own.ok('gc')
      service = await Served.start(own)
      client = new Uploader(service, token)
      const { disks } = await client.get(session)
      expect(disks[0].receivedBytes).toBeGreaterThanOrEqual(half)
      const job = await service.post('/v1/jobs', token, { kind: 'gc', rounds: 3 })
      await (await service.fetch(`/v1/jobs/${job.id}/events`, token)).text()
      await client.put(session, 'vda', half, DISK.subarray(half))
      const point = await client.commit(session)
      await service.stop(signal)
      for (let round = 0; round < 3; round++) await own.ok('gc')
      service = await Served.start(own)
      client = new Uploader(service, token)
      expect(await client.commit(session)).toEqual(point)
      expect((await service.ok('/v1/machines/m/points', token)).points).toHaveLength(1)
      await service.stop()
      await own.expectDisk('m', 'latest', DISK)
      await own.ok('verify')
      await own.remove()
    },
  )

  it('does not wait for a client that is sending: what had come is kept', async () => {
    const own = await Workspace.make()
    let service = await Served.start(own)
    const token = service.adminToken ?? ''
    let client = new Uploader(service, token)
    const { session } = await client.begin('m', { disks: [{ id: 'vda', sizeBytes: DISK.length }] })
    const sending = httpRequest(`${service.url}/v1/sessions/${session}/disks/vda/data?offset=0`, {
      method: 'PUT',
      headers: { Authorization: `Bearer ${token}`, Expect: '100-continue' },
    })
    const answered = new Promise<number | undefined>((resolve) => {
      sending.once('response', (response) => resolve(response.resume().statusCode))
    })
    sending.on('error', () => undefined).flushHeaders()
    // It has begun.
    await once(sending, 'continue')
    sending.write(DISK.subarray(0, MIB))
    await service.fails('SESSION_BUSY', `/v1/sessions/${session}/commit`, token, { method: 'POST' })
    const status = service.stop()
    expect(await answered).toBe(503)
    expect(await status).toBe(0)
    service = await Served.start(own)
    client = new Uploader(service, token)
    const received = (await client.get(session)).disks[0].receivedBytes
    await client.put(session, 'vda', received, DISK.subarray(received))
    await client.commit(session)
    await service.stop()
    await own.expectDisk('m', 'latest', DISK)
    await own.remove()
  })
})

describe('what is abandoned', () => {
  it('is dropped after the time that was set, and its space comes back', async () => {
    const own = await Workspace.make()
    await own.write('everfold.yaml', 'sessions: {expiry: 1s}\n')
    const service = await Served.start(own, '--config', 'everfold.yaml')
    const token = service.adminToken ?? ''
    const client = new Uploader(service, token)
    const { session } = await client.begin('m', { disks: [{ id: 'vda', sizeBytes: DISK.length }] })
    await client.put(session, 'vda', 0, DISK)
    expect((await own.objects()).filter((path) => path.startsWith('packs/'))).not.toHaveLength(0)
    await eventually(
      () => sessionObjects(own, session),
      (left) => left.length === 0,
    )
    await service.fails('SESSION_UNKNOWN', `/v1/sessions/${session}`, token)
    await service.stop()
    for (let round = 0; round < 3; round++) await own.ok('gc')
    expect((await own.objects()).filter((path) => path.startsWith('packs/'))).toEqual([])
    await own.remove()
  })

  it('in parts is collected: a part without its session means nothing', async () => {
    const own = await Workspace.make()
    const service = await Served.start(own)
    const token = service.adminToken ?? ''
    const client = new Uploader(service, token)
    const { session } = await client.begin('m', { disks: [{ id: 'vda', sizeBytes: DISK.length }] })
    await client.put(session, 'vda', 0, DISK)
    await service.stop()
    expect(await sessionObjects(own, session)).toHaveLength(2)
    await rm(`${own.repo}/sessions/${session}/begin`)
    for (let round = 0; round < 3; round++) await own.ok('gc')
    expect(await sessionObjects(own, session)).toEqual([])
    expect((await own.objects()).filter((path) => path.startsWith('packs/'))).toEqual([])
    await own.remove()
  })
})
