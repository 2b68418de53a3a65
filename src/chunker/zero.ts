/** Small enough to stay in a core's cache, so that comparing with it costs the reading of the data alone. */
const ZEROS = Buffer.alloc(16 * 1024)

/** Are all bytes zero? True of no bytes at all. */
export function isZero(bytes: Uint8Array): boolean {
  const length = bytes.length
  // Nearly all other data shows itself at one of its ends, and this is cheaper than a call out of JavaScript.
  if (length > 0 && ((bytes[0] ?? 0) | (bytes[length >> 1] ?? 0) | (bytes[length - 1] ?? 0)) !== 0)
    return false
  for (let start = 0; start < length; start += ZEROS.length) {
    const end = Math.min(start + ZEROS.length, length)
    if (ZEROS.compare(bytes, start, end, 0, end - start) !== 0) return false
  }
  return true
}
