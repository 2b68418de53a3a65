/** Uploads while connections are cut at random bytes, the service is killed, and its disk is full: acknowledged is durable. */

import { symlink } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { SeededBytes } from '../bench/seeded-bytes.js'
import { CuttingProxy } from './cutting-proxy.js'
import { diskLike, KIB, MIB, noise, overwritten } from './disk-bytes.js'
import type { Json } from './everfold.js'
import { chunksRecord, framedStream, zerosRecord } from './framed-stream.js'
import { Served } from './server-process.js'
import { MOUNTS, SmallDisk } from './small-disk.js'
import { Uploader } from './uploads.js'
import { Workspace } from './workspace.js'

const CLIENTS = 4
const POINTS = 5
const KILLS = 5
const DISK = 600 * KIB

/** What passes by itself. */
const PASSING: readonly string[] = [
  'SERVICE_STOPPING',
  'SESSION_BUSY',
  'STORE_FAILED',
  'TOO_MANY_REQUESTS',
  'REQUEST_TIMEOUT',
]

/** A client that does not give up. */
class Client {
  readonly #proxy: CuttingProxy
  readonly #token: string
  readonly #random: SeededBytes
  readonly machine: string
  /** What each acknowledged point holds. */
  readonly acknowledged = new Map<string, Buffer>()

  constructor(proxy: CuttingProxy, token: string, machine: string, seed: string) {
    this.#proxy = proxy
    this.#token = token
    this.machine = machine
    this.#random = new SeededBytes(`${seed} ${machine}`)
  }

  async run(onPoint: () => void): Promise<void> {
    let disk = diskLike(this.machine, DISK)
    for (let i = 0; i < POINTS; i++) {
      const ranges = i === 0 ? [[0, DISK] as const] : this.#ranges()
      for (const [offset, length] of ranges)
        if (i > 0) disk = overwritten(disk, offset, noise(`${this.machine} ${i} ${offset}`, length))
      const point =
        i % 3 === 2 ? await this.#image(disk, i) : await this.#session(disk, ranges, i === 0, `point ${i}`)
      this.acknowledged.set(point, Buffer.from(disk))
      onPoint()
    }
  }

  async #image(disk: Buffer, i: number): Promise<string> {
    const headers = { 'Idempotency-Key': `image ${i}`.replace(' ', '-') }
    const path = `/v1/machines/${this.machine}/disks/vda/image`
    return (await this.#ask(path, { method: 'PUT', body: disk, headers })).point
  }

