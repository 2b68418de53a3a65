/** Fewer are left as they are: joining costs a copy, and pays only when it saves many objects. */
const JOINED_MIN = 8
/** Packs that differ by more than this are not joined, unless the smaller ones together are larger than the larger one. */
const LIKE = 4
const OUTWEIGH = 2

/**
 * Chooses which of the small packs to join: at least eight that are about alike. What comes of them is some three times as large as the largest
 * of them, so a byte is copied only a few times until its pack is no longer small, however small the packs are that come in.
 */
export function chooseSmall<T>(packs: readonly T[], bytesOf: (pack: T) => number): T[] {
  const chosen: T[] = []
  let group: T[] = []
  let smallest = 0
  let sum = 0
  for (const pack of packs.toSorted((a, b) => bytesOf(a) - bytesOf(b))) {
    const bytes = bytesOf(pack)
    if (group.length > 0 && bytes > smallest * LIKE && bytes * OUTWEIGH > sum) {
      if (group.length >= JOINED_MIN) chosen.push(...group)
      group = []
    }
    if (group.length === 0) {
      smallest = bytes
      sum = 0
    }
    group.push(pack)
    sum += bytes
  }
  if (group.length >= JOINED_MIN) chosen.push(...group)
  return chosen
}
