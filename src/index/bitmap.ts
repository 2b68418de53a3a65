/** Is bit `i` set? Least significant bit of the first byte first; what lies beyond the end is not set. */
export function bitAt(bitmap: Uint8Array, i: number): boolean {
  return (((bitmap[i >>> 3] ?? 0) >>> (i & 7)) & 1) === 1
}
