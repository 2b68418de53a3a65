import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { anyStride, complaintAbout, listOf, sampleExtents, samplePacks } from '../../test/format-extents.js'
import { flipped } from '../../test/format-samples.js'
import { BinaryWriter, MalformedError } from '../binary.js'
import { bytesToHex, sha256, sha256Hex } from '../checksum.js'
import { ExtentList, ZEROS } from './extent-list.js'
import { PackTable } from './pack-table.js'
import { decodeRun, encodeRun } from './run-codec.js'

const [A, B] = ['a'.repeat(64), 'b'.repeat(64)] as const

/** A body with the trailer that belongs to it. */
function seal(body: Uint8Array): { bytes: Uint8Array; id: string } {
  const digest = sha256(body)
  return { bytes: Buffer.concat([body, digest]), id: bytesToHex(digest) }
}

function expectSame(list: ExtentList, again: ExtentList): void {
  expect(again.stride).toBe(list.stride)
  expect(again.length).toBe(list.length)
  for (let i = 0; i < list.length; i++) {
    const idOf = (of: ExtentList): string => (of.pack[i] === ZEROS ? 'zeros' : of.packs.idOf(of.pack[i]!))
    expect(idOf(again)).toBe(idOf(list))
    for (const field of ['offset', 'size', 'chunk', 'skip'] as const)
      expect(again[field][i]).toBe(list[field][i])
  }
}

/** The list, with all numbers of bytes times `scale`. */
function scaled(list: ExtentList, scale: number): ExtentList {
  const out = new ExtentList(list.stride * scale, list.packs)
  for (let i = 0; i < list.length; i++)
    out.append(
      list.startOf(i) * scale,
      list.size[i]! * scale,
      list.pack[i]!,
      list.chunk[i]!,
      list.skip[i]! * scale,
    )
  return out
}

describe('encodeRun and decodeRun', () => {
  it('give back every list, for aligned and unaligned numbers and both kinds of chunks', () => {
    const scale = fc.constantFrom(1, 3, 512, 4096, 65_536, 1 << 20)
    fc.assert(
      fc.property(sampleExtents, anyStride, scale, (extents, stride, by) => {
        const list = scaled(listOf(extents, stride, samplePacks()), by)
        const { id, bytes } = encodeRun(list, 0, list.length)
        expect(id).toBe(sha256Hex(bytes.subarray(0, -32)))
        const packs = new PackTable()
        packs.slotOf('f'.repeat(64))
        const again = decodeRun(bytes, id, packs)
        expectSame(list, again)
        expect(complaintAbout(again)).toBeUndefined()
        expect(encodeRun(again, 0, again.length).id).toBe(id)
      }),
      { numRuns: 1000 },
    )
  })

  it('give back a part of a list, with just the packs that it names', () => {
    fc.assert(
      fc.property(sampleExtents, anyStride, fc.nat(12), fc.nat(12), (extents, stride, a, b) => {
        const list = listOf(extents, stride, samplePacks())
        const from = Math.min(a, b, list.length)
        const to = Math.min(Math.max(a, b), list.length)
        const { id, bytes } = encodeRun(list, from, to)
        const again = decodeRun(bytes, id, new PackTable())
        const part =
          from < to ? list.slice(list.startOf(from), list.endOf(to - 1)) : new ExtentList(stride, list.packs)
        expectSame(part, again)
        expect(again.packs.size).toBe(
          new Set([...part.pack.subarray(0, part.length)].filter((p) => p >= 0)).size,
        )
      }),
      { numRuns: 500 },
    )
  })

  it('give back the largest numbers', () => {
    const list = new ExtentList(0, samplePacks())
    list.append(2 ** 53 - 1001, 500, 0, 0xfffe, 2 ** 40 + 1)
    list.append(2 ** 53 - 401, 400, ZEROS, 0, 0)
    const { id, bytes } = encodeRun(list, 0, 2)
    expectSame(list, decodeRun(bytes, id, new PackTable()))
  })

  it('take few bytes for what follows on', () => {
    const list = new ExtentList(65_536, samplePacks())
    for (let i = 0; i < 1000; i++) list.append(i * 131_072, 65_536, 0, i, 0)
    const { bytes } = encodeRun(list, 0, list.length)
    expect(bytes.length).toBeLessThan(12 + 1 + 32 + 2 + 32 + 1000 * 3)
  })
})

