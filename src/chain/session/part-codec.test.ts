import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MalformedError } from '../../binary.js'
import { sha256 } from '../../checksum.js'
import { ExtentList, SAME, ZEROS } from '../extent-list.js'
import { PackTable } from '../pack-table.js'
import { decodePart, encodePart, type Part } from './part-codec.js'

const SERIES = '00112233445566ff'
const STRIDE = 4096

interface Piece {
  readonly gap: number
  readonly size: number
  readonly what: number
}

const piece = fc.record({
  gap: fc.oneof(fc.constant(0), fc.nat(2 ** 40)),
  size: fc.integer({ min: 1, max: 2 ** 20 }),
  what: fc.integer({ min: SAME, max: 3 }),
})
const figure = fc.nat(Number.MAX_SAFE_INTEGER)
const figures = fc.record({
  receivedBytes: figure,
  changedBytes: figure,
  newBytes: figure,
  storedBytes: figure,
})

/** Extents of chunks lie in cells of their own; what they are is told by `what`. */
function listOf(pieces: readonly Piece[], packs: PackTable, stride: number): ExtentList {
  const list = new ExtentList(stride, packs)
  for (const [i, { gap, size, what }] of pieces.entries()) {
    const isChunk = what > ZEROS
    const offset = list.end + gap
    const pack = isChunk ? packs.slotOf(`${what}`.repeat(64)) : what
    list.append(offset, size, pack, isChunk ? i * 50 : 0, isChunk ? i % STRIDE : 0)
  }
  return list
}

function tables(stride: number): (disk: number) => { packs: PackTable; stride: number } | undefined {
  const packs = new PackTable()
  return (disk) => (disk < 3 ? { packs, stride } : undefined)
}

function plain({ disk, figures: told, extents }: Part): unknown {
  const rows = Array.from({ length: extents.length }, (_, i) => {
    const slot = extents.pack[i] ?? ZEROS
    const what = slot < 0 ? slot : extents.packs.idOf(slot)
    return [extents.offset[i], extents.size[i], what, extents.chunk[i], extents.skip[i]]
  })
  return { disk, told, rows }
}

const part = fc.record({
  number: fc.nat(2 ** 32 - 1),
  disk: fc.nat(2),
  figures,
  pieces: fc.array(piece, { minLength: 1, maxLength: 30 }),
  stride: fc.constantFrom(0, STRIDE),
})

describe('a part of a session', () => {
  it('is decoded to what was encoded', () => {
    fc.assert(
      fc.property(part, ({ number, disk, figures: told, pieces, stride }) => {
        const header = { series: SERIES, number }
        const given = { disk, figures: told, extents: listOf(pieces, new PackTable(), stride) }
        const bytes = encodePart(header, given)
        expect(plain(decodePart(bytes, header, tables(stride)))).toEqual(plain(given))
        for (const wrong of [
          { series: SERIES, number: number ^ 1 },
          { series: SERIES.replace('0', '1'), number },
        ])
          expect(() => decodePart(bytes, wrong, tables(stride))).toThrow(MalformedError)
        expect(() => decodePart(bytes, header, tables(stride === 0 ? STRIDE : 0))).toThrow(MalformedError)
      }),
    )
  })

  it('is malformed with any byte changed, added or left out', () => {
    fc.assert(
      fc.property(part, fc.nat(), fc.integer({ min: 1, max: 255 }), (one, place, change) => {
        const header = { series: SERIES, number: one.number }
        const extents = listOf(one.pieces, new PackTable(), one.stride)
        const bytes = encodePart(header, { disk: one.disk, figures: one.figures, extents })
        const at = place % bytes.length
        const changed = Uint8Array.from(bytes)
        changed[at] = (changed[at] ?? 0) ^ change
        const others = [changed, bytes.subarray(0, at), bytes.subarray(at + 1), Buffer.concat([bytes, bytes])]
        for (const other of others)
          expect(() => decodePart(other, header, tables(one.stride))).toThrow(MalformedError)
      }),
    )
  })

  it('of any content whose checksums are right is taken only if it could have been written, and else malformed', () => {
    const change = fc.tuple(fc.nat(), fc.uint8Array({ maxLength: 12 }), fc.nat(12))
    let taken = 0
    fc.assert(
      fc.property(
        part,
        fc.array(change, { minLength: 1, maxLength: 3 }),
        fc.boolean(),
        (one, changes, inRun) => {
          const header = { series: SERIES, number: one.number }
          const extents = listOf(one.pieces, new PackTable(), one.stride)
          let body = Buffer.from(encodePart(header, { disk: one.disk, figures: one.figures, extents }))
          body = body.subarray(0, body.length - 32)
          if (inRun) body = body.subarray(0, body.length - 32)
          const runFrom = body.indexOf('EVFR')
          for (const [place, added, left] of changes) {
            const at = 20 + (place % Math.max(1, body.length - 20))
            body = Buffer.concat([body.subarray(0, at), added, body.subarray(at + left)])
          }
          // The run has a checksum of its own.
          if (inRun) body = Buffer.concat([body, sha256(body.subarray(Math.min(runFrom, body.length)))])
          const bytes = Buffer.concat([body, sha256(body)])
          try {
            const decoded = decodePart(bytes, header, tables(one.stride))
            taken++
            expect(decoded.extents.end).toBeLessThanOrEqual(Number.MAX_SAFE_INTEGER)
            expect(plain(decodePart(encodePart(header, decoded), header, tables(one.stride)))).toEqual(
              plain(decoded),
            )
          } catch (error) {
            if (!(error instanceof MalformedError)) throw error
          }
        },
      ),
      { numRuns: 2000 },
    )
    expect(taken).toBeGreaterThan(0)
  })
})
