/** Bytes [offset, offset + length) of a disk. */
export interface ByteRange {
  readonly offset: number
  readonly length: number
}
