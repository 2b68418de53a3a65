/** Backups over connections that break, to a service that is killed: they end by themselves, and every point is whole. */

import { rm } from 'node:fs/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { EverfoldClient, InlineWorkers } from '../src/client/everfold-client.js'
import { BreakingProxy } from './breaking-proxy.js'
import { diskLike, KIB, MIB, noise, overwritten } from './disk-bytes.js'
import { ended, type Json, start, succeed } from './everfold.js'
import { Served } from './server-process.js'
import { Workspace } from './workspace.js'

const MINUTES_MS = 60_000

let at: Workspace
let served: Served
let proxy: BreakingProxy
let token: string

beforeEach(async () => {
  at = await Workspace.make()
  served = await Served.start(at)
  token = served.adminToken ?? ''
  proxy = await BreakingProxy.start('cuts', served.port)
})
afterEach(async () => {
  await proxy.stop()
  expect(await served.stop()).toBe(0)
  expect(served.stderr).not.toMatch(/UnhandledPromise|TypeError|"level":50/)
  await at.ok('verify')
  await at.remove()
})

/** The service is gone at once, and comes back. */
async function killAndRestart(): Promise<void> {
  proxy.target = undefined
  await served.stop('SIGKILL')
  served = await Served.start(at)
  proxy.target = served.port
}

/** Runs a command through the breaking way; it has to succeed. */
async function through(...args: readonly string[]): Promise<Json> {
  const env = { EVERFOLD_SERVER: proxy.url, EVERFOLD_TOKEN: token, EVERFOLD_REPO: undefined }
  const run = await ended(start([...args, '--json'], { cwd: at.folder, env }))
  expect(run, `everfold ${args.join(' ')}\n${run.stdout}`).toMatchObject({ status: 0 })
  return JSON.parse(run.stdout)
}

/** Restores a point from the service, by the straight way. */
async function expectDisk(point: string, bytes: Uint8Array): Promise<void> {
  const disk = await new EverfoldClient({ url: served.url, token }).disk('web1', point, 'vda')
  expect(disk.sizeBytes).toBe(bytes.length)
  for await (const { offset, bytes: part } of disk.read([{ offset: 0, length: bytes.length }]))
    if (Buffer.compare(part, bytes.subarray(offset, offset + part.length)) !== 0)
      expect.fail(`${point} differs from byte ${offset} on`)
}

async function pointIds(): Promise<string[]> {
  const { points } = await new EverfoldClient({ url: served.url, token }).points('web1')
  return points.map(({ point }) => point)
}

const DISK = diskLike('faults', 40 * MIB)
const CHANGED = overwritten(DISK, 7 * MIB + 1, noise('new', 3 * MIB))

it.each(['offers', 'stream'])(
  'connections cut after a random number of bytes (%s)',
  async (transfer) => {
    await at.write('disk', DISK)
    proxy.cutAfterMax = 6 * MIB
    const full = await through('backup', 'web1', 'vda=disk', '--transfer', transfer)
    await at.write('disk', CHANGED)
    const feed = await at.feed([[7 * MIB, 4 * MIB]])
    proxy.cutAfterMax = 2 * MIB
    const fed = await through(
      'backup',
      'web1',
      'vda=disk',
      '--transfer',
      transfer,
      '--changed',
      `vda=${feed}`,
    )
    proxy.cutAfterMax = 3 * MIB
    const unfed = await through('backup', 'web1', 'vda=disk', '--transfer', transfer)
    expect(proxy.cuts).toBeGreaterThan(3)
    expect(await pointIds()).toEqual([full.point, fed.point, unfed.point])
    await expectDisk(full.point, DISK)
    await expectDisk(fed.point, CHANGED)
    await expectDisk(unfed.point, CHANGED)
  },
  5 * MINUTES_MS,
)

it.each(['offers', 'stream'])(
  'bits flipped on the way (%s)',
  async (transfer) => {
    await at.write('disk', DISK)
    let flips = 0
    let flipAt = 4 * MIB
    proxy.onSent = (bytes) => {
      // Not among the headers, which are small.
      if (flips === 4 || proxy.sentBytes < flipAt || bytes.length < 20 * KIB) return
      flips++
      flipAt = proxy.sentBytes + 5 * MIB
      bytes[bytes.length >> 1]! ^= 1
    }
    const { point } = await through('backup', 'web1', 'vda=disk', '--transfer', transfer)
    expect(flips).toBeGreaterThan(1)
    expect(await pointIds()).toEqual([point])
    await expectDisk(point, DISK)
  },
  5 * MINUTES_MS,
)

it.each(['offers', 'stream'])(
  'the service killed and started again while data comes (%s)',
  async (transfer) => {
    await at.write('disk', DISK)
    let killAt = 4 * MIB
    let restarting: Promise<void> = Promise.resolve()
    let kills = 0
    proxy.onSent = () => {
      if (kills === 3 || proxy.sentBytes < killAt || proxy.target === undefined) return
      kills++
      killAt = proxy.sentBytes + 6 * MIB
      restarting = killAndRestart()
    }
    const { point } = await through('backup', 'web1', 'vda=disk', '--transfer', transfer)
    await restarting
    expect(kills).toBeGreaterThan(1)
    expect(await pointIds()).toEqual([point])
    await expectDisk(point, DISK)
  },
  5 * MINUTES_MS,
)

