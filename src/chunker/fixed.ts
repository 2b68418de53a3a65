/**
 * Cuts a range of a disk on the disk's absolute grid: each piece ends at a multiple of `chunkSize` or at the range's
 * end. So the same block makes the same chunk whichever range it was read in; the first and the last piece may be short.
 *
 * @param diskOffset  First byte of the range on the disk.
 * @param length  Bytes in the range.
 * @returns Lengths of the pieces in bytes, in order, none of them 0. Empty for an empty range.
 */
export function cutFixed(diskOffset: number, length: number, chunkSize: number): Uint32Array {
  if (!Number.isSafeInteger(diskOffset) || diskOffset < 0 || !Number.isSafeInteger(length) || length < 0)
    throw new RangeError(`no range of a disk: ${diskOffset}+${length}`)
  const head = Math.min(length, chunkSize - (diskOffset % chunkSize))
  const behind = length - head
  const lengths = new Uint32Array((head > 0 ? 1 : 0) + Math.ceil(behind / chunkSize)).fill(chunkSize)
  if (head > 0) lengths[0] = head
  const tail = behind % chunkSize
  if (tail > 0) lengths[lengths.length - 1] = tail
  return lengths
}
