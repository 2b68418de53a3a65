/** Backups through the service: the same points, with the same figures, as where the repository is. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { BreakingProxy } from './breaking-proxy.js'
import { diskLike, KIB, MIB, noise, overwritten } from './disk-bytes.js'
import { everfold, fail, type Json, type RunOptions, succeed } from './everfold.js'
import { Served } from './server-process.js'
import { type Extent, expectSame, Workspace } from './workspace.js'

let local: Workspace
let remote: Workspace
let served: Served
let proxy: BreakingProxy
let onServer: RunOptions

beforeAll(async () => {
  local = await Workspace.make()
  remote = await Workspace.make()
  served = await Served.start(remote)
  proxy = await BreakingProxy.start('no cuts', served.port)
  onServer = {
    cwd: local.folder,
    env: { EVERFOLD_SERVER: proxy.url, EVERFOLD_TOKEN: served.adminToken, EVERFOLD_REPO: undefined },
  }
})
afterAll(async () => {
  await proxy.stop()
  expect(await served.stop()).toBe(0)
  expect(served.stderr).not.toMatch(/UnhandledPromise|TypeError|"level":50/)
  await local.remove()
  await remote.remove()
})

const MINUTES_MS = 60_000

interface Step {
  readonly disks: Readonly<Record<string, Buffer>>
  readonly feeds?: Readonly<Record<string, string>>
  readonly more?: readonly string[]
}

/** Takes the same backup both ways. @returns both results */
async function bothWays(machine: string, { disks, feeds = {}, more = [] }: Step): Promise<[Json, Json]> {
  const args = ['backup', machine, ...more]
  for (const [id, bytes] of Object.entries(disks)) args.push(`${id}=${await local.write(id, bytes)}`)
  for (const [id, feed] of Object.entries(feeds)) args.push('--changed', `${id}=${feed}`)
  const here = await local.ok(...args)
  const there = await succeed(args, onServer)
  for (const [id, bytes] of Object.entries(disks)) {
    const path = `/v1/machines/${encodeURIComponent(machine)}/points/latest/disks/${id}/raw`
    const answer = await served.fetch(path, served.adminToken)
    expectSame(Buffer.from(await answer.arrayBuffer()), bytes, `${id} of ${machine}`)
  }
  return [here, there]
}

const same = ({ machine, kind, disks, readBytes, changedBytes }: Json): Json => {
  return { machine, kind, disks, readBytes, changedBytes }
}

const SIZE = 6 * MIB + 12_345
const CHANGES: readonly Extent[] = [
  [1, 1],
  [65_535, 2],
  [MIB - 100, 70_000],
  [3 * MIB, 256 * KIB],
  [SIZE - 777, 777],
]

function changed(before: Buffer): Buffer {
  let after = before
  for (const [offset, length] of CHANGES)
    after = overwritten(after, offset, noise(`change ${offset}`, length))
  return overwritten(after, 3 * MIB, Buffer.alloc(256 * KIB))
}

describe.each([
  ['cdc', 'offers'],
  ['fixed', 'offers'],
  ['cdc', 'stream'],
])('a machine whose disks are cut %s, sent as %s', (chunker, transfer) => {
  const machine = `${chunker} ${transfer}`
  const more = ['--chunker', chunker, '--transfer', transfer]

  it('gets the same points as with --repo', { timeout: 5 * MINUTES_MS }, async () => {
    const a = diskLike('a', SIZE)
    const b = Buffer.concat([diskLike('b', 2 * MIB), a.subarray(0, MIB + 5)])
    const a2 = changed(a)
    const a3 = overwritten(a2, 2 * MIB, noise('unannounced', 100_000))
    const grown = Buffer.concat([changed(a3), noise('grown', MIB + 1)])
    const short = grown.subarray(0, 2 * MIB + 999)
    const steps: Step[] = [
      { disks: { vda: a, vdb: b } },
      // Several disks, one of them with a feed of its own shape.
      { disks: { vda: a2, vdb: b }, feeds: { vda: await local.vmwareFeed(SIZE, CHANGES) } },
      { disks: { vda: a2, vdb: b }, feeds: { vda: await local.feed([]), vdb: await local.feed([]) } },
      // Nothing is said of what changed: only that is stored all the same.
      { disks: { vda: a3, vdb: b } },
      { disks: { vda: grown }, feeds: { vda: await local.feed([...CHANGES, [SIZE - 10, 100]]) } },
      { disks: { vda: short }, feeds: { vda: await local.feed([]) } },
      { disks: { vda: grown } },
      { disks: { vda: Buffer.alloc(0) } },
      { disks: { vda: Buffer.alloc(3 * MIB), vdc: a } },
    ]
    for (const [i, step] of steps.entries()) {
      const [here, there] = await bothWays(machine, { ...step, more })
      const all = `step ${i}: ${JSON.stringify([here, there])}`
      expect(Object.keys(there), all).toEqual(Object.keys(here))
      // Where nothing is said of what changed, the command compares with the chunks of the point before, and the client with its own.
      const differs =
        chunker === 'cdc' && step.feeds === undefined ? there.changedBytes - here.changedBytes : 0
      expect({ ...same(there), changedBytes: there.changedBytes - differs }, all).toEqual(same(here))
      expect(Math.abs(differs), all).toBeLessThanOrEqual(128 * KIB)
      // A stream is cut where a request ends as well, and which of two equal chunks comes first may differ.
      expect(there.newBytes, all).toBeLessThanOrEqual(here.newBytes * 1.05 + 128 * KIB)
      expect(there.storedBytes, all).toBeLessThanOrEqual(here.storedBytes * 1.05 + 128 * KIB)
    }
    const points = await succeed(['points', machine], onServer)
    expect(points.map(({ kind }: Json) => kind)).toEqual([
      'full',
      ...Array(steps.length - 1).fill('incremental'),
    ])
  })
})

