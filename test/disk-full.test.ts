/** No space left, in every place where there can be none: it is said, nothing committed is lost, and it works again with space. */

import { existsSync } from 'node:fs'
import { readdir, symlink, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { KIB, MIB, noise, overwritten } from './disk-bytes.js'
import { fail } from './everfold.js'
import { MOUNTS, SmallDisk, withFileLimit } from './small-disk.js'
import { Workspace } from './workspace.js'

const SMALL = noise('fits', 3 * MIB)
const LARGE = noise('does not fit', 40 * MIB)

let at: Workspace
let disks: SmallDisk[]

beforeEach(async () => {
  disks = []
  at = await Workspace.make('no repository')
  await at.write('small', SMALL)
  await at.write('large', LARGE)
})
afterEach(async () => {
  for (const disk of disks) disk.unmount()
  await at.remove()
})

async function mount(name: string, bytes: number): Promise<SmallDisk> {
  const disk = await SmallDisk.mount(at.path(name), bytes)
  if (disk === undefined) throw new Error('cannot mount a tmpfs')
  disks.push(disk)
  return disk
}

async function expectIntact(): Promise<void> {
  expect(await at.ok('points')).toMatchObject([{ machine: 'm', kind: 'full' }])
  expect(await at.ok('verify')).toMatchObject({ ok: true, points: 1 })
  await at.expectDisk('m', 'latest', SMALL)
}

describe.skipIf(!MOUNTS)(
  'a full disk under the repository (a small tmpfs, which only root can mount)',
  () => {
    it('ends the backup with STORE_FULL; with zero bytes free, points list, verify and restore', async () => {
      const disk = await mount('disk', 24 * MIB)
      await symlink('disk/repo', at.repo)
      await at.ok('init', at.path('disk/repo'))
      await at.ok('backup', 'm', 'vda=small')
      const { message } = await at.fails('STORE_FULL', 'backup', 'big', 'vda=large')
      expect(message).toMatch(/no space is left|No space left/)
      await disk.fill()
      expect(await disk.freeBytes()).toBe(0)
      await expectIntact()
      await at.fails('STORE_FULL', 'backup', 'big', 'vda=large')
      await expectIntact()
      await disk.empty()
      const changed = overwritten(SMALL, 1000, noise('after', 5000))
      await at.write('small', changed)
      expect(await at.ok('backup', 'm', 'vda=small')).toMatchObject({ kind: 'incremental' })
      await at.expectDisk('m', 'parent', SMALL)
      await at.expectDisk('m', 'latest', changed)
      expect(await at.ok('verify')).toMatchObject({ ok: true, points: 2 })
    })

    it('restores with zero bytes free also when the index is gone, and backs up once there is space', async () => {
      const disk = await mount('disk', 16 * MIB)
      await symlink('disk/repo', at.repo)
      await at.ok('init', at.path('disk/repo'))
      await at.ok('backup', 'm', 'vda=small')
      for (const name of await readdir(join(at.repo, 'index'))) await unlink(join(at.repo, 'index', name))
      await disk.fill()
      await expectIntact()
      await at.fails('STORE_FULL', 'backup', 'm', 'vda=small')
      await disk.empty()
      expect(await at.ok('backup', 'other', 'vda=small')).toMatchObject({ newBytes: 0 })
    })

    it('refuses to make a repository', async () => {
      const disk = await mount('disk', MIB)
      await disk.fill()
      await at.fails('STORE_FULL', 'init', at.path('disk/repo'))
      await disk.empty()
      await at.ok('init', at.path('disk/repo'))
    })

    it('ends the backup that the index has no space for; it is taken once there is', async () => {
      await at.ok('init', '--chunk-size', '4K')
      await mount('repo/index', 128 * KIB)
      await at.ok('backup', 'm', 'vda=small')
      const { message } = await at.fails('STORE_FULL', 'backup', 'big', 'vda=large', '--chunker', 'fixed')
      expect(message).toMatch(/index/)
      await expectIntact()
      disks.pop()!.unmount()
      await at.ok('backup', 'big', 'vda=large', '--chunker', 'fixed')
      await at.expectDisk('big', 'latest', LARGE)
    })

    it('ends a restore to it without leaving anything behind', async () => {
      await at.ok('init')
      await at.ok('backup', 'm', 'vda=large')
      await mount('out', 8 * MIB)
      const { message } = await at.fails('TARGET_FULL', 'restore', 'm', 'latest', 'vda=out/disk')
      expect(message).toMatch(/no space/)
      expect(await readdir(at.path('out'))).toEqual([])
      await at.expectDisk('m', 'latest', LARGE)
    })
  },
)

describe('a limit on the size of files (ulimit -f), which acts like a full disk', () => {
  it('ends the backup with STORE_FULL and leaves what was committed', async () => {
    await at.ok('init')
    await at.ok('backup', 'm', 'vda=small')
    const before = await at.listing()
    const options = { ...at.options, through: withFileLimit(4096) }
    const { message } = await fail('STORE_FULL', ['backup', 'big', 'vda=large'], options)
    expect(message).toMatch(/limit/)
    expect(await at.listing()).toEqual(before)
    await expectIntact()
    await at.ok('backup', 'big', 'vda=large')
    await at.expectDisk('big', 'latest', LARGE)
  })

  it('ends a restore without leaving anything behind', async () => {
    await at.ok('init')
    await at.ok('backup', 'm', 'vda=large')
    const options = { ...at.options, through: withFileLimit(4096) }
    await fail('TARGET_FULL', ['restore', 'm', 'latest', 'vda=out'], options)
    expect(existsSync(at.path('out'))).toBe(false)
    expect((await readdir(at.folder)).filter((name) => name.includes('partial'))).toEqual([])
  })
})
