/** Extent lists against a model: what each byte of a small disk holds. */

import fc from 'fast-check'
import { ExtentList, ZEROS } from '../src/chain/extent-list.js'
import { PackTable } from '../src/chain/pack-table.js'

/** In the model: nothing is known of the byte. */
export const GAP = -2
export const DISK_BYTES = 160
const PACK_SPAN = 1e6
const CHUNK_SPAN = 1e3

export interface SampleExtent {
  readonly gap: number
  readonly size: number
  /** Joins with the extent before, if that is of the same kind and no gap lies between. */
  readonly follows: boolean
  readonly pack: number
  readonly chunk: number
  readonly skip: number
}

export const sampleExtents: fc.Arbitrary<SampleExtent[]> = fc.array(
  fc.record({
    gap: fc.constantFrom(0, 0, 0, 1, 3, 8),
    size: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.constantFrom(4, 8)),
    follows: fc.boolean(),
    pack: fc.integer({ min: ZEROS, max: 2 }),
    chunk: fc.nat(5),
    skip: fc.constantFrom(0, 0, 1, 3),
  }),
  { maxLength: 12 },
)

/** A table with packs 0 to 2. */
export function samplePacks(): PackTable {
  const packs = new PackTable()
  for (const digit of 'abc') packs.slotOf(digit.repeat(64))
  return packs
}

export function listOf(extents: readonly SampleExtent[], stride: number, packs: PackTable): ExtentList {
  const list = new ExtentList(stride, packs, 1)
  let last: { pack: number; chunk: number; skip: number } | undefined
  for (const extent of extents) {
    const offset = list.end + extent.gap
    const size = Math.min(extent.size, DISK_BYTES - offset)
    if (size <= 0) break
    const { pack, chunk, skip } = extent.follows && last !== undefined ? last : extent
    list.append(offset, size, pack, chunk, skip)
    const end = skip + size
    last =
      stride > 0
        ? { pack, chunk: chunk + Math.floor(end / stride), skip: end % stride }
        : { pack, chunk, skip: end }
  }
  return list
}

/** One number a byte: GAP, ZEROS, or one that stands for its place in a pack. */
export function modelOf(list: ExtentList): number[] {
  const model = new Array<number>(DISK_BYTES).fill(GAP)
  for (let i = 0; i < list.length; i++) {
    const pack = list.pack[i] ?? 0
    const chunk = list.chunk[i] ?? 0
    const origin =
      pack * PACK_SPAN + chunk * (list.stride > 0 ? list.stride : CHUNK_SPAN) + (list.skip[i] ?? 0)
    for (let n = 0; n < (list.size[i] ?? 0); n++)
      model[list.startOf(i) + n] = pack === ZEROS ? ZEROS : origin + n
  }
  return model
}

/** What is wrong with the form of a list, if anything: its order, or neighbours that could be one extent. */
export function complaintAbout(list: ExtentList): string | undefined {
  for (let i = 0; i < list.length; i++) {
    if ((list.size[i] ?? 0) <= 0) return `extent ${i} is empty`
    if (list.stride > 0 && (list.skip[i] ?? 0) >= list.stride) return `extent ${i} skips a chunk`
    if (list.pack[i] === ZEROS && (list.chunk[i] !== 0 || list.skip[i] !== 0))
      return `zeros ${i} name a chunk`
    if (i === 0) continue
    if (list.startOf(i) < list.endOf(i - 1)) return `extent ${i} overlaps the one before`
    if (list.startOf(i) > list.endOf(i - 1) || list.pack[i] !== list.pack[i - 1]) continue
    if (list.pack[i] === ZEROS) return `zeros ${i} are not joined`
    const step = (list.chunk[i] ?? 0) - (list.chunk[i - 1] ?? 0)
    const end = (list.skip[i - 1] ?? 0) + (list.size[i - 1] ?? 0)
    const continues =
      list.stride > 0 ? step * list.stride + (list.skip[i] ?? 0) === end : step === 0 && list.skip[i] === end
    if (continues) return `extent ${i} continues the one before`
  }
  return undefined
}

export const anyStride = fc.constantFrom(0, 4, 7)
