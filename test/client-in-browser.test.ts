/** The client where there is nothing of Node.js. The real service answers. */

import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { diskLike, MIB } from './disk-bytes.js'
import { ended, type Json } from './everfold.js'
import { Served } from './server-process.js'
import { expectSame, Workspace } from './workspace.js'

const root = join(import.meta.dirname, '..')
const exported = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).exports['./client']
const ENTRY = join(root, exported.default)

let at: Workspace
let served: Served
const DISK = diskLike('browser', 5 * MIB)

beforeAll(async () => {
  at = await Workspace.make()
  await at.ok('backup', 'web1', `vda=${await at.write('disk', DISK)}`)
  served = await Served.start(at)
})

afterAll(async () => {
  await served.stop()
  await at.remove()
})

/** Runs a module in a realm without anything of Node.js. */
async function inBrowser(scenario: string): Promise<{ result: Json; modules: readonly string[] }> {
  const argument = JSON.stringify({ url: served.url, token: served.adminToken })
  const program = join(import.meta.dirname, 'web-context.mjs')
  const child = spawn(
    process.execPath,
    ['--experimental-vm-modules', '--no-warnings', program, ENTRY, argument],
    { stdio: 'pipe' },
  )
  child.stdin.end(scenario)
  const run = await ended(child)
  expect(run.status, run.stderr).toBe(0)
  return JSON.parse(run.stdout)
}

describe('everfold/client in a realm that has nothing of Node.js', () => {
  it('reads machines, points, extents and disks, and says what is wrong with its codes', async () => {
    const { result, modules } = await inBrowser(`
      import { EverfoldClient, EverfoldError } from 'everfold/client'
      export default async (argument) => {
        const client = new EverfoldClient(JSON.parse(argument))
        const [machine] = await client.machines()
        const { points } = await client.points(machine.machine)
        const disk = await client.disk('web1', 'latest', 'vda')
        const ranges = []
        for await (const extent of disk.extents()) if (!extent.zero) ranges.push(extent)
        let bytes = 0
        let sum = 0
        for await (const piece of disk.read(ranges)) {
          bytes += piece.bytes.length
          for (const byte of piece.bytes) sum += byte
        }
        const wrong = await client.point('web1', 'zzzz').catch((error) => error)
        return { machine, points: points.length, size: disk.sizeBytes, bytes, sum, code: wrong.code, ours: wrong instanceof EverfoldError,
          node: [typeof process, typeof Buffer, typeof require] }
      }`)
    expect(result).toMatchObject({
      machine: { machine: 'web1', points: 1 },
      points: 1,
      size: DISK.length,
      sum: DISK.reduce((sum, byte) => sum + byte, 0),
      code: 'POINT_UNKNOWN',
      ours: true,
      node: ['undefined', 'undefined', 'undefined'],
    })
    expect(result.bytes).toBeLessThanOrEqual(DISK.length)
    // Nothing of the engine came along.
    const ours = modules.map((path) => relative(join(root, 'dist/src'), path))
    expect(ours.filter((path) => !/^(?:client|chunker)\/|^[^/]+\.js$|fast-sha256/.test(path))).toEqual([])
  })

  it('backs disks up: cuts and names them as the engine does, and sends what the service lacks', async () => {
    const { result, modules } = await inBrowser(`
      import { blobSource, EverfoldClient } from 'everfold/client'
      export default async (argument) => {
        const client = new EverfoldClient(JSON.parse(argument))
        const disk = await client.disk('web1', 'latest', 'vda')
        const bytes = new Uint8Array(disk.sizeBytes)
        for await (const piece of disk.read([{ offset: 0, length: bytes.length }])) bytes.set(piece.bytes, piece.offset)
        const source = blobSource(new Blob([bytes]))
        const same = await client.backUp({ machine: 'copy', disks: [{ id: 'vda', source }] })
        bytes.fill(7, 1_000_000, 1_100_000)
        const changed = [{ offset: 1_000_000, length: 100_000 }]
        const other = { id: 'vda', source: blobSource(new Blob([bytes])), changed }
        const incremental = await client.backUp({ machine: 'copy', disks: [other], note: 'from a browser' })
        return { same, incremental }
      }`)
    expect(result.same).toMatchObject({ kind: 'full', readBytes: DISK.length, newBytes: 0 })
    expect(result.incremental).toMatchObject({ kind: 'incremental', readBytes: 100_000 })
    expect(modules.filter((path) => path.includes('fast-sha256'))).toHaveLength(1)
    const restored = await served.fetch('/v1/machines/copy/points/latest/disks/vda/raw', served.adminToken)
    const expected = Buffer.from(DISK).fill(7, 1_000_000, 1_100_000)
    expectSame(Buffer.from(await restored.arrayBuffer()), expected, 'copy')
  })
})
