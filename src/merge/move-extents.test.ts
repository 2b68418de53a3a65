import fc from 'fast-check'
import { expect, it } from 'vitest'
import { complaintAbout } from '../../test/format-extents.js'
import { ExtentList, ZEROS } from '../chain/extent-list.js'
import { PackTable } from '../chain/pack-table.js'
import type { PackDirectory } from '../pack/pack-format.js'
import { moveExtents } from './move-extents.js'
import { Moves } from './moves.js'

const STRIDE = 8
const [OLD, OTHER, NEW, NEWER] = ['a', 'b', 'c', 'd'].map((digit) => digit.repeat(64)) as [
  string,
  string,
  string,
  string,
]

/** As much of a directory as moving looks at. */
function directoryOf(id: string, lengths: readonly number[]): PackDirectory {
  const chunkStart = new Float64Array(lengths.length + 1)
  for (const [i, length] of lengths.entries()) chunkStart[i + 1] = (chunkStart[i] ?? 0) + length
  const partial: Partial<PackDirectory> = {
    id,
    chunkCount: lengths.length,
    chunkLength: Uint32Array.from(lengths),
    chunkStart,
  }
  return partial as PackDirectory
}

/** One name for each byte of a list: that of a byte of an old pack, wherever it lies now. */
function bytesOf(
  list: ExtentList,
  nameOf: (packId: string, position: number) => string,
  starts: Starts,
): string[] {
  const names: string[] = []
  for (let i = 0; i < list.length; i++) {
    const slot = list.pack[i] ?? ZEROS
    const id = slot === ZEROS ? '' : list.packs.idOf(slot)
    const position = slot === ZEROS ? 0 : (starts(id)[list.chunk[i] ?? 0] ?? Number.NaN) + (list.skip[i] ?? 0)
    for (let n = 0; n < (list.size[i] ?? 0); n++)
      names[list.startOf(i) + n] = slot === ZEROS ? 'zero' : nameOf(id, position + n)
  }
  return names
}

type Starts = (packId: string) => ArrayLike<number>

const anyCase = fc
  .record({
    stride: fc.constantFrom(0, STRIDE),
    lengths: fc.array(fc.oneof(fc.constant(STRIDE), fc.integer({ min: 1, max: STRIDE })), {
      minLength: 1,
      maxLength: 8,
    }),
    /** Where each chunk goes: nowhere, or one of two packs, in the order of the ranks. */
    goes: fc.array(fc.integer({ min: -1, max: 1 }), { minLength: 8, maxLength: 8 }),
    ranks: fc.array(fc.nat(100), { minLength: 8, maxLength: 8 }),
    /** Mostly it is in order that chunks were written and are written again. */
    inOrder: fc.boolean(),
    pieces: fc.array(
      fc.record({
        kind: fc.constantFrom('zeros', 'other', 'old', 'old', 'old', 'next', 'next'),
        gap: fc.constantFrom(0, 0, 0, 2),
        chunk: fc.nat(7),
        skip: fc.constantFrom(0, 0, 0, 1, 3),
        size: fc.integer({ min: 1, max: 3 * STRIDE }),
        /** To the end of the chunk. */
        whole: fc.boolean(),
      }),
      { maxLength: 10 },
    ),
  })
  .map((sample) => ({ ...sample, ranks: sample.inOrder ? sample.ranks.map((_, i) => i) : sample.ranks }))

