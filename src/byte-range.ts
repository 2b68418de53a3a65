/** Bytes [offset, offset + length) of a disk. */
export interface ByteRange {
  readonly offset: number
  readonly length: number
}

/** Of all of them together. */
export function bytesIn(ranges: readonly ByteRange[]): number {
  return ranges.reduce((sum, { length }) => sum + length, 0)
}

/**
 * What of a disk is sent where a feed names what changed since the point before: that, and what the disk has grown by. Sorted and apart, as
 * `changed` has to be.
 * @param previousBytes  of the disk at that point: what lies beyond it is not there yet, whatever the feed says of it
 */
export function fedRanges(
  changed: Iterable<ByteRange>,
  sizeBytes: number,
  previousBytes: number,
): ByteRange[] {
  const ranges: ByteRange[] = []
  for (const { offset, length } of changed)
    if (offset < previousBytes) ranges.push({ offset, length: Math.min(length, previousBytes - offset) })
  if (previousBytes < sizeBytes) ranges.push({ offset: previousBytes, length: sizeBytes - previousBytes })
  return ranges
}

/**
 * What of some ranges is in holes of the disk, and what is not: both sorted and apart, as `ranges` and `holes` have to be.
 * A range may be in several parts then.
 */
export function splitByHoles(
  ranges: Iterable<ByteRange>,
  holes: Iterable<ByteRange>,
): { readonly data: ByteRange[]; readonly zeros: ByteRange[] } {
  const data: ByteRange[] = []
  const zeros: ByteRange[] = []
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
      const holeStart = Math.min(hole?.offset ?? end, end)
      if (at < holeStart) {
        data.push({ offset: at, length: holeStart - at })
        at = holeStart
      } else if (hole !== undefined) {
        const to = Math.min(hole.offset + hole.length, end)
        zeros.push({ offset: at, length: to - at })
        at = to
      }
    }
  }
  return { data, zeros }
}
