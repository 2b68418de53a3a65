/** Bytes [offset, offset + length) of a disk. */
export interface ByteRange {
  readonly offset: number
  readonly length: number
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
