/** Limits of uploads to the real service: rates, sizes, sessions, quotas; and what the audit log says of them. */

import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { KIB, MIB, noise } from './disk-bytes.js'
import type { Json } from './everfold.js'
import { Served } from './server-process.js'
import { Uploader } from './uploads.js'
import { Workspace } from './workspace.js'

const CONFIG = `
repository: repo
tokens:
  - match: slow
    bytesPerSecond: { in: 1MiB }
  - match: small
    upload: 1MiB
    uploads: 2
    sessions: 2
machines:
  - match: q*
    quota: 1MiB
`

let at: Workspace
let served: Served
let admin: Uploader

beforeAll(async () => {
  at = await Workspace.make()
  await at.write('everfold.yaml', CONFIG)
  served = await Served.start(at, '--config', 'everfold.yaml')
  admin = new Uploader(served, served.adminToken ?? '')
})
afterAll(async () => {
  expect(await served.stop()).toBe(0)
  expect(served.stderr).not.toMatch(/UnhandledPromise|TypeError|"level":50/)
  await at.remove()
})

async function uploaderNamed(name: string): Promise<Uploader> {
  const { token } = await served.post('/v1/tokens', admin.token, { name, role: 'backup' })
  return new Uploader(served, token)
}

const oneDisk = (sizeBytes: number): Json => ({ disks: [{ id: 'vda', sizeBytes }] })

describe('an upload', () => {
  it('of a token that is held to a rate comes at that rate, and others are not held up', async () => {
    const slow = await uploaderNamed('slow')
    const bytes = noise('slow', 3 * MIB)
    const { session } = await slow.begin('slow1', oneDisk(bytes.length))
    const startMs = performance.now()
    const sending = Promise.all(
      [0, 1, 2].map((i) => slow.put(session, 'vda', i * MIB, bytes.subarray(i * MIB, (i + 1) * MIB))),
    )
    const fast = await admin.begin('fast1', oneDisk(bytes.length))
    await admin.put(fast.session, 'vda', 0, bytes)
    const { point: other } = await admin.commit(fast.session)
    const fastMs = performance.now() - startMs
    await sending
    const seconds = (performance.now() - startMs) / 1000
    // What a burst, and the last piece of each, may be ahead of the rate.
    expect(seconds).toBeGreaterThan(3 - 0.7)
    expect(fastMs / 1000).toBeLessThan(seconds)
    const { point } = await slow.commit(session)
    await admin.expectDisk('slow1', point, bytes)
    await admin.expectDisk('fast1', other, bytes)
  })

  it('may be so large and no larger, with a length or without', async () => {
    const small = await uploaderNamed('small')
    const bytes = noise('small', 2 * MIB)
    const { session } = await small.begin('small1', oneDisk(bytes.length))
    await small.put(session, 'vda', 0, bytes.subarray(0, MIB))
    const path = `/v1/sessions/${session}/disks/vda/data?offset=${MIB}`
    const body = Buffer.from(bytes.subarray(0, MIB)).toString('latin1')
    await served.fails('BODY_TOO_LARGE', path.replace(String(MIB), '0'), small.token, {
      method: 'PUT',
      body: Buffer.from(`${body}x`, 'latin1'),
    })
    const endless = new ReadableStream<Uint8Array>({
      pull: (controller) => {
        controller.enqueue(noise('endless', 64 * KIB))
      },
    })
    const answer = await served
      .fetch(path.replace(String(MIB), '0'), small.token, {
        method: 'PUT',
        body: endless,
        duplex: 'half',
      })
      .then(
        (response) => response.status,
        () => 'cut',
      )
    // The answer may come too late for a client that is still sending.
    expect([413, 'cut']).toContain(answer)
    await small.put(session, 'vda', MIB, bytes.subarray(MIB))
    await small.commit(session)
  })

  it('is one of so many of its token, also where they send next to nothing; the others go on', async () => {
    const small = await uploaderNamed('small')
    const { session } = await small.begin('drip1', oneDisk(MIB))
    const data = (offset: number): string => `/v1/sessions/${session}/disks/vda/data?offset=${offset}`
    const dripping: Socket[] = []
    for (const offset of [0, 10]) {
      const socket = connect(served.port, '127.0.0.1')
      socket.once('error', () => undefined)
      const head = `PUT ${data(offset)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${small.token}\r\nContent-Length: 10`
      socket.write(`${head}\r\n\r\nx`)
      dripping.push(socket)
    }
    const uploads = async (): Promise<string | undefined> =>
      /^everfold_places_taken\{kind="uploads"\} (\d+)$/m.exec(
        await (await served.fetch('/metrics', admin.token)).text(),
      )?.[1]
    while ((await uploads()) !== '2') await sleep(10)
    const init = { method: 'PUT', body: Buffer.from('0123456789') }
    await served.fails('TOO_MANY_REQUESTS', data(20), small.token, init)
    const { session: other } = await admin.begin('drip2', oneDisk(MIB))
    await admin.put(other, 'vda', 0, noise('others', MIB))
    for (const socket of dripping) socket.destroy()
    while ((await uploads()) !== '0') await sleep(10)
    await served.ok(data(20), small.token, init)
    await small.drop(session)
  })

  it('is one of so many sessions of its token', async () => {
    const small = await uploaderNamed('small')
    const first = await small.begin('many1', oneDisk(KIB))
    await small.begin('many2', oneDisk(KIB))
    const init = {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(oneDisk(KIB)),
    }
    await served.fails('TOO_MANY_REQUESTS', '/v1/machines/many3/sessions', small.token, init)
    await admin.begin('many3', oneDisk(KIB))
    await small.drop(first.session)
    await small.begin('many4', oneDisk(KIB))
  })
})

