import { isZero } from '../chunker/zero.js'
import { ByteExtents } from '../feed/byte-extents.js'

/** Every other stretch of zeros on the grid: a file system's holes. What else is zeros was written. */
export function someHoles(bytes: Uint8Array, grid: number): ByteExtents {
  const stretches: { offset: number; length: number }[] = []
  for (let offset = 0; offset < bytes.length; offset += grid) {
    const length = Math.min(grid, bytes.length - offset)
    if (!isZero(bytes.subarray(offset, offset + length))) continue
    const last = stretches.at(-1)
    if (last !== undefined && last.offset + last.length === offset) last.length += length
    else stretches.push({ offset, length })
  }
  return ByteExtents.from(stretches.filter((_, i) => i % 2 === 0))
}
