/** Limits of the real service: what one client takes is not taken from the others. */

import { type ClientRequest, request as httpRequest } from 'node:http'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { KIB, MIB, noise } from './disk-bytes.js'
import { Served } from './server-process.js'
import { Workspace } from './workspace.js'

const DISK = noise('disk', 24 * MIB)
const RAW = '/v1/machines/m/points/latest/disks/vda/raw'
const CONFIG = `
repository: repo
limits:
  requests: 12
  reads: 6
  body: 2KiB
  connectionsPerAddress: 40
tokens:
  - match: slow
    bytesPerSecond:
      out: 1MiB
      hours:
        - { from: '00:00', to: '12:00', out: 2MiB }
        - { from: '12:00', to: '24:00', out: 2MiB }
  - match: few
    requests: 3
    reads: 2
    body: 1KiB
`

let at: Workspace
let served: Served
let admin: string

beforeAll(async () => {
  at = await Workspace.make()
  await at.write('disk', DISK)
  await at.ok('backup', 'm', 'vda=disk')
  await at.write('everfold.yaml', CONFIG)
  served = await Served.start(at, '--config', 'everfold.yaml')
  admin = served.adminToken ?? ''
})
afterAll(async () => {
  expect(await served.stop()).toBe(0)
  expect(served.stderr).not.toMatch(/UnhandledPromise|TypeError|"level":50/)
  await at.remove()
})

async function tokenNamed(name: string): Promise<string> {
  return (await served.post('/v1/tokens', admin, { name, role: 'admin' })).token
}

/** Asks for the whole disk and takes its head only. */
async function stuckRead(token: string): Promise<ClientRequest> {
  const asked = httpRequest(served.url + RAW, { headers: { Authorization: `Bearer ${token}` }, agent: false })
  asked.on('error', () => undefined).end()
  await new Promise<void>((resolve, reject) => {
    asked.once('error', reject)
    asked.once('response', (response) => {
      response.on('error', () => undefined)
      if (response.statusCode === 200) resolve()
      else reject(new Error(`status ${response.statusCode ?? '?'}`))
    })
  })
  return asked
}

async function whenFree(work: () => Promise<Response>): Promise<Response> {
  for (;;) {
    const response = await work()
    if (response.status !== 429) return response
    await response.arrayBuffer()
    await sleep(20)
  }
}

describe('a token that is held to a rate', () => {
  it('gets what it reads at that rate, in one piece or in many, and the others are not held up', async () => {
    const slow = await tokenNamed('slow')
    const startMs = performance.now()
    let sent = 0
    const whole = served.fetch(RAW, slow, { headers: { Range: `bytes=0-${4 * MIB - 1}` } })
    const small = Array.from({ length: 4 }, async (_, i) => {
      const headers = { Range: `bytes=${i * 512 * KIB}-${(i + 1) * 512 * KIB - 1}` }
      const bytes = Buffer.from(await (await served.fetch(RAW, slow, { headers })).arrayBuffer())
      sent += bytes.length
      expect(bytes.equals(DISK.subarray(i * 512 * KIB, (i + 1) * 512 * KIB))).toBe(true)
    })
    expect(Buffer.from(await (await served.fetch(RAW, admin)).arrayBuffer()).equals(DISK)).toBe(true)
    const fastMs = performance.now() - startMs
    const bytes = Buffer.from(await (await whole).arrayBuffer())
    expect(bytes.equals(DISK.subarray(0, 4 * MIB))).toBe(true)
    await Promise.all(small)
    sent += bytes.length
    const seconds = (performance.now() - startMs) / 1000
    expect(sent).toBe(6 * MIB)
    // What a burst and the last piece may be ahead of the rate.
    expect(seconds).toBeGreaterThan(6 / 2 - 0.7)
    expect(fastMs / 1000).toBeLessThan(seconds)
  })
})

describe('a token that is held to few', () => {
  it('cannot take the places of others with disks that it does not read, and has them back when it leaves', async () => {
    const few = await tokenNamed('few')
    const stuck = [await stuckRead(few), await stuckRead(few)]
    const refused = await served.fetch(RAW, few)
    expect(refused.headers.get('retry-after')).toBe('1')
    expect(await refused.json()).toMatchObject({ code: 'TOO_MANY_REQUESTS' })
    await served.ok('/v1/machines', few)
    const third = served.fetch(RAW.replace('/raw', '/extents'), few)
    expect((await third).status).toBe(200)
    for (let i = 0; i < 3; i++)
      expect((await (await served.fetch(RAW, admin)).arrayBuffer()).byteLength).toBe(DISK.length)
    for (const request of stuck) request.destroy()
    const response = await whenFree(() => served.fetch(RAW, few))
    expect((await response.arrayBuffer()).byteLength).toBe(DISK.length)
  })

  it('has requests of its own number, whatever they are for', async () => {
    const few = await tokenNamed('few')
    const { id } = await served.post('/v1/jobs', admin, { kind: 'gc', rounds: 100 })
    const events = (token: string): Promise<Response> => served.fetch(`/v1/jobs/${id}/events`, token)
    const following = [await events(few), await events(few), await events(few)]
    expect(following.map(({ status }) => status)).toEqual([200, 200, 200])
    expect((await served.fetch('/v1/machines', few)).status).toBe(429)
    await served.ok('/v1/machines', admin)
    await served.fetch(`/v1/jobs/${id}`, admin, { method: 'DELETE' })
    for (const response of following) await response.text()
    expect((await whenFree(() => served.fetch('/v1/machines', few))).status).toBe(200)
  })

  it('has bodies of its own size', async () => {
    const few = await tokenNamed('few')
    const init = (bytes: number): RequestInit => ({
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ keep: 1 }).padEnd(bytes),
    })
    await served.ok('/v1/machines/m/fold', few, init(1024))
    await served.fails('BODY_TOO_LARGE', '/v1/machines/m/fold', few, init(1025))
    await served.ok('/v1/machines/m/fold', admin, init(2048))
    await served.fails('BODY_TOO_LARGE', '/v1/machines/m/fold', admin, init(2049))
  })
})

describe('an address', () => {
  it('has connections of its number, and those beyond are closed', async () => {
    const sockets: Socket[] = []
    let closed = 0
    for (let i = 0; i < 60; i++) {
      const socket = connect(served.port, '127.0.0.1')
      socket.once('error', () => undefined).once('close', () => closed++)
      sockets.push(socket)
    }
    while (closed < 20) await sleep(10)
    for (const socket of sockets) socket.destroy()
    while (closed < 60) await sleep(10)
    const response = await fetch(`${served.url}/healthz`).catch(() => undefined)
    expect(response?.status ?? 200).toBe(200)
  })
})
