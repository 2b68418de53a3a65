import { expect, it } from 'vitest'
import { chooseSmall } from './choose-small.js'

const KIB = 1024
const SMALL = 4 * KIB * KIB

const chosen = (sizes: readonly number[]): number[] => chooseSmall(sizes, (size) => size)
const sum = (sizes: readonly number[]): number => sizes.reduce((all, size) => all + size, 0)

it('takes eight packs or more that are about alike', () => {
  expect(chosen(Array.from({ length: 7 }, () => 100))).toEqual([])
  expect(chosen(Array.from({ length: 8 }, () => 100))).toHaveLength(8)
  expect(chosen([...Array.from({ length: 7 }, () => 100), 100 * KIB])).toEqual([])
  // The larger one is outweighed by the others.
  expect(chosen([...Array.from({ length: 20 }, () => 100), 900])).toHaveLength(21)
})

it.each([300, 10 * KIB, 700 * KIB])(
  'leaves few packs behind, and copies each byte a few times only, when packs of %i bytes come in one by one',
  (bytes) => {
    const packs: number[] = []
    let copied = 0
    let large = 0
    const count = Math.min(20_000, Math.ceil((20 * SMALL) / bytes))
    for (let i = 0; i < count; i++) {
      packs.push(bytes)
      const taken = chosen(packs)
      if (taken.length === 0) continue
      for (const size of taken) packs.splice(packs.indexOf(size), 1)
      copied += sum(taken)
      if (sum(taken) >= SMALL) large += sum(taken)
      else packs.push(sum(taken))
      expect(packs.length).toBeLessThan(80)
    }
    expect(sum(packs) + large).toBe(count * bytes)
    expect(copied / (count * bytes)).toBeLessThan(8)
  },
)
