import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import {
  anyStride,
  complaintAbout,
  DISK_BYTES,
  GAP,
  listOf,
  modelOf,
  sampleExtents,
  samplePacks,
} from '../../test/format-extents.js'
import { ExtentList, ZEROS } from './extent-list.js'
import { PackTable } from './pack-table.js'

const anyList = fc
  .record({ extents: sampleExtents, stride: anyStride })
  .map(({ extents, stride }) => listOf(extents, stride, samplePacks()))
const anyRange = fc
  .tuple(fc.nat(DISK_BYTES), fc.nat(DISK_BYTES))
  .map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const)

describe('ExtentList', () => {
  it('is sorted, and its neighbours joined, whatever is appended in order', () => {
    fc.assert(
      fc.property(anyList, (list) => {
        expect(complaintAbout(list)).toBeUndefined()
        const known = modelOf(list).filter((byte) => byte !== GAP)
        expect(list.totalBytes).toBe(known.length)
      }),
      { numRuns: 1000 },
    )
  })

  it('finds the extent that covers a position, or the next one', () => {
    fc.assert(
      fc.property(anyList, fc.nat(DISK_BYTES + 5), (list, position) => {
        const expected = Array.from({ length: list.length }, (_, i) => i).find(
          (i) => list.endOf(i) > position,
        )
        expect(list.indexAt(position)).toBe(expected ?? list.length)
      }),
      { numRuns: 1000 },
    )
  })

  it('slices out the bytes between two positions, and nothing else', () => {
    fc.assert(
      fc.property(anyList, anyRange, (list, [start, end]) => {
        const slice = list.slice(start, end)
        expect(complaintAbout(slice)).toBeUndefined()
        const model = modelOf(list).map((byte, i) => (i >= start && i < end ? byte : GAP))
        expect(modelOf(slice)).toEqual(model)
      }),
      { numRuns: 1000 },
    )
  })

  it('is the same again when it is cut anywhere and put together', () => {
    fc.assert(
      fc.property(anyList, fc.array(fc.nat(DISK_BYTES), { maxLength: 5 }), (list, cuts) => {
        const borders = [0, ...cuts.sort((a, b) => a - b), DISK_BYTES]
        const out = new ExtentList(list.stride, list.packs)
        for (const [n, end] of borders.slice(1).entries()) out.appendAll(list.slice(borders[n]!, end))
        expect(complaintAbout(out)).toBeUndefined()
        expect(modelOf(out)).toEqual(modelOf(list))
        expect(out.length).toBe(list.length)
      }),
      { numRuns: 1000 },
    )
  })

  it('joins chunks that follow each other, and not those that do not', () => {
    const list = new ExtentList(4096, samplePacks())
    list.append(0, 4096, 0, 7, 0)
    list.append(4096, 4096, 0, 8, 0)
    list.append(8192, 100, 0, 9, 0)
    expect(list.length).toBe(1)
    // Chunk 9 is short: chunk 10 does not begin where it would.
    list.append(8292, 4096, 0, 10, 0)
    list.append(12_388, 4096, 1, 11, 0)
    list.append(16_484, 50, ZEROS, 0, 0)
    list.append(16_534, 50, ZEROS, 0, 0)
    list.append(20_000, 50, ZEROS, 0, 0)
    expect(list.length).toBe(5)
  })

  it('is exact for disks of petabytes', () => {
    const list = new ExtentList(65_536, samplePacks())
    const far = 2 ** 52 + 65_536
    list.append(far, 65_536 * 1000, 0, 0, 0)
    const part = list.slice(far + 65_536 * 999 + 1, far + 65_536 * 1000)
    expect([part.startOf(0), part.size[0], part.chunk[0], part.skip[0]]).toEqual([
      far + 65_536 * 999 + 1,
      65_535,
      999,
      1,
    ])
  })

  it('refuses an extent before the end of the last, and takes no empty one', () => {
    const list = new ExtentList(4096, samplePacks())
    list.append(100, 10, 0, 0, 0)
    list.append(110, 0, 0, 0, 0)
    list.append(0, 0, 0, 0, 0)
    expect(list.length).toBe(1)
    expect(() => {
      list.append(109, 1, 0, 0, 0)
    }).toThrow(RangeError)
  })

  it('takes some extents of another list, and none of those before and after', () => {
    fc.assert(
      fc.property(anyList, fc.nat(12), fc.nat(12), (list, a, b) => {
        const [from, to] = [Math.min(a, b, list.length), Math.min(Math.max(a, b), list.length)]
        const out = new ExtentList(list.stride, list.packs, 1)
        out.appendAll(list, from, to)
        const part = from < to ? list.slice(list.startOf(from), list.endOf(to - 1)) : []
        expect(out.length).toBe(part.length)
        if (part instanceof ExtentList) expect(modelOf(out)).toEqual(modelOf(part))
        if (out.length > 0)
          expect(() => {
            out.appendAll(list, from, to)
          }).toThrow(RangeError)
      }),
      { numRuns: 500 },
    )
  })

  it('says that nothing begins after its end', () => {
    const list = new ExtentList(0, samplePacks())
    expect([list.startOf(0), list.end, list.indexAt(0), list.totalBytes]).toEqual([Infinity, 0, 0, 0])
  })
})

