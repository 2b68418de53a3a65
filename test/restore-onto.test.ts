/** A restore onto a file that holds another point: writes only what differs, and interrupted looks like nothing that is whole. */

import { copyFile, cp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { diskLike, MIB, noise, overwritten } from './disk-bytes.js'
import { everfold, fail, type Json, type RunOptions, succeed } from './everfold.js'
import { killed, timed } from './killing.js'
import { Served } from './server-process.js'
import { expectSame, Workspace } from './workspace.js'

const OLD = diskLike('onto', 24 * MIB)
/** Grown, and changed here and there. */
const NEW = Buffer.concat([
  overwritten(overwritten(OLD, 5 * MIB, noise('one', 3 * MIB)), 20 * MIB, Buffer.alloc(MIB)),
  noise('grown', MIB + 512),
])

let at: Workspace
let copy: Workspace
let served: Served
let points: readonly string[]

beforeAll(async () => {
  at = await Workspace.make()
  await at.ok('backup', 'm', `vda=${await at.write('old', OLD)}`)
  await at.ok('backup', 'm', `vda=${await at.write('new', NEW)}`)
  points = (await at.ok('points', 'm', '--fast')).map((point: Json) => point.point)
  // The service has a repository of its own: only one process works on one.
  copy = await Workspace.make('no repository')
  await cp(at.repo, copy.repo, { recursive: true })
  served = await Served.start(copy)
})

afterAll(async () => {
  await served.stop()
  await copy.remove()
  await at.remove()
})

function where(kind: string): RunOptions {
  if (kind === '--repo') return at.options
  const env = { EVERFOLD_SERVER: served.url, EVERFOLD_TOKEN: served.adminToken, EVERFOLD_REPO: undefined }
  return { cwd: at.folder, env }
}

async function partials(): Promise<string[]> {
  return (await readdir(at.folder)).filter((name) => name.endsWith('.partial'))
}

describe.each(['--repo', '--server'])('restore --onto with %s', (kind) => {
  const onto = (from: string, to: string, file = 'disk'): string[] => [
    ...['restore', 'm', to, '--onto', `vda=${file}`, '--onto-point', from],
  ]

  it('writes what differs, and no more, forwards and backwards', async () => {
    await copyFile(at.path('old'), at.path('disk'))
    const forth = await succeed(onto('parent', 'latest'), where(kind))
    expect(forth.disks[0]).toMatchObject({ since: points[0], sizeBytes: NEW.length })
    expect(forth.disks[0].writtenBytes).toBeGreaterThan(5 * MIB)
    expect(forth.disks[0].writtenBytes).toBeLessThan(7 * MIB)
    expectSame(await readFile(at.path('disk')), NEW, 'disk')
    await succeed(onto('latest', 'parent'), where(kind))
    expectSame(await readFile(at.path('disk')), OLD, 'disk')
    expect(await partials()).toEqual([])
  })

  it('refuses a file that cannot be that disk, and one that is not there', async () => {
    await copyFile(at.path('new'), at.path('disk'))
    await fail('ARGUMENT_INVALID', onto('parent', 'latest'), where(kind))
    expectSame(await readFile(at.path('disk')), NEW, 'disk')
    await fail('TARGET_FAILED', onto('parent', 'latest', 'missing'), where(kind))
  })

  it('killed at any moment, leaves the disk under its name only while it is whole, and goes on when asked again', async () => {
    await copyFile(at.path('old'), at.path('disk'))
    const whole = await timed(() => succeed(onto('parent', 'latest'), where(kind)))
    for (let i = 1; i <= 6; i++) {
      await writeFile(at.path('disk'), OLD)
      await killed(where(kind), (whole * i) / 7, ...onto('parent', 'latest'))
      const left = await readFile(at.path('disk')).catch(() => undefined)
      if (left === undefined) {
        expect(await partials()).toEqual([`disk.${points[0] ?? ''}-to-${points[1] ?? ''}.partial`])
        // To another point it does not go on from there.
        await fail('TARGET_FAILED', onto('latest', 'parent'), where(kind))
        await succeed(onto('parent', 'latest'), where(kind))
      } else if (Buffer.compare(left, NEW) !== 0) {
        expectSame(left, OLD, 'a disk that was not begun')
        expect((await everfold(onto('parent', 'latest'), where(kind))).status).toBe(0)
      }
      expectSame(await readFile(at.path('disk')), NEW, 'disk')
      expect(await partials()).toEqual([])
    }
    await rm(at.path('disk'))
  })
})