  async #session(
    disk: Buffer,
    ranges: readonly (readonly [number, number])[],
    whole: boolean,
    key: string,
  ): Promise<string> {
    const { session } = await this.#ask(`/v1/machines/${this.machine}/sessions`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'Idempotency-Key': key.replace(' ', '-') },
      body: JSON.stringify({
        disks: [{ id: 'vda', sizeBytes: DISK }],
        ...(whole ? {} : { parent: 'newest' }),
      }),
    })
    for (const [offset, length] of ranges) await this.#send(session, disk, offset, length)
    // Nothing of it was answered with success and lost.
    const arrived: { offset: number; length: number }[] = await this.#ask(
      `/v1/sessions/${session}/disks/vda/received`,
    )
    for (const [offset, length] of ranges)
      expect(arrived.some((one) => one.offset <= offset && one.offset + one.length >= offset + length)).toBe(
        true,
      )
    return (await this.#ask(`/v1/sessions/${session}/commit`, { method: 'POST' })).point
  }

  #send(session: string, disk: Buffer, offset: number, length: number): Promise<Json> {
    const bytes = disk.subarray(offset, offset + length)
    const path = `/v1/sessions/${session}/disks/vda`
    if (this.#random.below(2) === 0)
      return this.#ask(`${path}/data?offset=${offset}`, { method: 'PUT', body: bytes })
    const records: Buffer[] = []
    for (let at = 0; at < length; at += 50_000) {
      const chunk = bytes.subarray(at, at + 50_000)
      if (chunk.every((byte) => byte === 0)) records.push(zerosRecord(offset + at, chunk.length))
      else records.push(chunksRecord([{ offset: offset + at, bytes: chunk }], 1))
    }
    const headers = { 'Content-Type': 'application/vnd.everfold.extents' }
    return this.#ask(`${path}/stream`, { method: 'POST', headers, body: framedStream(records) })
  }

  /** Tries until there is an answer, and expects success. */
  async #ask(path: string, init: RequestInit = {}): Promise<Json> {
    for (;;) {
      const answer = await this.#once(path, init)
      if (answer?.ok === true) return answer.json
      if (answer !== undefined && !PASSING.includes(answer.json.code))
        expect.fail(`${path}: ${JSON.stringify(answer.json)}`)
      await sleep(20)
    }
  }

  async #once(path: string, init: RequestInit): Promise<{ ok: boolean; json: Json } | undefined> {
    const headers = new Headers(init.headers)
    headers.set('Authorization', `Bearer ${this.#token}`)
    try {
      const response = await fetch(this.#proxy.url + path, { ...init, headers })
      return { ok: response.ok, json: await response.json() }
    } catch {
      // The connection was cut, or nobody listens just now.
      return undefined
    }
  }

  #ranges(): [number, number][] {
    const at = [...new Set(Array.from({ length: 1 + this.#random.below(5) }, () => this.#random.below(9)))]
    return at.map((slot) => [slot * 60 * KIB, 1 + this.#random.below(60 * KIB)])
  }
}

describe('uploads', () => {
  it('that were acknowledged restore byte for byte, whatever was cut and killed, and every client ends by itself', async () => {
    const seed = `${Math.floor(Math.random() * 2 ** 32)}`
    const at = await Workspace.make()
    const random = new SeededBytes(seed)
    let service = await Served.start(at)
    const token = service.adminToken ?? ''
    const proxy = await CuttingProxy.start(random, 400 * KIB)
    proxy.target = service.port
    const clients = Array.from({ length: CLIENTS }, (_, i) => new Client(proxy, token, `m${i}`, seed))
    let points = 0
    let noted = (): void => undefined
    const running = Promise.all(
      clients.map((client) =>
        client.run(() => {
          points++
          noted()
        }),
      ),
    )
    try {
      for (let kill = 0; kill < KILLS; kill++) {
        const until = Math.floor(((kill + 0.5) * CLIENTS * POINTS) / KILLS)
        while (points < until)
          await Promise.race([running, new Promise<void>((resolve) => (noted = resolve))])
        await sleep(random.below(200))
        expect(await service.stop(kill % 3 === 2 ? 'SIGTERM' : 'SIGKILL')).toBe(kill % 3 === 2 ? 0 : null)
        // Between two lives, a collection must not take what sessions hold.
        if (kill % 2 === 0) await at.ok('gc')
        service = await Served.start(at)
        proxy.target = service.port
      }
      await running
      expect(proxy.cuts).toBeGreaterThan(0)
      expect(await service.ok('/v1/sessions', token)).toEqual({ sessions: [] })
    } finally {
      proxy.close()
      await service.stop()
    }
    await at.ok('verify')
    for (const { machine, acknowledged } of clients) {
      const listed: Json[] = await at.ok('points', machine)
      expect(
        listed.map(({ point }) => point),
        `seed ${seed}`,
      ).toEqual([...acknowledged.keys()])
      for (const [point, disk] of acknowledged) await at.expectDisk(machine, point, disk)
    }
    await at.remove()
  }, 240_000)

  it.skipIf(!MOUNTS)('to a full disk end with STORE_FULL; with room, the session goes on', async () => {
    const at = await Workspace.make('no repository')
    const small = await SmallDisk.mount(at.path('disk'), 40 * MIB)
    if (small === undefined) throw new Error('cannot mount a tmpfs')
    try {
      await symlink('disk/repo', at.repo)
      await at.ok('init', at.path('disk/repo'))
      const service = await Served.start(at)
      const token = service.adminToken ?? ''
      const up = new Uploader(service, token)
      const disk = noise('disk', 4 * MIB)
      const disks = [{ id: 'vda', sizeBytes: disk.length }]
      const first = await up.begin('m', { disks })
      await up.put(first.session, 'vda', 0, disk)
      const { point } = await up.commit(first.session)
      const second = await up.begin('m', { disks, parent: 'newest' })
      const change = noise('change', MIB)
      await up.put(second.session, 'vda', 0, change)
      await small.fill()
      const put = { method: 'PUT', body: noise('more', MIB) }
      await service.fails(
        'STORE_FULL',
        `/v1/sessions/${second.session}/disks/vda/data?offset=${MIB}`,
        token,
        put,
      )
      await service.fails('STORE_FULL', `/v1/sessions/${second.session}/commit`, token, { method: 'POST' })
      await service.fails('STORE_FULL', '/v1/machines/m/disks/vda/image', token, put)
      await up.expectDisk('m', point, disk)
      await small.empty()
      await up.put(second.session, 'vda', MIB, noise('more', MIB))
      const committed = await up.commit(second.session)
      const expected = overwritten(overwritten(disk, 0, change), MIB, noise('more', MIB))
      await up.expectDisk('m', committed.point, expected)
      expect(await service.stop()).toBe(0)
      expect(await at.ok('verify')).toMatchObject({ ok: true, points: 2 })
    } finally {
      small.unmount()
      await at.remove()
    }
  })
})
