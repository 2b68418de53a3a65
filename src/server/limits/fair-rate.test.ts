import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { FairRate } from './fair-rate.js'

const here = (): boolean => false

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

/** Takes pieces one after the other, as a request does, until told to stop. @returns bytes so far */
function flow(
  rate: FairRate,
  key: string,
  pieceBytes: number,
  isGone = here,
): { bytes: number; stopped: boolean } {
  const state = { bytes: 0, stopped: false }
  const run = async (): Promise<void> => {
    while (!state.stopped) {
      await rate.take(key, pieceBytes, isGone)
      state.bytes += pieceBytes
    }
  }
  run().catch(() => undefined)
  return state
}

describe('a rate', () => {
  it('is held over time, with pieces of any size', async () => {
    for (const piece of [1000, 64_000, 1_000_000]) {
      const rate = new FairRate(() => 1_000_000, Date.now)
      const one = flow(rate, 'a', piece)
      await vi.advanceTimersByTimeAsync(10_000)
      one.stopped = true
      expect(one.bytes).toBeGreaterThan(9_900_000)
      expect(one.bytes).toBeLessThan(11_300_000)
      await vi.advanceTimersByTimeAsync(2000)
    }
  })

  it('is shared by those who want it, however many requests they have', async () => {
    const rate = new FairRate(() => 1_000_000, Date.now)
    const many = Array.from({ length: 20 }, () => flow(rate, 'many', 64_000))
    const one = flow(rate, 'one', 64_000)
    await vi.advanceTimersByTimeAsync(20_000)
    for (const each of [...many, one]) each.stopped = true
    const others = many.reduce((sum, each) => sum + each.bytes, 0)
    expect(one.bytes / (one.bytes + others)).toBeGreaterThan(0.45)
    expect(Math.max(...many.map((each) => each.bytes))).toBeLessThanOrEqual(
      Math.min(...many.map((each) => each.bytes)) + 128_000,
    )
    await vi.advanceTimersByTimeAsync(10_000)
  })

  it('lets go of whoever is gone, without counting it', async () => {
    const rate = new FairRate(() => 100_000, Date.now)
    await rate.take('a', 100_000, here)
    let gone = false
    const left = rate.take('a', 10_000_000, () => gone)
    const next = rate.take('a', 1000, here)
    gone = true
    await vi.advanceTimersByTimeAsync(1100)
    await left
    await next
    expect(vi.getTimerCount()).toBe(0)
  })

  it('may change, also to none, while somebody waits', async () => {
    let bytesPerSecond = 1000
    const rate = new FairRate(() => bytesPerSecond, Date.now)
    await rate.take('a', 1_000_000, here)
    const waits = Promise.all([1, 2, 3].map((each) => rate.take(`${each}`, 1_000_000, here)))
    bytesPerSecond = Infinity
    await vi.advanceTimersByTimeAsync(1000)
    await waits
    await rate.take('a', 1_000_000, here)
    expect(vi.getTimerCount()).toBe(0)
  })
})