it('gives each byte of the disk the same byte as before, from where its chunk lies now', () => {
  fc.assert(
    fc.property(anyCase, ({ stride, lengths, goes, ranks, pieces }) => {
      const old = directoryOf(OLD, lengths)
      const other = directoryOf(
        OTHER,
        Array.from({ length: 20 }, () => STRIDE),
      )
      const moves = new Moves([old])
      const written = new Map<string, number[]>()
      for (const [number, id] of [NEW, NEWER].entries()) {
        const chunks = lengths
          .map((_, chunk) => chunk)
          .filter((chunk) => goes[chunk] === number)
          .sort((a, b) => (ranks[a] ?? 0) - (ranks[b] ?? 0))
        moves.add(
          id,
          chunks.map((chunk) => ({ packId: OLD, chunk })),
        )
        written.set(id, chunks)
      }
      const starts: Starts = (id) =>
        id === OLD
          ? old.chunkStart
          : id === OTHER
            ? other.chunkStart
            : directoryOf(
                id,
                (written.get(id) ?? []).map((chunk) => lengths[chunk] ?? 0),
              ).chunkStart
      const nameOf = (id: string, position: number): string => {
        const chunks = written.get(id)
        if (chunks === undefined) return `${id.slice(0, 1)} ${position}`
        let at = position
        for (const chunk of chunks) {
          if (at < (lengths[chunk] ?? 0)) return `a ${(old.chunkStart[chunk] ?? 0) + at}`
          at -= lengths[chunk] ?? 0
        }
        return 'beyond its end'
      }
      const list = listOf(stride, old, pieces)
      const before = bytesOf(list, nameOf, starts)
      const moved = moveExtents(list, moves)
      expect(bytesOf(moved, nameOf, starts)).toEqual(before)
      expect(moved.totalBytes).toBe(list.totalBytes)
      expect(complaintAbout(moved)).toBeUndefined()
      for (let i = 0; i < moved.length; i++) {
        const slot = moved.pack[i] ?? ZEROS
        if (slot === ZEROS || moved.packs.idOf(slot) !== OLD) continue
        expect(goes[moved.chunk[i] ?? 0]).toBe(-1)
      }
    }),
    { numRuns: 5000 },
  )
})

it('joins what follows each other in the new pack, however it was scattered over the old ones', () => {
  const [one, two] = [directoryOf(OLD, [5, 6, 7]), directoryOf(OTHER, [3, 4])]
  const moves = new Moves([one, two])
  moves.add(NEW, [
    { packId: OTHER, chunk: 1 },
    { packId: OLD, chunk: 2 },
    { packId: OTHER, chunk: 0 },
    { packId: OLD, chunk: 0 },
  ])
  const packs = new PackTable()
  const list = new ExtentList(0, packs)
  list.append(0, 4, packs.slotOf(OTHER), 1, 0)
  list.append(4, 7, packs.slotOf(OLD), 2, 0)
  list.append(11, 3, packs.slotOf(OTHER), 0, 0)
  list.append(14, 5, packs.slotOf(OLD), 0, 0)
  const moved = moveExtents(list, moves)
  expect([moved.length, moved.size[0], moved.chunk[0], moved.skip[0]]).toEqual([1, 19, 0, 0])
  expect(packs.idOf(moved.pack[0] ?? -1)).toBe(NEW)
})

/** What a run may say: where there is a stride, just the last chunk of an extent may be shorter. */
function listOf(
  stride: number,
  old: PackDirectory,
  pieces: readonly {
    readonly kind: string
    readonly gap: number
    readonly chunk: number
    readonly skip: number
    readonly size: number
    readonly whole: boolean
  }[],
): ExtentList {
  const list = new ExtentList(stride, new PackTable())
  const total = old.chunkStart[old.chunkCount] ?? 0
  let next = 0
  for (const { kind, gap, chunk, skip, size, whole } of pieces) {
    const offset = list.end + gap
    if (kind === 'zeros') list.append(offset, size, ZEROS, 0, 0)
    else if (kind === 'other') list.append(offset, size, list.packs.slotOf(OTHER), chunk, skip % STRIDE)
    else {
      const first = (kind === 'next' ? next : chunk) % old.chunkCount
      const length = old.chunkLength[first] ?? 0
      const from = kind === 'next' ? 0 : skip % length
      const begin = (old.chunkStart[first] ?? 0) + from
      const most = stride > 0 ? length - from : total - begin
      const taken = whole ? length - from : Math.min(size, most)
      list.append(offset, taken, list.packs.slotOf(OLD), first, from)
      next = whole ? first + 1 : first
    }
  }
  return list
}
