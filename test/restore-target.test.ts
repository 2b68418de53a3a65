/** Where a restore writes to: sparse, under its name only when whole, over nothing that it was not told to overwrite. */

import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, stat, symlink, truncate } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { MIB, noise } from './disk-bytes.js'
import { everfold, start } from './everfold.js'
import { allocatedBytes, attempt, expectSame, Workspace } from './workspace.js'

/** 2 MiB of data in 64 MiB of zeros. */
const BYTES = Buffer.concat([
  noise('a', MIB),
  Buffer.alloc(32 * MIB),
  noise('b', MIB),
  Buffer.alloc(30 * MIB),
])

let at: Workspace

beforeAll(async () => {
  at = await Workspace.make()
  await at.writeSparse('disk', BYTES)
  await at.ok('backup', 'm', 'vda=disk')
})
afterAll(() => at.remove())

async function partials(): Promise<string[]> {
  return (await readdir(at.folder)).filter((name) => name.includes('partial'))
}

describe('a file that is restored', () => {
  it('has holes for zeros, and is nobody else’s to read', async () => {
    await at.ok('restore', 'm', 'latest', 'vda=out')
    expectSame(await readFile(at.path('out')), BYTES, 'out')
    expect(await allocatedBytes(at.path('out'))).toBeLessThan(2.5 * MIB)
    expect((await stat(at.path('out'))).mode & 0o777).toBe(0o600)
  })

  it('replaces no file without --force', async () => {
    await at.write('precious', 'mine')
    const { message } = await at.fails('TARGET_EXISTS', 'restore', 'm', 'latest', 'vda=precious')
    expect(message).toMatch(/--force/)
    expect(await readFile(at.path('precious'), 'utf8')).toBe('mine')
    await at.ok('restore', 'm', 'latest', 'vda=precious', '--force')
    expectSame(await readFile(at.path('precious')), BYTES, 'precious')
    expect(await partials()).toEqual([])
  })

  it('is not begun where one of several targets is refused', async () => {
    await at.write('taken', 'mine')
    await at.fails('TARGET_EXISTS', 'restore', 'm', 'latest', 'vda=free', 'vda=taken')
    expect(existsSync(at.path('free'))).toBe(false)
    expect(await partials()).toEqual([])
  })

  it('is never a folder, also with --force, and a dangling link stays one', async () => {
    await mkdir(at.path('folder'))
    await at.fails('TARGET_FAILED', 'restore', 'm', 'latest', 'vda=folder', '--force')
    await symlink('nowhere', at.path('link'))
    await at.fails('TARGET_EXISTS', 'restore', 'm', 'latest', 'vda=link')
  })

  it.each(['SIGINT', 'SIGTERM'] as const)('is not there, nor any part of it, after %s', async (signal) => {
    await at.write('long', noise('long', 100 * MIB))
    await at.ok('backup', 'long', 'vda=long')
    const child = start(['restore', 'long', 'latest', 'vda=cut'], at.options)
    const exit = once(child, 'exit')
    while ((await partials()).length === 0 && child.exitCode === null) await sleep(2)
    // Where it has come to its end meanwhile, nothing of it is partial.
    if (existsSync(at.path('cut'))) expect(await partials()).toEqual([])
    try {
      process.kill(-child.pid!, signal)
    } catch (error) {
      expect(error).toMatchObject({ code: 'ESRCH' })
    }
    await exit
    expect(child.exitCode === 0 || !existsSync(at.path('cut'))).toBe(true)
    expect(await partials()).toEqual([])
    await at.ok('points')
  })
})

const loop = attempt('losetup', '-f')
describe.skipIf(loop === undefined)('a block device (a loop device, which only root can make)', () => {
  it('is backed up and restored to like a file, zeros included', async () => {
    await at.write('image', BYTES)
    const source = attempt('losetup', '-f', '--show', at.path('image'))!
    await at.write('target image', noise('old content', BYTES.length))
    const target = attempt('losetup', '-f', '--show', at.path('target image'))!
    try {
      const taken = await at.ok('backup', 'device', `vda=${source}`)
      expect(taken).toMatchObject({ disks: [{ id: 'vda', sizeBytes: BYTES.length }] })
      // A file is cut anew at the edges of its holes, and a device has none: there chunks may differ.
      expect(taken['newBytes']).toBeLessThan(MIB / 2)
      await at.fails('TARGET_EXISTS', 'restore', 'device', 'latest', `vda=${target}`)
      await at.ok('restore', 'device', 'latest', `vda=${target}`, '--force')
      expectSame(await readFile(target), BYTES, target)
      // A device whose medium ends early: it fails, and no point is made.
      await truncate(at.path('image'), 8 * MIB)
      await at.fails('SOURCE_FAILED', 'backup', 'failing', `vda=${source}`)
      await at.fails('MACHINE_UNKNOWN', 'points', 'failing')
    } finally {
      attempt('losetup', '-d', source)
      attempt('losetup', '-d', target)
    }
  })

  it('refuses a disk that is larger than the device', async () => {
    await at.write('small image', Buffer.alloc(MIB))
    const target = attempt('losetup', '-f', '--show', at.path('small image'))!
    try {
      const { message } = await at.fails('TARGET_FULL', 'restore', 'm', 'latest', `vda=${target}`, '--force')
      expect(message).toContain(target)
      expectSame(await readFile(target), Buffer.alloc(MIB), 'the device, untouched')
    } finally {
      attempt('losetup', '-d', target)
    }
  })
})

describe('the result of a restore', () => {
  it('is one sentence for people', async () => {
    const run = await everfold(['restore', 'm', 'latest', 'vda=told'], at.options)
    expect(run.status).toBe(0)
    // On a slow machine, how far it was.
    expect(run.stderr).toMatch(/^(?:[^:]+: \d+% of .*\n)*$/)
    expect(run.stdout).toMatch(/^Restored vda of m at \w{8} to told: 64 MiB, all chunks checked\.\n$/)
  })
})
