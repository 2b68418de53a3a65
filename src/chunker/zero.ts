/** Are all bytes zero? True of no bytes at all. */
export function isZero(bytes: Uint8Array): boolean {
  const length = bytes.length
  // Nearly all other data shows itself at one of its ends, and this is cheaper than a call out of JavaScript.
  if (length > 0 && ((bytes[0] ?? 0) | (bytes[length >> 1] ?? 0) | (bytes[length - 1] ?? 0)) !== 0)
    return false
  return isZeroInside(bytes)
}

const isZeroInside = 'Buffer' in globalThis ? comparing() : isZeroByWords

/** Node.js compares memory several times as fast as JavaScript does. */
function comparing(): (bytes: Uint8Array) => boolean {
  // Small enough to stay in a core's cache, so that comparing with it costs the reading of the data alone.
  const zeros = Buffer.alloc(16 * 1024)
  return (bytes) => {
    for (let start = 0; start < bytes.length; start += zeros.length) {
      const end = Math.min(start + zeros.length, bytes.length)
      if (zeros.compare(bytes, start, end, 0, end - start) !== 0) return false
    }
    return true
  }
}

const WORD_BYTES = 4

/** For browsers. */
export function isZeroByWords(bytes: Uint8Array): boolean {
  const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let at = 0
  for (; at + WORD_BYTES <= bytes.length; at += WORD_BYTES) if (words.getInt32(at, true) !== 0) return false
  for (; at < bytes.length; at++) if (bytes[at] !== 0) return false
  return true
}
