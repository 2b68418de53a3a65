/** A run of a disk's bytes. */
export interface ByteExtent {
  /** First byte. */
  readonly offset: number
  /** Bytes. */
  readonly length: number
}

/**
 * A list of byte extents as two parallel arrays: 16 bytes per extent, where objects would take some 70 and a
 * feed may name millions. Float64 holds every offset exactly up to 2^53, far beyond any disk.
 */
export class ByteExtents implements Iterable<ByteExtent> {
  readonly offsets: Float64Array
  readonly lengths: Float64Array

  /** `offsets[i]` and `lengths[i]` (bytes) make up extent `i`; the arrays are kept, not copied. */
  constructor(offsets: Float64Array, lengths: Float64Array) {
    if (offsets.length !== lengths.length) throw new TypeError('offsets and lengths differ in number')
    this.offsets = offsets
    this.lengths = lengths
  }

  static from(extents: Iterable<ByteExtent>): ByteExtents {
    const builder = new ByteExtentsBuilder()
    for (const { offset, length } of extents) builder.add(offset, length)
    return builder.build()
  }

  /** Number of extents. */
  get count(): number {
    return this.offsets.length
  }

  /** First byte of extent `index`. */
  offset(index: number): number {
    return this.offsets[index] ?? outOfRange(index)
  }

  /** Bytes in extent `index`. */
  length(index: number): number {
    return this.lengths[index] ?? outOfRange(index)
  }

  /** First byte after extent `index`. */
  end(index: number): number {
    return this.offset(index) + this.length(index)
  }

  *[Symbol.iterator](): IterableIterator<ByteExtent> {
    for (let i = 0; i < this.count; i++) yield { offset: this.offset(i), length: this.length(i) }
  }
}

/** Collects extents one by one. Amortised constant time and at most twice the memory of the result. */
export class ByteExtentsBuilder {
  #offsets = new Float64Array(64)
  #lengths = new Float64Array(64)
  #count = 0

  get count(): number {
    return this.#count
  }

  add(offset: number, length: number): void {
    if (this.#count === this.#offsets.length) {
      this.#offsets = grown(this.#offsets)
      this.#lengths = grown(this.#lengths)
    }
    this.#offsets[this.#count] = offset
    this.#lengths[this.#count] = length
    this.#count++
  }

  /** What was added so far. Views, not copies: add nothing afterwards. */
  build(): ByteExtents {
    return new ByteExtents(this.#offsets.subarray(0, this.#count), this.#lengths.subarray(0, this.#count))
  }
}

/**
 * The same bytes as a sorted list of extents that neither overlap nor touch; empty extents are dropped.
 * O(n log n), O(n) where the list is in that form already (most feeds are), and then returned as it is.
 *
 * @param extents  In any order. Offsets and lengths are non-negative integers whose sum is exact (at most 2^53).
 */
export function normalise(extents: ByteExtents): ByteExtents {
  if (isNormal(extents)) return extents
  const { starts, ends } = sortedEdges(extents)
  const merged = new ByteExtentsBuilder()
  let open = starts[0]
  if (open === undefined) return merged.build()
  // Starts and ends are sorted apart from each other. A gap lies before the k-th start exactly where the k extents
  // that start earlier have all ended before it, and they have exactly when the k-th smallest end lies before it:
  // any extent that ended there also started there. So no start needs to know its own end.
  for (let k = 1; k <= starts.length; k++) {
    const ended = ends[k - 1] ?? outOfRange(k)
    const start = starts[k] ?? Number.POSITIVE_INFINITY
    if (ended >= start) continue
    merged.add(open, ended - open)
    open = start
  }
  return merged.build()
}

/** Bytes in all extents together; a byte that two extents cover counts twice, so normalise first. */
export function totalBytes(extents: ByteExtents): number {
  let total = 0
  for (const length of extents.lengths) total += length
  return total
}

/** What of `extents` lies in a disk of `sizeBytes`, in the same order; extents entirely beyond it are dropped. */
export function clip(extents: ByteExtents, sizeBytes: number): ByteExtents {
  const clipped = new ByteExtentsBuilder()
  for (let i = 0; i < extents.count; i++) {
    const offset = extents.offset(i)
    const length = Math.min(extents.length(i), sizeBytes - offset)
    if (length > 0) clipped.add(offset, length)
  }
  return clipped.build()
}

function isNormal(extents: ByteExtents): boolean {
  let previousEnd = -1
  for (let i = 0; i < extents.count; i++) {
    if (extents.length(i) === 0 || extents.offset(i) <= previousEnd) return false
    previousEnd = extents.end(i)
  }
  return true
}

/** Starts and ends of the extents that are not empty, each sorted (typed arrays sort natively, without a callback). */
function sortedEdges(extents: ByteExtents): { starts: Float64Array; ends: Float64Array } {
  const starts = new Float64Array(extents.count)
  const ends = new Float64Array(extents.count)
  let kept = 0
  for (let i = 0; i < extents.count; i++) {
    if (extents.length(i) === 0) continue
    starts[kept] = extents.offset(i)
    ends[kept] = extents.end(i)
    kept++
  }
  return { starts: starts.subarray(0, kept).sort(), ends: ends.subarray(0, kept).sort() }
}

function grown(array: Float64Array<ArrayBuffer>): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(array.length * 2)
  larger.set(array)
  return larger
}

function outOfRange(index: number): never {
  throw new RangeError(`no extent ${index}`)
}
