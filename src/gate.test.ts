import { setImmediate } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'

import { Gate } from './gate.js'

describe('Gate', () => {
  it('lets in as many as its limit, and the others in order as holders leave', async () => {
    const gate = new Gate(2)
    const inside: number[] = []
    const entering = [0, 1, 2, 3].map(async (who) => {
      await gate.enter()
      inside.push(who)
    })
    await setImmediate()
    expect(inside).toEqual([0, 1])
    gate.leave()
    await setImmediate()
    expect(inside).toEqual([0, 1, 2])
    gate.leave()
    gate.leave()
    gate.leave()
    await Promise.all(entering)
    expect(inside).toEqual([0, 1, 2, 3])
  })

  it('is as wide as before once all have left', async () => {
    const gate = new Gate(1)
    let inside = 0
    let most = 0
    const worker = async (): Promise<void> => {
      await gate.enter()
      most = Math.max(most, ++inside)
      await setImmediate()
      inside--
      gate.leave()
    }
    await Promise.all(Array.from({ length: 20 }, worker))
    await worker()
    expect(most).toBe(1)
  })
})
