import { expect, it } from 'vitest'
import { heldBytes } from '../../test/held-memory.js'
import { CondemnedDuring, Pins } from './pins.js'

it('knows who was at work when something was condemned until all of them are done', () => {
  const pins = new Pins()
  const condemned = new CondemnedDuring(pins)
  const [first, second] = [pins.begin(), pins.begin()]
  condemned.note('a pack', pins.newest)
  const later = pins.begin()
  const isAnyoneLeft = (): boolean => condemned.isAnyoneLeft('a pack')
  expect(isAnyoneLeft()).toBe(true)
  second.end()
  expect(isAnyoneLeft()).toBe(true)
  first.end()
  expect(isAnyoneLeft()).toBe(false)
  expect(isAnyoneLeft()).toBe(false)
  expect(condemned.isAnyoneLeft('another')).toBe(false)
  later.end()
})

it('forgets what was condemned when nobody is left who was at work then', () => {
  const pins = new Pins()
  const condemned = new CondemnedDuring(pins)
  const before = heldBytes()
  for (let number = 0; number < 100_000; number++) {
    condemned.note(`packs/00/${number}.0`, pins.newest)
    condemned.isAnyoneLeft(`packs/00/${number}.0`)
  }
  expect(heldBytes() - before).toBeLessThan(2 ** 20)
  expect(condemned.isAnyoneLeft('packs/00/0.0')).toBe(false)
})
