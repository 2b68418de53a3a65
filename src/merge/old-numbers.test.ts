import { expect, it } from 'vitest'
import { FaultyStore } from '../store/faulty-store.js'
import { parseQuarantineKey, quarantineKey, quarantinePrefix } from '../store/keys.js'
import { MemoryStore } from '../store/memory-store.js'
import { numbersBelow } from './old-numbers.js'

const records = { prefix: quarantinePrefix, key: quarantineKey, parse: parseQuarantineKey }

async function storeWith(numbers: readonly number[]): Promise<MemoryStore> {
  const store = new MemoryStore()
  for (const number of numbers) await store.put(quarantineKey(number), [Buffer.from('x')])
  return store
}

it('gives all numbers below an end, from the lowest that is there', async () => {
  expect(await numbersBelow(await storeWith([3, 4, 5, 6, 7]), records, 6)).toEqual([3, 4, 5])
  expect(await numbersBelow(await storeWith([3, 4]), records, 3)).toEqual([])
  expect(await numbersBelow(await storeWith([]), records, 3)).toEqual([])
})

it('leaves no gap behind when the listing leaves out some of them', async () => {
  const store = await storeWith([0, 1, 2, 3, 4, 5, 6])
  for (const shown of [0, 1, 3, 4]) {
    const short = new FaultyStore(store, (operation) =>
      operation === 'list'
        ? { kind: 'partial-listing', drops: (key) => key !== quarantineKey(shown) }
        : undefined,
    )
    expect(await numbersBelow(short, records, 5)).toEqual([0, 1, 2, 3, 4])
  }
})
