/** Incrementals from a changed-block feed: nothing else is read, and the result is the disk. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { diskLike, KIB, MIB, noise, overwritten } from './disk-bytes.js'
import type { Json } from './everfold.js'
import { type Extent, Workspace } from './workspace.js'

let at: Workspace

beforeAll(async () => {
  at = await Workspace.make()
})
afterAll(() => at.remove())

/** Changes at odd places, one of them to zeros and one up to the disk's odd end. */
const SIZE = 6 * MIB + 12_345
const CHANGES: readonly Extent[] = [
  [1, 1],
  [65_535, 2],
  [MIB - 100, 70_000],
  [3 * MIB, 256 * KIB],
  [SIZE - 777, 777],
]
/** The same bytes named otherwise: unsorted, overlapping, touching, doubled, empty. */
const UNTIDY: readonly Extent[] = [
  [SIZE - 777, 777],
  [3 * MIB + 100 * KIB, 156 * KIB],
  [MIB - 100, 70_000],
  [3 * MIB, 128 * KIB],
  [65_535, 2],
  [MIB, 50],
  [2 * MIB, 0],
  [1, 1],
  [3 * MIB + 60 * KIB, 100 * KIB],
  [1, 1],
]
const CHANGED_BYTES = CHANGES.reduce((sum, [, length]) => sum + length, 0)

function changed(before: Buffer): Buffer {
  let after = before
  for (const [offset, length] of CHANGES)
    after = overwritten(after, offset, noise(`change ${offset}`, length))
  return overwritten(after, 3 * MIB, Buffer.alloc(256 * KIB))
}

describe.each(['fixed', 'cdc'])('an incremental from a feed, cut %s', (chunker) => {
  const before = diskLike('feeds', SIZE)
  const after = changed(before)

  it.each([
    ['a plain list', () => at.feed(CHANGES)],
    ['an untidy list', () => at.feed(UNTIDY)],
    ["VMware's answer", () => at.vmwareFeed(SIZE, CHANGES)],
    ["an untidy answer of VMware's", () => at.vmwareFeed(SIZE, UNTIDY)],
  ])('reads just the bytes that %s names', async (name, feed) => {
    const machine = `${chunker} ${name}`
    await at.write('disk', before)
    await at.ok('backup', machine, 'vda=disk', '--chunker', chunker)
    await at.write('disk', after)
    const result = await at.ok('backup', machine, 'vda=disk', '--changed', `vda=${await feed()}`)
    expect(result).toMatchObject({
      kind: 'incremental',
      readBytes: CHANGED_BYTES,
      changedBytes: CHANGED_BYTES,
    })
    expect(result.newBytes).toBeLessThanOrEqual(CHANGED_BYTES - 256 * KIB)
    await at.expectDisk(machine, 'parent', before)
    await at.expectDisk(machine, 'latest', after)
  })

  it('does not look at what the feed leaves out', async () => {
    const machine = `${chunker} trusting`
    await at.write('disk', before)
    await at.ok('backup', machine, 'vda=disk', '--chunker', chunker)
    await at.write('disk', noise('all is different', SIZE))
    const result = await at.ok('backup', machine, 'vda=disk', '--changed', `vda=${await at.feed([])}`)
    expect(result).toMatchObject({ readBytes: 0, changedBytes: 0, newBytes: 0 })
    await at.expectDisk(machine, 'latest', before)
  })

  it('reads only the new area of a disk that grew when the feed names nothing of it', async () => {
    const machine = `${chunker} growing`
    const grown = Buffer.concat([changed(before), noise('grown', MIB + 1)])
    await at.write('disk', before)
    await at.ok('backup', machine, 'vda=disk', '--chunker', chunker)
    await at.write('disk', grown)
    const feeds = [await at.feed(CHANGES), await at.feed([...CHANGES, [SIZE - 10, MIB]])]
    for (const feed of feeds) {
      const result = await at.ok('backup', machine, 'vda=disk', '--changed', `vda=${feed}`)
      expect(result.disks).toEqual([{ id: 'vda', sizeBytes: grown.length }])
      await at.expectDisk(machine, 'latest', grown)
    }
    const [, second] = await at.ok('points', machine)
    expect(second.readBytes).toBe(CHANGED_BYTES + MIB + 1)
    await at.expectDisk(machine, 'parent', before)
  })

  it('forgets what lies beyond the end of a disk that shrank, also when it grows again', async () => {
    const machine = `${chunker} shrinking`
    const short = before.subarray(0, 2 * MIB + 999)
    const again = Buffer.concat([short, noise('again', 3 * MIB)])
    const states = [before, short, again, again.subarray(0, 5), Buffer.alloc(0), before]
    for (const [i, bytes] of states.entries()) {
      await at.write('disk', bytes)
      const feed = i === 0 ? [] : ['--changed', `vda=${await at.feed([])}`]
      await at.ok('backup', machine, 'vda=disk', '--chunker', chunker, ...feed)
    }
    const points = await at.ok('points', machine)
    for (const [i, bytes] of states.entries()) await at.expectDisk(machine, points[i].point, bytes)
  })
})

describe('disks of a machine', () => {
  it('may appear, vanish and come back, and each point has those that it was taken of', async () => {
    const a = diskLike('disk a', MIB)
    const b = diskLike('disk b', MIB + 5)
    const c = overwritten(b, 77, noise('c', 1000))
    await at.write('a', a)
    await at.write('b', b)
    await at.ok('backup', 'changing', 'vda=a')
    await at.ok('backup', 'changing', 'vda=a', 'vdb=b', '--changed', `vda=${await at.feed([])}`)
    await at.ok('backup', 'changing', 'vdb=b', '--changed', `vdb=${await at.feed([])}`)
    await at.write('b', c)
    await at.ok('backup', 'changing', 'vda=a', 'vdb=b', '--changed', `vdb=${await at.feed([[77, 1000]])}`)
    const points = await at.ok('points', 'changing')
    expect(points.map((point: Json) => point.disks.map((disk: Json) => disk.id))).toEqual([
      ['vda'],
      ['vda', 'vdb'],
      ['vdb'],
      ['vda', 'vdb'],
    ])
    expect(points[3].readBytes).toBe(MIB + 1000)
    expect(points[3].newBytes).toBeLessThanOrEqual(1000)
    for (const i of [0, 1, 3]) await at.expectDisk('changing', points[i].point, a, 'vda')
    for (const i of [1, 2]) await at.expectDisk('changing', points[i].point, b, 'vdb')
    await at.expectDisk('changing', 'latest', c, 'vdb')
    await at.fails('DISK_UNKNOWN', 'restore', 'changing', points[2].point, 'vda=out')
  })

  it('are restored together with one command', async () => {
    const a = diskLike('together a', MIB)
    const b = diskLike('together b', 2 * MIB)
    await at.write('a', a)
    await at.write('b', b)
    await at.ok('backup', 'together', 'vda=a', 'vdb=b')
    const result = await at.ok('restore', 'together', 'latest', 'vda=out-a', 'vdb=out-b')
    expect(result.disks).toEqual([
      { id: 'vda', sizeBytes: MIB, path: 'out-a' },
      { id: 'vdb', sizeBytes: 2 * MIB, path: 'out-b' },
    ])
  })
})
