import { EventEmitter } from 'node:events'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { STOP_DEADLINE_MS, toldToStop } from './told-to-stop.js'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

it('gives a stop its time from the first signal on, and no more, however many come', async () => {
  const signals = new EventEmitter()
  const giveUp = vi.fn()
  const told = toldToStop(signals, STOP_DEADLINE_MS, giveUp)
  vi.advanceTimersByTime(10 * STOP_DEADLINE_MS)
  expect(giveUp).not.toHaveBeenCalled()
  signals.emit('SIGTERM')
  await told.first
  vi.advanceTimersByTime(STOP_DEADLINE_MS - 1)
  signals.emit('SIGINT')
  expect(giveUp).not.toHaveBeenCalled()
  vi.advanceTimersByTime(1)
  expect(giveUp).toHaveBeenCalledExactlyOnceWith(STOP_DEADLINE_MS)
})

it('hurries at each signal after the first, also at those that came before anybody asked', async () => {
  const signals = new EventEmitter()
  const told = toldToStop(signals, STOP_DEADLINE_MS, () => undefined)
  const hurry = vi.fn()
  signals.emit('SIGTERM')
  signals.emit('SIGTERM')
  await told.first
  told.again(hurry)
  expect(hurry).toHaveBeenCalledTimes(1)
  signals.emit('SIGINT')
  expect(hurry).toHaveBeenCalledTimes(2)
})
