import { describe, expect, it } from 'vitest'

import { samplePacks } from '../../test/format-extents.js'
import { chainState, diskState, pointState } from '../../test/format-states.js'
import { runKey } from '../store/keys.js'
import { MemoryStore } from '../store/memory-store.js'
import type { DiskState, PointState } from './chain-state.js'
import { ExtentList, ZEROS } from './extent-list.js'
import { flattenDisk, layersOf } from './flatten.js'
import { Pins } from './pins.js'
import { writeRun } from './run-store.js'

const STRIDE = 4
type Extent = readonly [offset: number, size: number, pack: number]

/** A chain of one disk, `d`, whose points are added one by one. */
class Chain {
  readonly store = new MemoryStore()
  readonly points: PointState[] = []

  /** @param pack  of each extent: what the model of the disk will show. */
  async disk(sizeBytes: number, complete: boolean, ...extents: Extent[]): Promise<DiskState> {
    const list = new ExtentList(STRIDE, samplePacks())
    for (const [offset, size, pack] of extents) list.append(offset, size, pack, 0, 0)
    return diskState('d', sizeBytes, (await writeRun(this.store, 'm', list, async () => {})).run, complete)
  }

  async point(sizeBytes: number, complete: boolean, ...extents: Extent[]): Promise<void> {
    const disk = await this.disk(sizeBytes, complete, ...extents)
    this.points.push(pointState(`p000000${this.points.length}`, [disk]))
  }

  /** One letter a byte: which pack, or 0 for zeros. */
  async at(index: number): Promise<string> {
    const state = chainState('m', 0, this.points)
    const pins = new Pins().begin()
    const list = await flattenDisk(this.store, state, index, 'd', pins)
    pins.end()
    let text = ''
    for (let i = 0; i < list.length; i++) {
      const letter = list.pack[i] === ZEROS ? '0' : list.packs.idOf(list.pack[i]!)[0]!
      text += letter.repeat(list.size[i]!)
    }
    return text
  }
}

describe('flattenDisk', () => {
  it('lays the runs up to a point over each other', async () => {
    const chain = new Chain()
    await chain.point(12, true, [0, 12, 0])
    await chain.point(12, false, [4, 4, 1])
    await chain.point(12, false, [6, 4, ZEROS])
    await chain.point(12, false)
    expect(await chain.at(0)).toBe('aaaaaaaaaaaa')
    expect(await chain.at(1)).toBe('aaaabbbbaaaa')
    expect(await chain.at(2)).toBe('aaaabb0000aa')
    expect(await chain.at(3)).toBe('aaaabb0000aa')
  })

  it('forgets what lay beyond the end of a disk that shrank, though it grew again', async () => {
    const chain = new Chain()
    await chain.point(12, true, [0, 12, 0])
    await chain.point(4, false)
    await chain.point(12, false, [4, 8, ZEROS])
    expect(await chain.at(1)).toBe('aaaa')
    expect(await chain.at(2)).toBe('aaaa00000000')
  })

  it('fails on a gap: never are zeros filled in', async () => {
    const chain = new Chain()
    await chain.point(12, true, [0, 12, 0])
    await chain.point(4, false)
    await chain.point(12, false, [6, 6, 1])
    await expect(chain.at(2)).rejects.toMatchObject({
      code: 'CHAIN_DAMAGED',
      details: { machine: 'm', disk: 'd', offset: 4 },
    })
    await chain.point(8, true, [0, 7, 0])
    await expect(chain.at(3)).rejects.toMatchObject({ code: 'CHAIN_DAMAGED', details: { offset: 7 } })
  })

  it('begins anew with a disk that was away', async () => {
    const chain = new Chain()
    await chain.point(8, true, [0, 8, 0])
    chain.points.push(pointState('p0000001', []))
    await chain.point(8, true, [0, 8, 1])
    await chain.point(8, false, [0, 2, 2])
    expect(await chain.at(3)).toBe('ccbbbbbb')
    expect(await chain.at(0)).toBe('aaaaaaaa')
  })

  it('says so where the runs of a disk have no beginning', async () => {
    const chain = new Chain()
    await chain.point(8, true, [0, 8, 0])
    chain.points.push(pointState('p0000001', []))
    await chain.point(8, false, [0, 8, 1])
    expect(() => layersOf(chainState('m', 0, chain.points), 2, 'd')).toThrow(
      expect.objectContaining({ code: 'CHAIN_DAMAGED' }),
    )
  })

  it('takes a complete run without looking at older ones', async () => {
    const chain = new Chain()
    await chain.point(8, true, [0, 8, 0])
    await chain.point(8, true, [0, 8, 1])
    await chain.store.remove(runKey('m', chain.points[0]!.disks[0]!.run.segments[0]!.id))
    expect(await chain.at(1)).toBe('bbbbbbbb')
    await expect(chain.at(0)).rejects.toMatchObject({ code: 'OBJECT_NOT_FOUND' })
  })

  it('knows an empty disk', async () => {
    const chain = new Chain()
    await chain.point(0, true)
    await chain.point(4, false, [0, 4, ZEROS])
    expect(await chain.at(0)).toBe('')
    expect(await chain.at(1)).toBe('0000')
  })
})
