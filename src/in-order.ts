/**
 * Works on items, up to `atOnce` of them at a time, and gives the results in the order of the items. Whoever stops taking, or is
 * thrown to, waits for what is under way: nothing goes on behind its back.
 *
 * @throws what `work` throws, in the place of that item's result
 */
export async function* inOrder<Item, Result>(
  items: Iterable<Item> | AsyncIterable<Item>,
  atOnce: number,
  work: (item: Item) => Promise<Result>,
): AsyncGenerator<Result, void, undefined> {
  const underWay: Promise<Result>[] = []
  const begin = (item: Item): void => {
    const result = work(item)
    // Someone must listen from now on: its turn to be awaited may come late, or never.
    result.catch(() => undefined)
    underWay.push(result)
  }
  try {
    for await (const item of items) {
      begin(item)
      const first = underWay.length < atOnce ? undefined : underWay.shift()
      if (first !== undefined) yield await first
    }
    for (let next = underWay.shift(); next !== undefined; next = underWay.shift()) yield await next
  } finally {
    await Promise.allSettled(underWay)
  }
}
