/** Bytes [offset, offset + length) of a disk. */
export interface ByteRange {
  readonly offset: number
  readonly length: number
}

/** Of all of them together. */
export function bytesIn(ranges: Iterable<ByteRange>): number {
  let bytes = 0
  for (const { length } of ranges) bytes += length
  return bytes
}

/**
 * What of a disk is sent where a feed names what changed since the point before: that, and what the disk has grown by. Sorted and apart, as
 * `changed` has to be.
 * @param previousBytes  of the disk at that point: what lies beyond it is not there yet, whatever the feed says of it
 * @returns what can be gone through again and again; each range is made when it is its turn
 */
export function fedRanges(
  changed: Iterable<ByteRange>,
  sizeBytes: number,
  previousBytes: number,
): Iterable<ByteRange> {
  const lasting = repeatable(changed)
  return eachTime(function* () {
    for (const { offset, length } of lasting)
      if (offset < previousBytes) yield { offset, length: Math.min(length, previousBytes - offset) }
    if (previousBytes < sizeBytes) yield { offset: previousBytes, length: sizeBytes - previousBytes }
  })
}

/**
 * What of some ranges is in holes of the disk, and what is not: both sorted and apart, as `ranges` and `holes` have to be.
 * A range may be in several parts then.
 * @returns what can be gone through again and again; each range is made when it is its turn, since there may be millions
 */
export function splitByHoles(
  ranges: Iterable<ByteRange>,
  holes: Iterable<ByteRange>,
): { readonly data: Iterable<ByteRange>; readonly zeros: Iterable<ByteRange> } {
  const [wanted, gaps] = [repeatable(ranges), repeatable(holes)]
  return {
    data: eachTime(() => partsOf(wanted, gaps, false)),
    zeros: eachTime(() => partsOf(wanted, gaps, true)),
  }
}

function* partsOf(
  ranges: Iterable<ByteRange>,
  holes: Iterable<ByteRange>,
  inHoles: boolean,
): Generator<ByteRange, void, undefined> {
  const following = holes[Symbol.iterator]()
  const next = (): ByteRange | undefined => {
    const step = following.next()
    return step.done === true ? undefined : step.value
  }
  let hole = next()
  for (const { offset, length } of ranges) {
    const end = offset + length
    for (let at = offset; at < end; ) {
      while (hole !== undefined && hole.offset + hole.length <= at) hole = next()
      const isInHole = hole !== undefined && hole.offset <= at
      const to = Math.min(end, hole === undefined ? end : isInHole ? hole.offset + hole.length : hole.offset)
      if (isInHole === inHoles) yield { offset: at, length: to - at }
      at = to
    }
  }
}

function eachTime(generate: () => Iterator<ByteRange, void, undefined>): Iterable<ByteRange> {
  return { [Symbol.iterator]: generate }
}

/** What a generator gives can be gone through once: it is kept. */
function repeatable(ranges: Iterable<ByteRange>): Iterable<ByteRange> {
  return 'next' in ranges ? [...ranges] : ranges
}