it(
  'the service killed just when it was asked to commit, or its answer lost: one point, and not two',
  async () => {
    await at.write('disk', DISK.subarray(0, 3 * MIB))
    const isCommit = (bytes: Buffer): boolean =>
      /^POST \/v1\/sessions\/\w+\/commit[? ]/.test(bytes.toString('latin1'))
    let restarting: Promise<void> | undefined
    proxy.onSent = (bytes) => {
      if (isCommit(bytes)) restarting ??= killAndRestart()
    }
    const first = await through('backup', 'web1', 'vda=disk')
    await restarting
    expect(await pointIds()).toEqual([first.point])
    let answers = 0
    const asking = new Set<unknown>()
    proxy.onSent = (bytes, socket) => (isCommit(bytes) ? asking.add(socket) : asking.delete(socket))
    proxy.onAnswer = (_, socket) => !asking.has(socket) || answers++ > 1
    const second = await through('backup', 'web1', 'vda=disk')
    expect(answers).toBeGreaterThan(1)
    expect(await pointIds()).toEqual([first.point, second.point])
    await expectDisk(second.point, DISK.subarray(0, 3 * MIB))
  },
  5 * MINUTES_MS,
)

it(
  'chunks that the service had when they were offered, and lost before they were named, are sent after all',
  async () => {
    await at.write('disk', DISK)
    const there = { cwd: at.folder, env: { EVERFOLD_SERVER: served.url, EVERFOLD_TOKEN: token } }
    await succeed(['backup', 'other', 'vda=disk'], {
      ...there,
      env: { ...there.env, EVERFOLD_REPO: undefined },
    })
    const client = new EverfoldClient({ url: proxy.url, token })
    let lost: Promise<void> | undefined
    const source = {
      sizeBytes: DISK.length,
      read: async (into: Uint8Array, offset: number): Promise<void> => {
        into.set(DISK.subarray(offset, offset + into.length))
        // By now most of the disk has been offered, and the answer was that all of it is there.
        if (offset >= 36 * MIB) await (lost ??= lose())
      },
    }
    const lose = async (): Promise<void> => {
      while (!served.requests.some(({ action }: Json) => action === 'offerChunks'))
        await new Promise((resolve) => setTimeout(resolve, 10))
      await killAndRestart()
      const straight = new EverfoldClient({ url: served.url, token })
      await straight.deleteMachine('other')
      for (let round = 0; round < 4; round++) await straight.jobs.run({ kind: 'gc' })
    }
    const { point } = await client.backUp({ machine: 'web1', disks: [{ id: 'vda', source }] })
    expect(lost).toBeDefined()
    await expectDisk(point, DISK)
  },
  5 * MINUTES_MS,
)

it(
  'names that are wrong again and again end it, though much more waits to be sent',
  async () => {
    const block = noise('wrong names', 64 * KIB)
    const sizeBytes = 192 * MIB
    const read = async (into: Uint8Array, offset: number): Promise<void> => {
      for (let from = 0; from < into.length; from += KIB) {
        into.set(block.subarray(0, Math.min(KIB, into.length - from)), from)
        new DataView(into.buffer, into.byteOffset + from).setUint32(0, offset + from)
      }
    }
    let names = 0
    const workers = new InlineWorkers(() => Buffer.alloc(32, `${++names}.`))
    const client = new EverfoldClient({ url: served.url, token })
    const disks = [{ id: 'vda', source: { sizeBytes, read }, chunker: 'fixed' as const }]
    const backup = client.backUp({ machine: 'web1', disks, workers, requests: 1 })
    await expect(backup).rejects.toMatchObject({ code: 'HASH_MISMATCH' })
    expect(await client.sessions.list()).toEqual([])
  },
  5 * MINUTES_MS,
)

it(
  'a backup that is told to end drops its session',
  async () => {
    await at.write('disk', noise('much', 64 * MIB))
    const env = { EVERFOLD_SERVER: proxy.url, EVERFOLD_TOKEN: token, EVERFOLD_REPO: undefined }
    const child = start(['backup', 'web1', 'vda=disk'], { cwd: at.folder, env })
    let told = false
    proxy.onSent = () => {
      // A second signal would end it at once.
      if (proxy.sentBytes > 256 * KIB && !told) told = child.kill('SIGINT')
    }
    const run = await ended(child)
    expect(run.signal).toBe('SIGINT')
    const client = new EverfoldClient({ url: served.url, token })
    expect(await client.sessions.list()).toEqual([])
    expect(await client.machines()).toEqual([])
    await rm(at.path('disk'))
  },
  MINUTES_MS,
)
