export const HASH_BYTES = 32

/** The SHA-256 number `index` as a string, a character a byte: what chunks are told apart by, also as keys. */
export function nameAt(hashes: Uint8Array, index: number): string {
  return String.fromCharCode(...hashes.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES))
}

/** The hashes of these names, one after the other. */
export function hashesOf(names: readonly string[]): Uint8Array {
  const hashes = new Uint8Array(names.length * HASH_BYTES)
  for (const [i, name] of names.entries())
    for (let at = 0; at < HASH_BYTES; at++) hashes[i * HASH_BYTES + at] = name.charCodeAt(at)
  return hashes
}

export function isSet(bitmap: Uint8Array, index: number): boolean {
  return ((bitmap[index >> 3] ?? 0) & (1 << (index & 7))) !== 0
}
