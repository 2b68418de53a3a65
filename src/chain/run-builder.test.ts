import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { complaintAbout } from '../../test/format-extents.js'
import { ZEROS } from './extent-list.js'
import { PackTable } from './pack-table.js'
import { RunBuilder } from './run-builder.js'

const [A, B] = ['a'.repeat(64), 'b'.repeat(64)] as const
const DISK = 400
/** Chunk lengths of both packs. With a stride they are all the same. */
const LENGTHS = [5, 9, 3, 12, 7, 1, 8, 4]

interface Arrival {
  readonly offset: number
  readonly pack: number
  readonly chunk: number
}

const arrival: fc.Arbitrary<Arrival> = fc.record({
  offset: fc.nat(DISK - 20),
  pack: fc.integer({ min: ZEROS, max: 1 }),
  chunk: fc.nat(LENGTHS.length - 1),
})

/** Where a chunk begins in its pack. */
function startOf(chunk: number, lengths: readonly number[]): number {
  return lengths.slice(0, chunk).reduce((sum, length) => sum + length, 0)
}

describe('RunBuilder', () => {
  it.each([0, 6])('holds what came last for each byte, in whatever order it came (stride %i)', (stride) => {
    const lengths = stride > 0 ? LENGTHS.map(() => stride) : LENGTHS
    const follow = fc.array(fc.tuple(arrival, fc.nat(5)), { maxLength: 12 })
    fc.assert(
      fc.property(follow, (arrivals) => {
        const packs = new PackTable()
        const slots = [packs.reserve(), packs.reserve()]
        const builder = new RunBuilder(stride, packs)
        const model = new Array<string>(DISK).fill('gap')
        for (const [{ offset, pack, chunk }, times] of arrivals) {
          // A sequence, as data comes: several chunks of a pack that follow each other.
          let at = offset
          for (let n = chunk; n <= chunk + times && n < lengths.length; n++) {
            const length = Math.min(lengths[n]!, DISK - at)
            if (length < lengths[n]!) break
            if (pack === ZEROS) builder.zeros(at, length)
            else builder.chunk(at, length, slots[pack]!, n)
            for (let i = 0; i < length; i++)
              model[at + i] = pack === ZEROS ? 'zeros' : `${'ab'[pack] ?? ''} ${startOf(n, lengths) + i}`
            at += length
          }
        }
        packs.name(slots[0]!, A)
        packs.name(slots[1]!, B)
        const list = builder.finish()
        expect(complaintAbout(list)).toBeUndefined()
        const found = new Array<string>(DISK).fill('gap')
        for (let i = 0; i < list.length; i++)
          for (let n = 0; n < list.size[i]!; n++)
            found[list.startOf(i) + n] =
              list.pack[i] === ZEROS
                ? 'zeros'
                : `${packs.idOf(list.pack[i]!)[0] ?? ''} ${startOf(list.chunk[i]!, lengths) + list.skip[i]! + n}`
        expect(found).toEqual(model)
      }),
      { numRuns: 1000 },
    )
  })

  it('makes one extent of chunks of varying lengths that follow each other', () => {
    const packs = new PackTable()
    const slot = packs.slotOf(A)
    const builder = new RunBuilder(0, packs)
    builder.chunk(0, 10, slot, 3)
    builder.chunk(10, 20, slot, 4)
    builder.chunk(30, 5, slot, 5)
    builder.chunk(35, 5, slot, 7)
    const list = builder.finish()
    expect([...list.size.subarray(0, list.length)]).toEqual([35, 5])
    expect([...list.chunk.subarray(0, list.length)]).toEqual([3, 7])
  })

  it('joins chunks of a pack that was known already when it got its name', () => {
    const packs = new PackTable()
    const known = packs.slotOf(A)
    const reserved = packs.reserve()
    const builder = new RunBuilder(10, packs)
    builder.chunk(0, 10, known, 0)
    builder.chunk(10, 10, reserved, 1)
    packs.name(reserved, A)
    expect(builder.finish().length).toBe(1)
  })

  it('gives an empty list when nothing came', () => {
    expect(new RunBuilder(4096, new PackTable()).finish().length).toBe(0)
  })
})