describe('a quota', () => {
  const PART = 600 * KIB
  const begin = {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(oneDisk(3 * PART)),
  }
  const disk = noise('quota', 3 * PART)

  it('ends a session at its next request, and refuses the next session; points stay, and removing them makes room', async () => {
    const { session } = await admin.begin('q1', oneDisk(2 * PART))
    await admin.put(session, 'vda', 0, disk.subarray(0, PART))
    await admin.put(session, 'vda', PART, disk.subarray(PART, 2 * PART))
    const data = `/v1/sessions/${session}/disks/vda/data?offset=0`
    const init = { method: 'PUT', body: Buffer.from(disk.subarray(0, PART)) }
    const problem = await served.fails('QUOTA_EXCEEDED', data, admin.token, init)
    expect(problem.details).toMatchObject({ machine: 'q1', quotaBytes: MIB, keptBytes: 0 })
    // What was taken is kept.
    const { point } = await admin.commit(session)
    const refused = await served.fails('QUOTA_EXCEEDED', '/v1/machines/q1/sessions', admin.token, begin)
    expect(refused.details.keptBytes).toBeGreaterThan(MIB)
    await admin.expectDisk('q1', point, disk.subarray(0, 2 * PART))
    await admin.begin('r1', oneDisk(KIB))
    await served.ok('/v1/machines/q1?confirm=q1', admin.token, { method: 'DELETE' })
    await admin.begin('q1', oneDisk(KIB))
  })

  it('counts the records of open sessions, which many tiny requests make, also after a restart', async () => {
    const { session } = await admin.begin('q3', oneDisk(KIB))
    const path = (i: number): string => `/v1/sessions/${session}/disks/vda/data?offset=${i}`
    const init = { method: 'PUT', body: Buffer.from([1]) }
    let sent = 0
    for (let status = 200; status === 200; sent++) {
      const response = await served.fetch(path(sent % KIB), admin.token, init)
      status = response.status
      if (status !== 200) expect(await response.json()).toMatchObject({ code: 'QUOTA_EXCEEDED' })
      else await response.arrayBuffer()
    }
    // A record takes a block of 4 KiB.
    expect(sent).toBeLessThanOrEqual(1 + MIB / (4 * KIB))
    expect(await served.stop()).toBe(0)
    served = await Served.start(at, '--config', 'everfold.yaml')
    admin = new Uploader(served, admin.token)
    await served.ok(`/v1/sessions/${session}`, admin.token)
    await served.fails('QUOTA_EXCEEDED', path(0), admin.token, init)
    await admin.drop(session)
    await admin.begin('q3', oneDisk(KIB))
  })

  it('holds for a disk in one request, too', async () => {
    const path = '/v1/machines/q2/disks/vda/image'
    const { point } = await served.ok(path, admin.token, {
      method: 'PUT',
      body: Buffer.from(disk.subarray(0, 2 * PART)),
    })
    const changed = Buffer.from(noise('changed', 2 * PART))
    await served.fails('QUOTA_EXCEEDED', path, admin.token, { method: 'PUT', body: changed })
    await admin.expectDisk('q2', point, disk.subarray(0, 2 * PART))
  })
})

describe('the audit log', () => {
  it('says which points were uploaded, dropped and refused, by whom', async () => {
    const entries = async (query: string): Promise<Json[]> =>
      (await served.ok(`/v1/audit?limit=1000&${query}`, admin.token)).entries
    const commits = await entries('action=commitSession')
    expect(commits.map(({ machine }) => machine)).toEqual(['q1', 'small1', 'slow1', 'fast1'])
    for (const { point, session, status } of commits)
      expect({ point, session, status }).toEqual({
        point: expect.stringMatching(/^[0-9a-z]{8}$/),
        session: expect.any(String),
        status: 201,
      })
    expect(commits[2]).toMatchObject({ tokenName: 'slow', role: 'backup' })
    expect((await entries('machine=q2&action=putImage')).map(({ status, code }) => [status, code])).toEqual([
      [507, 'QUOTA_EXCEEDED'],
      [201, undefined],
    ])
    expect(await entries('action=putData')).toEqual([])
    expect(await entries('action=dropSession')).toHaveLength(3)
    await served.ok('/v1/machines/fast1/retention', admin.token, {
      method: 'PUT',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ last: 1 }),
    })
    const [before] = (await served.ok('/v1/machines/fast1/points', admin.token)).points
    await served.ok('/v1/machines/fast1/disks/vda/image', admin.token, {
      method: 'PUT',
      body: Buffer.from(noise('one more', 100 * KIB)),
    })
    for (;;) {
      const [removal] = await entries('action=retention')
      if (removal === undefined) continue
      expect(removal).toMatchObject({ machine: 'fast1', removed: [before.point] })
      break
    }
  })
})
