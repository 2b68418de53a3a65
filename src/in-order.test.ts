import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { inOrder } from './in-order.js'

async function collect<T>(values: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const value of values) all.push(value)
  return all
}

describe('work in order', () => {
  it('gives results in the order of the items, with no more under way than allowed', async () => {
    let inside = 0
    let most = 0
    const results = inOrder([30, 1, 20, 2, 10, 3], 3, async (ms) => {
      most = Math.max(most, ++inside)
      await sleep(ms)
      inside--
      return ms
    })
    expect(await collect(results)).toEqual([30, 1, 20, 2, 10, 3])
    expect(most).toBe(3)
  })

  it('takes fewer items than may be under way, and none', async () => {
    expect(await collect(inOrder([1, 2], 8, async (n) => n * 2))).toEqual([2, 4])
    expect(await collect(inOrder([], 8, async (n) => n))).toEqual([])
  })

  it('throws in the place of the item that failed, once what was under way is done', async () => {
    let done = 0
    const seen: number[] = []
    const run = async (): Promise<void> => {
      const results = inOrder([1, 2, 3, 4, 5], 3, async (n) => {
        await sleep(n)
        if (n === 2) throw new Error('two')
        done++
        return n
      })
      for await (const n of results) seen.push(n)
    }
    await expect(run()).rejects.toThrow('two')
    expect(seen).toEqual([1])
    expect(done).toBe(3)
  })
})
