/** Bytes that are looked at; with so few, those of random data vary by less than a tenth. */
const SAMPLES = 1024
/** Pairs of samples that are equal, of those that would be if every byte were as frequent: programs have 5 and more, text 15, compressed files 1 to 1.1. */
const EQUAL_PAIRS_MAX = 1.2

const counts = new Uint32Array(256)

/** Are all bytes about equally frequent, as they are in what is compressed or encrypted already? A guess, from some of them: takes 3 µs. */
export function looksRandom(bytes: Uint8Array): boolean {
  if (bytes.length < SAMPLES) return false
  counts.fill(0)
  // Odd, so that a column of records, or of wide characters, is not all that is seen.
  const step = Math.floor(bytes.length / SAMPLES) | 1
  let samples = 0
  for (let at = 0; at < bytes.length; at += step, samples++) {
    const byte = bytes[at] ?? 0
    counts[byte] = (counts[byte] ?? 0) + 1
  }
  let ordered = 0
  for (const count of counts) ordered += count * (count - 1)
  return ordered * 256 <= EQUAL_PAIRS_MAX * samples * (samples - 1)
}
