import { readFile } from 'node:fs/promises'
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { type ProxiedRequest, S3Proxy } from '../bench/s3-proxy.js'
import { SeededBytes } from '../bench/seeded-bytes.js'
import { ended, start } from './everfold.js'
import { newBucket, useS3Service } from './s3-service.js'
import { expectSame, Workspace } from './workspace.js'

const MIB = 1024 * 1024
const random = new SeededBytes('s3-copy')
let at: Workspace
let proxy: S3Proxy
let there = ''

beforeAll(useS3Service, 300_000)

beforeEach(async () => {
  proxy = await S3Proxy.start(process.env['AWS_ENDPOINT_URL_S3']!)
  at = await Workspace.make([], { AWS_ENDPOINT_URL_S3: proxy.url })
  there = `s3://${await newBucket()}/copy`
  await at.ok('init', there)
})

afterEach(async () => {
  await proxy.stop()
  await at.remove()
})

const isPack = ({ method, key }: ProxiedRequest): boolean => method === 'PUT' && key.includes('/packs/')

it('brings points from a folder to a bucket, also after kills, and back to another folder', {
  timeout: 300_000,
}, async () => {
  const states: Buffer[] = []
  const disk = random.next(40 * MIB)
  for (let i = 0; i < 3; i++) {
    random.next(MIB).copy(disk, i * 9 * MIB)
    await at.write('vda.raw', disk)
    await at.ok('backup', 'web', 'vda=vda.raw', '--note', `point ${i}`)
    states.push(Buffer.from(disk))
  }
  // Killed with the first pack on its way, and again with the second that is new.
  for (let kills = 0; kills < 2; kills++) {
    const child = start(['copy', at.repo, there], at.options)
    let packs = 0
    proxy.fault = (request) => {
      if (isPack(request) && ++packs === 2) child.kill('SIGKILL')
      return undefined
    }
    await ended(child)
    expect(packs).toBeGreaterThan(1)
  }
  proxy.fault = undefined
  const { machines } = await at.ok('copy', at.repo, there, '--verify')
  expect(machines[0].copied.length).toBeGreaterThan(0)
  const back = at.path('back')
  await at.ok('init', back)
  await at.ok('copy', there, back, '--verify')
  const points = await at.ok('points')
  for (const repo of [there, back]) {
    expect(await at.ok('points', '--repo', repo)).toMatchObject(
      points.map(({ point, createdAt, note }: Record<string, unknown>) => ({ point, createdAt, note })),
    )
    expect(await at.ok('verify', '--repo', repo)).toMatchObject({ ok: true, points: 3 })
  }
  for (const [i, bytes] of states.entries()) {
    const out = at.fresh('out')
    await at.ok('restore', 'web', points[i].point, `vda=${out}`, '--repo', back)
    expectSame(await readFile(at.path(out)), bytes, `point ${i}`)
  }
  // Again and again: nothing is read or sent but what says that nothing is new.
  proxy.takeFigures()
  expect((await at.ok('copy', at.repo, there)).machines).toMatchObject([{ copied: [] }])
  expect(proxy.takeFigures().bytesUp).toBeLessThan(64 * 1024)
})

it('says what cannot be read back', { timeout: 120_000 }, async () => {
  await at.write('vda.raw', random.next(2 * MIB))
  await at.ok('backup', 'web', 'vda=vda.raw')
  proxy.fault = ({ method, key }) =>
    method === 'GET' && key.includes('/packs/') ? { kind: 'flip' } : undefined
  const run = await ended(start(['copy', at.repo, there, '--verify', '--json'], at.options))
  expect(run.status).toBe(5)
  expect(JSON.parse(run.stdout).failed).toMatchObject([{ machine: 'web', error: { code: 'DATA_DAMAGED' } }])
})
