import { EventEmitter } from 'node:events'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { toldToStop } from './told-to-stop.js'

const DEADLINE_MS = 45_000

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

it('gives a stop its time from the first signal on, and no more, however many come', async () => {
  const signals = new EventEmitter()
  const giveUp = vi.fn()
  const told = toldToStop(DEADLINE_MS, signals, giveUp)
  vi.advanceTimersByTime(10 * DEADLINE_MS)
  expect(giveUp).not.toHaveBeenCalled()
  signals.emit('SIGTERM')
  await told.first
  vi.advanceTimersByTime(DEADLINE_MS - 1)
  signals.emit('SIGINT')
  expect(giveUp).not.toHaveBeenCalled()
  vi.advanceTimersByTime(1)
  expect(giveUp).toHaveBeenCalledExactlyOnceWith(DEADLINE_MS)
})

it('hurries at each signal after the first, also at those that came before anybody asked', async () => {
  const signals = new EventEmitter()
  const told = toldToStop(DEADLINE_MS, signals, () => undefined)
  const hurry = vi.fn()
  signals.emit('SIGTERM')
  signals.emit('SIGTERM')
  await told.first
  told.again(hurry)
  expect(hurry).toHaveBeenCalledTimes(1)
  signals.emit('SIGINT')
  expect(hurry).toHaveBeenCalledTimes(2)
})