describe('what is sent', () => {
  it('is next to nothing of a disk that the service has, and little of one that changed a little', async () => {
    const disk = diskLike('sent', 24 * MIB)
    await local.write('disk', disk)
    await succeed(['backup', 'first', 'vda=disk'], onServer)
    proxy.sentBytes = 0
    const again = await succeed(['backup', 'second', 'vda=disk'], onServer)
    expect(again).toMatchObject({ kind: 'full', newBytes: 0 })
    expect(proxy.sentBytes).toBeLessThan(disk.length / 100)
    await local.write('disk', overwritten(disk, 5 * MIB, noise('little', 50_000)))
    proxy.sentBytes = 0
    await succeed(['backup', 'second', 'vda=disk'], onServer)
    expect(proxy.sentBytes).toBeLessThan(disk.length / 50)
    const out = await local.write('compresses', Buffer.alloc(8 * MIB, 'compresses well, '))
    proxy.sentBytes = 0
    await succeed(['backup', 'third', `vda=${out}`, '--chunker', 'fixed'], onServer)
    expect(proxy.sentBytes).toBeLessThan((8 * MIB) / 10)
  })

  it('are no bytes twice where a disk repeats itself', async () => {
    const part = noise('repeated', 5 * MIB)
    await local.write('disk', Buffer.concat(Array(10).fill(part)))
    proxy.sentBytes = 0
    const { newBytes } = await succeed(['backup', 'repeating', 'vda=disk', '--chunker', 'fixed'], onServer)
    expect(newBytes).toBe(part.length)
    expect(proxy.sentBytes).toBeLessThan(part.length * 1.1)
  })
})

describe('what is wrong is said as with --repo:', () => {
  const cases: [string, string][] = [
    ['a feed without an earlier point', 'backup new vda=small --changed vda=feed'],
    ['a feed of a disk that is new', 'backup known vdb=small --changed vdb=feed'],
    ['no such disk file', 'backup known vda=missing'],
    ['a name', `backup ${'n'.repeat(300)} vda=small`],
    ['a name of a disk', `backup known ${'n'.repeat(300)}=small`],
    ['another way to cut', 'backup known vda=small --chunker fixed'],
    ['a disk twice', 'backup known vda=small vda=small'],
    ['a feed of no disk', 'backup known vda=small --changed vdb=feed'],
    ['a feed that is none', 'backup known vda=small --changed vda=small'],
    ['no such transfer', 'backup known vda=small --transfer pigeon'],
    ['no duration', 'backup known vda=small --patience soon'],
  ]
  beforeAll(async () => {
    await local.write('small', noise('small', 1000))
    await local.write('feed', '[]')
    await local.ok('backup', 'known', 'vda=small')
    await succeed(['backup', 'known', 'vda=small'], onServer)
  })
  afterAll(async () => {
    expect((await succeed(['points', 'known'], onServer)).length).toBe(1)
  })

  it.each(cases)('%s', async (_, line) => {
    const here = await everfold([...line.split(' '), '--json'], local.options)
    const there = await everfold([...line.split(' '), '--json'], onServer)
    expect(there.status).toBe(here.status)
    expect(JSON.parse(there.stdout).error.code).toBe(JSON.parse(here.stdout).error.code)
    expect(here.status).not.toBe(0)
  })

  it('a service that does not come back is given up when patience ends, and no point was made', async () => {
    await local.write('small', noise('small', 1000))
    const gone = await BreakingProxy.start('gone')
    const there = { ...onServer, env: { ...onServer.env, EVERFOLD_SERVER: gone.url } }
    const { message } = await fail('SERVICE_FAILED', ['backup', 'x', 'vda=small', '--patience', '1s'], there)
    expect(message).toContain('Cannot reach the service')
    await gone.stop()
  })
})

it('a token with the role backup is enough, for its machines', async () => {
  const { token } = await succeed(
    ['token', 'create', '--name', 'agent', '--role', 'backup', '--machine', 'web*'],
    onServer,
  )
  await local.write('disk', diskLike('roles', MIB))
  const there = { ...onServer, env: { ...onServer.env, EVERFOLD_TOKEN: token } }
  await succeed(['backup', 'web1', 'vda=disk', '--note', 'by its agent'], there)
  await succeed(['backup', 'web1', 'vda=disk'], there)
  await fail('FORBIDDEN', ['backup', 'db1', 'vda=disk'], there)
  const points = await succeed(['points', 'web1'], onServer)
  expect(points.map(({ note }: Json) => note)).toEqual(['by its agent', undefined])
})
