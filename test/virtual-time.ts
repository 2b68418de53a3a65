/**
 * Several processes in this one, on a clock that nobody waits for: what a process asks of timers and clocks is answered by the clock of
 * its world. Each may be stopped for a while, as by SIGSTOP, or for ever.
 */

import { AsyncLocalStorage } from 'node:async_hooks'
import type * as fsPromises from 'node:fs/promises'
import { createRequire, syncBuiltinESMExports } from 'node:module'
import type * as timersPromises from 'node:timers/promises'

/** One of the processes. */
export class VirtualProcess {
  readonly world: VirtualWorld
  /** Until then nothing of it goes on. */
  stoppedUntilMs = 0

  constructor(world: VirtualWorld) {
    this.world = world
  }

  /** Runs work in it. */
  run<T>(work: () => Promise<T>): Promise<T> {
    return current.run(this, work)
  }
}

interface Event {
  atMs: number
  readonly process: VirtualProcess | undefined
  readonly happen: () => void
}

const current = new AsyncLocalStorage<VirtualProcess>()
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

export class VirtualWorld {
  nowMs = 0
  readonly random: () => number
  #events: Event[] = []

  constructor(random: () => number) {
    this.random = random
  }

  /** @param process  only while it is not stopped; undefined: whatever becomes of anybody. @returns what takes it back */
  after(ms: number, process: VirtualProcess | undefined, happen: () => void): () => void {
    const event = { atMs: this.nowMs + ms, process, happen }
    this.#events.push(event)
    return () => {
      this.#events = this.#events.filter((one) => one !== event)
    }
  }

  /** Lets time go by until work has ended. @throws if everybody waits for nothing */
  async live(work: Promise<unknown>): Promise<void> {
    const state = { isOver: false }
    const over = (): void => {
      state.isOver = true
    }
    work.then(over, over)
    for (;;) {
      // Streams take a few turns.
      for (let i = 0; i < 3; i++) await settled()
      if (state.isOver) return
      let next: Event | undefined
      for (const event of this.#events) {
        if (event.process !== undefined) event.atMs = Math.max(event.atMs, event.process.stoppedUntilMs)
        if (event.atMs < (next?.atMs ?? Infinity)) next = event
      }
      if (next === undefined) throw new Error('everybody waits, and nothing is under way')
      this.#events = this.#events.filter((event) => event !== next)
      this.nowMs = Math.max(this.nowMs, next.atMs)
      const { process, happen } = next
      if (process === undefined) happen()
      else current.run(process, happen)
    }
  }
}

class Timer {
  readonly #start: () => () => void
  #stop: () => void

  constructor(start: () => () => void) {
    this.#start = start
    this.#stop = start()
  }

  refresh(): this {
    this.#stop()
    this.#stop = this.#start()
    return this
  }

  unref(): this {
    return this
  }

  close(): void {
    this.#stop()
  }
}

/** From now on, code that runs in a virtual process has its time. @returns what ends that */
export function useVirtualTime(): () => void {
  const require = createRequire(import.meta.url)
  const promises = require('node:timers/promises') as typeof timersPromises
  const files = require('node:fs/promises') as typeof fsPromises
  const undo: (() => void)[] = []
  const replace = <T extends object, K extends keyof T>(
    on: T,
    name: K,
    make: (before: T[K]) => T[K],
  ): void => {
    const before = on[name]
    on[name] = make(before)
    undo.push(() => {
      on[name] = before
    })
  }
  type Any = (...args: never[]) => unknown
  /** In a virtual process `ours`, elsewhere what it was. */
  const divert = <T>(before: T, ours: (process: VirtualProcess, ...args: never[]) => unknown): T =>
    ((...args: never[]) => {
      const process = current.getStore()
      return process === undefined ? (before as Any)(...args) : ours(process, ...args)
    }) as T
  replace(globalThis, 'setTimeout', (before) =>
    divert(before, (process, happen: () => void, ms: number) => {
      return new Timer(() => process.world.after(ms, process, happen))
    }),
  )
  replace(globalThis, 'setInterval', (before) =>
    divert(before, (process, happen: () => void, ms: number) => {
      let stop = (): void => undefined
      const again = (): (() => void) => {
        stop = process.world.after(ms, process, () => {
          again()
          happen()
        })
        return () => {
          stop()
        }
      }
      return new Timer(again)
    }),
  )
  for (const name of ['clearTimeout', 'clearInterval'] as const)
    replace(globalThis, name, (before) => (timer) => {
      if (timer instanceof Timer) timer.close()
      else before(timer)
    })
  replace(performance, 'now', (before) => divert(before, ({ world }) => world.nowMs))
  replace(Date, 'now', (before) => divert(before, ({ world }) => world.nowMs))
  replace(Math, 'random', (before) => divert(before, ({ world }) => world.random()))
  replace(promises, 'setTimeout', (before) =>
    divert(before, (process, ms: number, value: unknown, options?: { signal?: AbortSignal }) => {
      return new Promise((resolve, reject) => {
        const abort = (): void => {
          stop()
          reject(new Error('aborted'))
        }
        const stop = process.world.after(ms, process, () => {
          options?.signal?.removeEventListener('abort', abort)
          resolve(value)
        })
        options?.signal?.addEventListener('abort', abort, { once: true })
      })
    }),
  )
  // Each is on a machine of its own, where nobody can say which processes there are.
  replace(files, 'readFile', (before) => divert(before, () => Promise.reject(new Error('no such file'))))
  syncBuiltinESMExports()
  return () => {
    for (const step of undo) step()
    syncBuiltinESMExports()
  }
}
