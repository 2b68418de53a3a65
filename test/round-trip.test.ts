/** From a disk to a restored disk, with the real command: what goes in comes out, whatever way it went in. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { diskLike, KIB, MIB, noise, overwritten } from './disk-bytes.js'
import { Workspace } from './workspace.js'

let at: Workspace

beforeAll(async () => {
  at = await Workspace.make()
})
afterAll(() => at.remove())

describe('a full backup', () => {
  it('takes several disks in one point and restores each of them', async () => {
    const disks = {
      vda: diskLike('several a', 3 * MIB + 17),
      vdb: diskLike('several b', MIB),
      boot: noise('c', 5000),
    }
    for (const [id, bytes] of Object.entries(disks)) await at.write(id, bytes)
    const result = await at.ok(
      'backup',
      'several',
      'vda=vda',
      'vdb=vdb',
      'boot=boot',
      '--note',
      'before the upgrade',
    )
    expect(result).toMatchObject({
      machine: 'several',
      kind: 'full',
      disks: Object.entries(disks).map(([id, bytes]) => ({ id, sizeBytes: bytes.length })),
      readBytes: 4 * MIB + 17 + 5000,
      changedBytes: 4 * MIB + 17 + 5000,
    })
    expect(result.newBytes).toBeGreaterThan(0)
    expect(result.storedBytes).toBeGreaterThan(0)
    expect(Math.abs(Date.parse(result.createdAt) - Date.now())).toBeLessThan(60_000)
    expect(result.seconds).toBeGreaterThan(0)
    await at.expectDisks('several', result.point, disks)
    const [point] = await at.ok('points', 'several')
    expect(point).toMatchObject({ ...result, note: 'before the upgrade', seconds: expect.any(Number) })
  })

  it.each([0, 1, 4096, 65_536, 65_537, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1])(
    'keeps a disk of %i bytes, cut either way',
    async (size) => {
      const bytes = noise(`size ${size}`, size)
      const machine = `size-${size}`
      await at.write('sized', bytes)
      await at.ok('backup', machine, 'a.fixed=sized', 'b.cdc=sized', 'c=sized')
      await at.expectDisks(machine, 'latest', { 'a.fixed': bytes, 'b.cdc': bytes, c: bytes })
      const again = await at.ok('backup', machine, 'a.fixed=sized', 'b.cdc=sized', 'c=sized')
      expect(again).toMatchObject({ kind: 'incremental', readBytes: 3 * size, changedBytes: 0, newBytes: 0 })
      await at.expectDisks(machine, 'latest', { 'a.fixed': bytes, 'b.cdc': bytes, c: bytes })
    },
  )

  it('stores nothing for zeros, be they holes or written', async () => {
    await at.writeSparse('holes', Buffer.alloc(40 * MIB))
    await at.write('zeros', Buffer.alloc(8 * MIB))
    const result = await at.ok('backup', 'nothing', 'holes=holes', 'zeros=zeros')
    expect(result).toMatchObject({ newBytes: 0 })
    expect(result.storedBytes).toBeLessThan(4 * KIB)
    await at.expectDisks('nothing', 'latest', { holes: Buffer.alloc(40 * MIB), zeros: Buffer.alloc(8 * MIB) })
  })

  it('stores what another machine has already not once more', async () => {
    const bytes = noise('shared', 2 * MIB)
    await at.write('shared', bytes)
    expect(await at.ok('backup', 'first owner', 'vda=shared')).toMatchObject({ newBytes: 2 * MIB })
    expect(await at.ok('backup', 'second owner', 'vda=shared')).toMatchObject({ kind: 'full', newBytes: 0 })
    await at.expectDisk('second owner', 'latest', bytes)
  })

  it.each(['4K', '1M', '4M'])('works with chunks of %s', async (size) => {
    const other = await Workspace.make(['--chunk-size', size])
    const before = diskLike(`chunks of ${size}`, 9 * MIB + 3)
    const after = overwritten(before, 5 * MIB + 1, noise('x', 100))
    await other.write('disk', before)
    await other.ok('backup', 'm', 'fixed=disk', 'cdc=disk', '--chunker', 'fixed')
    await other.ok('backup', 'n', 'vda=disk', '--chunker', 'cdc')
    await other.write('disk', after)
    await other.ok(
      'backup',
      'm',
      'fixed=disk',
      'cdc=disk',
      '--changed',
      `fixed=${await other.feed([[5 * MIB + 1, 100]])}`,
    )
    await other.ok('backup', 'n', 'vda=disk', '--changed', `vda=${await other.feed([[5 * MIB + 1, 100]])}`)
    await other.expectDisks('m', 'parent', { fixed: before, cdc: before })
    await other.expectDisks('m', 'latest', { fixed: after, cdc: after })
    await other.expectDisk('n', 'latest', after)
    expect(await other.ok('verify')).toMatchObject({ ok: true, points: 4 })
    await other.remove()
  })
})

describe('a backup without a feed of a disk that has points', () => {
  it.each(['fixed', 'cdc'])('stores only what differs (%s)', async (chunker) => {
    const machine = `lost-feed-${chunker}`
    const before = diskLike(machine, 12 * MIB)
    const after = overwritten(before, 7 * MIB + 100, noise('differs', 200))
    await at.write('disk', before)
    await at.ok('backup', machine, 'vda=disk', '--chunker', chunker)
    await at.write('disk', after)
    const result = await at.ok('backup', machine, 'vda=disk')
    expect(result).toMatchObject({ kind: 'incremental', readBytes: 12 * MIB })
    // At most the chunks around the change: content-defined ones grow to four times the average, on either side.
    expect(result.changedBytes).toBeLessThanOrEqual(chunker === 'fixed' ? 64 * KIB : MIB)
    expect(result.newBytes).toBeLessThanOrEqual(result.changedBytes)
    await at.expectDisk(machine, 'parent', before)
    await at.expectDisk(machine, 'latest', after)
  })

  it('notices that what was data became zero, and what was zero became data', async () => {
    const before = Buffer.concat([noise('left', MIB), Buffer.alloc(MIB), noise('right', MIB)])
    const after = Buffer.concat([noise('left', MIB), noise('middle', MIB), Buffer.alloc(MIB)])
    await at.write('disk', before)
    await at.ok('backup', 'swap', 'a.fixed=disk', 'b=disk')
    await at.writeSparse('disk', after)
    const result = await at.ok('backup', 'swap', 'a.fixed=disk', 'b=disk')
    expect(result.newBytes).toBeLessThan(4 * MIB)
    await at.write('disk', before)
    await at.ok('backup', 'swap', 'a.fixed=disk', 'b=disk')
    await at.expectDisks('swap', 'parent', { 'a.fixed': before, b: before })
    await at.expectDisks('swap', result.point, { 'a.fixed': after, b: after })
    await at.expectDisks('swap', 'latest', { 'a.fixed': before, b: before })
  })

  it('stores an insertion near the start of a stream as the chunks around it', async () => {
    const before = noise('stream', 8 * MIB)
    const after = Buffer.concat([before.subarray(0, 1000), Buffer.from('!'), before.subarray(1000)])
    await at.write('stream', before)
    await at.ok('backup', 'streams', 'tape.cdc=stream')
    await at.write('stream', after)
    const result = await at.ok('backup', 'streams', 'tape.cdc=stream')
    expect(result.newBytes).toBeLessThan(MIB)
    await at.expectDisk('streams', 'latest', after, 'tape.cdc')
    await at.expectDisk('streams', 'parent', before, 'tape.cdc')
  })
})

describe('verify', () => {
  it('counts all chunks that it checked, however many are read at once', async () => {
    const own = await Workspace.make()
    await own.write('disk', noise('many chunks', 40 * MIB))
    await own.ok('backup', 'm', 'vda.fixed=disk')
    for (let i = 0; i < 3; i++) expect(await own.ok('verify')).toMatchObject({ ok: true, chunks: 640 })
    await own.remove()
  })
})
