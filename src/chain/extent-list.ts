import type { PackTable } from './pack-table.js'

/** Stands in place of a pack slot for an extent of zeros. */
export const ZEROS = -1
/** Stands in place of a pack slot, in sessions only, for what is as it was at the newest point. Never written into a run. */
export const SAME = -2

/**
 * A sorted, non-overlapping list of extents of one disk, as parallel arrays (32 bytes an extent, no objects). Offsets,
 * lengths and skips in bytes.
 *
 * An extent with `pack` ≥ 0 is `length` bytes from byte `skip` on of the concatenated plain chunks of that pack,
 * starting at chunk number `chunk`. Where `stride` > 0 every chunk of an extent but its last is exactly `stride` bytes long,
 * so extents can be split and joined by arithmetic alone, and `skip` < `stride`. Where `stride` is 0 (content-defined
 * chunks) lengths vary, `skip` may reach beyond the first chunk, and only the pack's directory tells which chunks are meant.
 */
export class ExtentList {
  readonly stride: number
  readonly packs: PackTable
  length = 0
  offset: Float64Array
  size: Float64Array
  pack: Int32Array
  chunk: Uint32Array
  skip: Float64Array

  constructor(stride: number, packs: PackTable, capacity = 16) {
    this.stride = stride
    this.packs = packs
    this.offset = new Float64Array(capacity)
    this.size = new Float64Array(capacity)
    this.pack = new Int32Array(capacity)
    this.chunk = new Uint32Array(capacity)
    this.skip = new Float64Array(capacity)
  }

  /** Start of extent i; Infinity past the end, so that merges need no special case. */
  startOf(i: number): number {
    return i < this.length ? (this.offset[i] ?? 0) : Infinity
  }

  endOf(i: number): number {
    return (this.offset[i] ?? 0) + (this.size[i] ?? 0)
  }

  /** End of the last extent, 0 for an empty list. */
  get end(): number {
    return this.length === 0 ? 0 : this.endOf(this.length - 1)
  }

  /** Bytes that the extents cover. */
  get totalBytes(): number {
    let total = 0
    for (let i = 0; i < this.length; i++) total += this.size[i] ?? 0
    return total
  }

  /**
   * Appends an extent after all others, joined with the last one where it continues the same zeros or chunks.
   * `offset` must not lie before {@link end}.
   */
  append(offset: number, size: number, pack: number, chunk: number, skip: number): void {
    if (size <= 0) return
    const last = this.length - 1
    const end = this.end
    if (offset < end) throw new RangeError(`extent at ${offset} appended before ${end}`)
    if (offset === end && last >= 0 && this.pack[last] === pack && this.#continues(last, pack, chunk, skip)) {
      this.size[last] = (this.size[last] ?? 0) + size
      return
    }
    this.#reserve(1)
    const at = this.length++
    this.offset[at] = offset
    this.size[at] = size
    this.pack[at] = pack
    this.chunk[at] = pack < 0 ? 0 : chunk
    this.skip[at] = pack < 0 ? 0 : skip
  }

  /** Appends extents [from, to) of another list with the same stride and pack table: as they are, since in that list they are joined. */
  appendAll(list: ExtentList, from = 0, to = list.length): void {
    if (from >= to) return
    this.appendPart(list, from, list.startOf(from), list.endOf(from))
    const rest = to - from - 1
    this.#reserve(rest)
    const { offset, size, pack, chunk, skip } = this
    for (let i = from + 1, at = this.length; i < to; i++, at++) {
      offset[at] = list.offset[i] ?? 0
      size[at] = list.size[i] ?? 0
      pack[at] = list.pack[i] ?? 0
      chunk[at] = list.chunk[i] ?? 0
      skip[at] = list.skip[i] ?? 0
    }
    this.length += rest
  }

  /** Appends the part of extent `i` of `from` (same stride and pack table) that lies in [start, end). */
  appendPart(from: ExtentList, i: number, start: number, end: number): void {
    const begin = from.offset[i] ?? 0
    const pack = from.pack[i] ?? ZEROS
    const cut = start - begin
    if (pack < 0) {
      this.append(start, end - start, pack, 0, 0)
      return
    }
    let chunk = from.chunk[i] ?? 0
    let skip = (from.skip[i] ?? 0) + cut
    if (this.stride > 0 && cut > 0) {
      chunk += Math.floor(skip / this.stride)
      skip %= this.stride
    }
    this.append(start, end - start, pack, chunk, skip)
  }

  /** The extent that covers `position`, or the first one after it; `length` if there is none. Binary search. */
  indexAt(position: number): number {
    let low = 0
    let high = this.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.endOf(middle) <= position) low = middle + 1
      else high = middle
    }
    return low
  }

  /** The part of the list within [start, end), cut at the borders. */
  slice(start: number, end: number): ExtentList {
    const out = new ExtentList(this.stride, this.packs)
    const first = this.indexAt(start)
    const last = this.indexAt(end)
    if (first < last) {
      out.appendPart(this, first, Math.max(start, this.startOf(first)), this.endOf(first))
      out.appendAll(this, first + 1, last)
    }
    if (this.startOf(last) < end) out.appendPart(this, last, Math.max(start, this.startOf(last)), end)
    return out
  }

  #continues(last: number, pack: number, chunk: number, skip: number): boolean {
    if (pack < 0) return true
    const lastChunk = this.chunk[last] ?? 0
    const lastEnd = (this.skip[last] ?? 0) + (this.size[last] ?? 0)
    if (this.stride > 0) return (chunk - lastChunk) * this.stride + skip === lastEnd
    return chunk === lastChunk && skip === lastEnd
  }

  #reserve(count: number): void {
    if (this.length + count <= this.offset.length) return
    const capacity = Math.max(16, this.offset.length * 2, this.length + count)
    this.offset = enlarge(this.offset, new Float64Array(capacity))
    this.size = enlarge(this.size, new Float64Array(capacity))
    this.pack = enlarge(this.pack, new Int32Array(capacity))
    this.chunk = enlarge(this.chunk, new Uint32Array(capacity))
    this.skip = enlarge(this.skip, new Float64Array(capacity))
  }
}

function enlarge<T extends Float64Array | Int32Array | Uint32Array>(from: T, to: T): T {
  to.set(from)
  return to
}
