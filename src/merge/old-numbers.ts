import type { StoreReader } from '../store/store.js'

/** Objects that are numbered without gaps. */
export interface Numbered {
  readonly prefix: string
  readonly key: (number: number) => string
  readonly parse: (key: string) => number | undefined
}

/**
 * Which of numbered objects are below `end`: all of them, from the lowest that there is, whatever the listing leaves out. Removed in
 * this order they leave no gap, so whoever goes up from any that is left, asking for the next, comes to the highest.
 * @throws STORE_FAILED
 */
export async function numbersBelow(
  store: StoreReader,
  { prefix, key, parse }: Numbered,
  end: number,
): Promise<number[]> {
  let lowest = end
  for await (const object of store.list(prefix)) lowest = Math.min(lowest, parse(object.key) ?? end)
  if (lowest === end) return []
  while (lowest > 0 && (await store.size(key(lowest - 1))) !== undefined) lowest--
  return Array.from({ length: end - lowest }, (_, i) => lowest + i)
}
