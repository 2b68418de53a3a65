import { copyBytes } from './copy-bytes.js'

/**
 * Copies bytes of `parts`, which lie one after the other, from byte `from` of them all on.
 * @returns how many: less than there is room for only at their end
 */
export function copyParts(parts: readonly Uint8Array[], from: number, into: Uint8Array): number {
  let start = 0
  let filled = 0
  for (const part of parts) {
    if (filled === into.length) break
    const bytes = part.subarray(Math.max(from - start, 0), Math.max(from + into.length - start, 0))
    copyBytes(into, filled, bytes)
    filled += bytes.length
    start += part.length
  }
  return filled
}

/** What of `parts` comes after their first `count` bytes. */
export function skipBytes(parts: readonly Uint8Array[], count: number): Uint8Array[] {
  let index = 0
  let left = count
  for (; index < parts.length; index++) {
    const part = parts[index]
    if (part === undefined || left < part.length) break
    left -= part.length
  }
  const first = parts[index]
  return first === undefined ? [] : [first.subarray(left), ...parts.slice(index + 1)]
}
