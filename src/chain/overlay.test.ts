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
import { ExtentList } from './extent-list.js'
import { overlay, overlayAll } from './overlay.js'
import { PackTable } from './pack-table.js'

const anyEnd = fc.oneof(fc.constant(Infinity), fc.nat(DISK_BYTES))

describe('overlay', () => {
  it('gives the newer byte where there is one, else the older, up to where the disk ended', () => {
    fc.assert(
      fc.property(sampleExtents, sampleExtents, anyStride, anyEnd, (first, second, stride, olderEnd) => {
        const packs = samplePacks()
        const older = listOf(first, stride, packs)
        const newer = listOf(second, stride, packs)
        const result = overlay(older, newer, olderEnd)
        const below = modelOf(older)
        const model = modelOf(newer).map((byte, i) => (byte !== GAP || i >= olderEnd ? byte : below[i]))
        expect(modelOf(result)).toEqual(model)
        expect(complaintAbout(result)).toBeUndefined()
        expect(result.length).toBeLessThanOrEqual(older.length + 2 * newer.length)
      }),
      { numRuns: 3000 },
    )
  })

  it('changes neither of its inputs', () => {
    const packs = samplePacks()
    const older = new ExtentList(4, packs)
    older.append(0, 100, 0, 0, 0)
    const newer = new ExtentList(4, packs)
    newer.append(10, 10, 1, 0, 0)
    const before = [modelOf(older), modelOf(newer)]
    overlay(older, newer)
    expect([modelOf(older), modelOf(newer)]).toEqual(before)
  })

  it('refuses lists of different strides or pack tables', () => {
    const packs = samplePacks()
    expect(() => overlay(new ExtentList(4, packs), new ExtentList(0, packs))).toThrow(TypeError)
    expect(() => overlay(new ExtentList(4, packs), new ExtentList(4, new PackTable()))).toThrow(TypeError)
  })
})

describe('overlayAll', () => {
  it('is what writing the runs one after the other gives, on a disk that shrinks and grows', () => {
    const layer = fc.record({
      extents: sampleExtents,
      sizeBytes: fc.oneof(fc.constant(DISK_BYTES), fc.nat(DISK_BYTES)),
    })
    fc.assert(
      fc.property(fc.array(layer, { minLength: 1, maxLength: 9 }), anyStride, (layers, stride) => {
        const packs = samplePacks()
        const lists = layers.map(({ extents, sizeBytes }) => ({
          extents: listOf(extents, stride, packs).slice(0, sizeBytes),
          sizeBytes,
        }))
        const model = new Array<number>(DISK_BYTES).fill(GAP)
        for (const { extents, sizeBytes } of lists) {
          model.fill(GAP, sizeBytes)
          for (const [i, byte] of modelOf(extents).entries()) if (byte !== GAP) model[i] = byte
        }
        const result = overlayAll(lists)
        expect(modelOf(result)).toEqual(model)
        expect(complaintAbout(result)).toBeUndefined()
      }),
      { numRuns: 2000 },
    )
  })

  it('refuses to overlay nothing', () => {
    expect(() => overlayAll([])).toThrow(RangeError)
  })
})
