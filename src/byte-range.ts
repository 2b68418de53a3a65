/** Bytes [offset, offset + length) of a disk. */
export interface ByteRange {
  readonly offset: number
  readonly length: number
}

/** What of a disk is not in its holes: sorted, apart. */
export function* withoutHoles(
  sizeBytes: number,
  holes: Iterable<ByteRange>,
): Generator<ByteRange, void, undefined> {
  let at = 0
  for (const { offset, length } of holes) {
    if (offset > at) yield { offset: at, length: offset - at }
    at = offset + length
  }
  if (at < sizeBytes) yield { offset: at, length: sizeBytes - at }
}