describe('PackTable', () => {
  const [A, B] = ['a'.repeat(64), 'b'.repeat(64)] as const

  it('gives each pack one slot', () => {
    const packs = new PackTable()
    expect([packs.slotOf(A), packs.slotOf(B), packs.slotOf(A), packs.size]).toEqual([0, 1, 0, 2])
    expect([packs.idOf(0), packs.idOf(1)]).toEqual([A, B])
    expect(() => packs.idOf(2)).toThrow(RangeError)
    expect(() => packs.idOf(ZEROS)).toThrow(RangeError)
  })

  it('takes many ids at once, known ones, new ones and repeated ones', () => {
    const packs = new PackTable()
    packs.slotOf(B)
    // More than it has room for at first; some begin alike, so that they are looked for in the same place.
    const ids = Array.from({ length: 100 }, (_, n) => `${n % 7}`.padStart(8, '0') + `${n}`.padStart(56, '0'))
    const asked = [A, ...ids, B, ...ids, A]
    const slots = packs.slotsOf(Buffer.from(asked.join(''), 'hex'))
    expect([...slots].map((slot) => packs.idOf(slot))).toEqual(asked)
    expect(packs.size).toBe(102)
    expect(asked.map((id) => packs.find(id))).toEqual([...slots])
    expect(Buffer.from(packs.idsOf([...slots])).toString('hex')).toBe(asked.join(''))
    expect(packs.find('f'.repeat(64))).toBeUndefined()
    expect(packs.size).toBe(102)
  })

  it('tells whether slots of two tables are the same pack', () => {
    const [some, others] = [new PackTable(), new PackTable()]
    const a = some.slotOf(A)
    const close = others.slotOf(`${A.slice(0, -1)}b`)
    expect(some.isSame(a, others, close)).toBe(false)
    expect(some.isSame(a, others, others.slotOf(A))).toBe(true)
    expect(() => some.isSame(a, others, 2)).toThrow(RangeError)
    expect(() => some.isSame(some.reserve(), others, close)).toThrow(RangeError)
  })

  it('does not take a reserved slot for what was looked for before', () => {
    const packs = new PackTable()
    expect(packs.find(A)).toBeUndefined()
    const reserved = packs.reserve()
    expect(packs.firstOf(reserved)).toBe(reserved)
    expect(packs.slotOf(A)).toBe(1)
    expect(packs.firstOf(reserved)).toBe(reserved)
  })

  it('names reserved slots once their pack is known', () => {
    const packs = new PackTable()
    const first = packs.reserve()
    expect(() => packs.idOf(first)).toThrow(RangeError)
    packs.slotOf(B)
    expect(packs.name(first, A)).toBe(first)
    expect(packs.slotOf(A)).toBe(first)
    const second = packs.reserve()
    expect(packs.name(second, B)).toBe(1)
    expect(packs.idOf(second)).toBe(B)
    expect(packs.slotOf(B)).toBe(1)
  })
})