describe('the golden bytes of a run', () => {
  it('are those of docs/format.md, field by field', () => {
    const packs = new PackTable()
    const list = new ExtentList(4096, packs)
    list.append(0, 12_288, packs.slotOf(A), 5, 0)
    list.append(12_288, 4096, ZEROS, 0, 0)
    list.append(20_480, 1024, packs.slotOf(B), 0, 512)
    list.append(21_504, 8192, packs.slotOf(A), 8, 0)
    const { bytes } = encodeRun(list, 0, list.length)
    const body = [
      '45564652' + '01' + '09' + '0000' + '00100000', // EVFR, version, unit 512, stride
      '02' + A + B + '04', // packs, extents
      '08' + '0a' + '18', // chunk +5, 24 units
      '01' + '08', // zeros, 8 units
      '16' + '08' + '02' + '01' + '02', // gap 8, pack +1, skip 1, 2 units
      '0c' + '01' + '10' + '10', // pack -1, chunk 8, 16 units
    ].join('')
    expect(bytesToHex(bytes)).toBe(body + sha256Hex(Buffer.from(body, 'hex')))
  })
})

describe('decodeRun on bytes that encodeRun did not make', () => {
  const packs = samplePacks()
  const list = new ExtentList(4096, packs)
  list.append(0, 12_288, 0, 5, 0)
  list.append(12_288, 4096, ZEROS, 0, 0)
  list.append(20_480, 1000, 1, 0, 500)
  const good = encodeRun(list, 0, list.length)

  it('rejects every flipped bit, every truncation, and another id', () => {
    for (let bit = 0; bit < good.bytes.length * 8; bit++)
      expect(() => decodeRun(flipped(good.bytes, bit), good.id, new PackTable())).toThrow(MalformedError)
    for (let length = 0; length < good.bytes.length; length++)
      expect(() => decodeRun(good.bytes.subarray(0, length), good.id, new PackTable())).toThrow(
        MalformedError,
      )
    expect(() => decodeRun(good.bytes, A, new PackTable())).toThrow(MalformedError)
  })

  /** A run of unit 1 and stride 4096, but for what is asked for; `extents` as bytes. */
  function forge(
    extents: number[][],
    packIds: string[] = [A],
    change: { unit?: number; stride?: number } = {},
  ) {
    const out = new BinaryWriter()
    out.bytes(Buffer.from('EVFR'))
    out.u8(1)
    out.u8(change.unit ?? 0)
    out.u16(0)
    out.u32(change.stride ?? 4096)
    out.varint(packIds.length)
    for (const id of packIds) out.bytes(Buffer.from(id, 'hex'))
    out.varint(extents.length)
    for (const extent of extents) out.bytes(Uint8Array.from(extent))
    return seal(out.view())
  }

  it.each<[string, ReturnType<typeof forge>]>([
    ['unknown flags', forge([[32, 1]])],
    ['zeros with a pack', forge([[1 | 4, 2, 1]])],
    ['zeros with a chunk', forge([[1 | 8, 2, 1]])],
    ['zeros with a skip', forge([[1 | 16, 1, 1]])],
    ['an empty extent', forge([[0, 0]])],
    ['a gap of nothing', forge([[2, 0, 1]])],
    ['a step to the same pack', forge([[4, 0, 1]])],
    ['a step to the expected chunk', forge([[8, 0, 1]])],
    ['a skip of nothing', forge([[16, 0, 1]])],
    ['a skip over a whole chunk', forge([[16, 0x80, 0x20, 1]])],
    ['a pack before the first', forge([[4, 1, 1]])],
    ['a pack after the last', forge([[4, 2, 1]])],
    ['a chunk before the first', forge([[8, 1, 1]])],
    ['a chunk that no pack numbers', forge([[8, 0xfe, 0xff, 0x07, 1]])],
    ['zeros that are not joined', forge([[1, 1], [1, 1]], [])], // biome-ignore format: one case a line
    ['chunks that are not joined', forge([[0, 0x80, 0x20], [0, 1]])], // biome-ignore format: one case a line
    ['a pack that no extent names', forge([[0, 1]], [A, B])],
    ['packs in another order', forge([[4, 2, 1], [4, 1, 1]], [A, B])], // biome-ignore format: one case a line
    ['a pack that is there twice', forge([[0, 1], [4, 2, 1]], [A, A])], // biome-ignore format: one case a line
    ['a unit that is too small', forge([[0, 2]])],
    ['an unknown unit', forge([[0, 1]], [A], { unit: 17 })],
    ['bytes that are left over', forge([[0, 1, 0]])],
    ['an end beyond 2^53', forge([[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]], [A], { unit: 4 })],
  ])('rejects %s', (_, { bytes, id }) => {
    expect(() => decodeRun(bytes, id, new PackTable())).toThrow(MalformedError)
  })

  it('takes the least run of the same kind', () => {
    const { bytes, id } = forge([[0, 1]])
    expect(decodeRun(bytes, id, new PackTable()).length).toBe(1)
  })

  it('throws MalformedError, or gives a list that encodes to the same bytes', () => {
    const extent = fc
      .tuple(fc.nat(31), fc.array(fc.nat(5), { minLength: 1, maxLength: 5 }))
      .map((all) => all.flat())
    const body = fc.record({
      extents: fc.array(extent, { maxLength: 4 }),
      ids: fc.array(fc.constantFrom(A, B), { maxLength: 2 }),
      unit: fc.constantFrom(0, 0, 1, 16),
      stride: fc.constantFrom(0, 4, 4096, 65_536),
    })
    let decoded = 0
    fc.assert(
      fc.property(body, ({ extents, ids, unit, stride }) => {
        const { bytes, id } = forge(extents, ids, { unit, stride })
        let again: ExtentList
        try {
          again = decodeRun(bytes, id, new PackTable())
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedError)
          return
        }
        decoded++
        expect(bytesToHex(encodeRun(again, 0, again.length).bytes)).toBe(bytesToHex(bytes))
      }),
      { numRuns: 20_000 },
    )
    expect(decoded).toBeGreaterThan(100)
  })

  it('does the same on a good run with some bytes changed', () => {
    const change = fc.record({ at: fc.nat(), value: fc.oneof(fc.nat(31), fc.nat(0xff)) })
    const changes = fc.array(change, { minLength: 1, maxLength: 3 })
    fc.assert(
      fc.property(sampleExtents, anyStride, changes, (extents, stride, all) => {
        const sample = listOf(extents, stride, samplePacks())
        const body = encodeRun(sample, 0, sample.length).bytes.slice(0, -32)
        for (const { at, value } of all) body[at % body.length] = value
        const { bytes, id } = seal(body)
        try {
          const again = decodeRun(bytes, id, new PackTable())
          expect(bytesToHex(encodeRun(again, 0, again.length).bytes)).toBe(bytesToHex(bytes))
        } catch (error) {
          if (!(error instanceof MalformedError)) throw error
        }
      }),
      { numRuns: 5000 },
    )
  })

  it('allocates nothing for counts that it cannot hold', () => {
    const before = process.memoryUsage().arrayBuffers
    for (const count of [1, 1000, 2 ** 31, 2 ** 32, 2 ** 53 - 1]) {
      for (const packCount of [0, count]) {
        const out = new BinaryWriter()
        out.bytes(Buffer.from('EVFR'))
        out.bytes(Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0))
        out.varint(packCount)
        out.varint(count)
        const { bytes, id } = seal(out.view())
        expect(() => decodeRun(bytes, id, new PackTable())).toThrow(MalformedError)
      }
    }
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(50e6)
  })
})
