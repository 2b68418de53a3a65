/** A repository in memory whose clock the test sets, and whose points hold no disks: for what is decided, not stored. */

import type { Pin, PointState } from '../src/chain/chain-state.js'
import { Repository } from '../src/chain/repository.js'
import { MemoryIndex } from '../src/index/memory-index.js'
import { InlineCrew } from '../src/pack/inline-crew.js'
import { MemoryStore } from '../src/store/memory-store.js'
import type { Store } from '../src/store/store.js'

export class Clock {
  nowMs: number
  #randomness = 0

  constructor(now: string) {
    this.nowMs = Date.parse(now)
  }

  set(now: string): void {
    this.nowMs = Date.parse(now)
  }

  now(): number {
    return this.nowMs
  }

  monotonicMs(): number {
    return this.nowMs
  }

  /** The same in every run. */
  random(length: number): Uint8Array {
    return Uint8Array.from({ length }, (_, i) => (++this.#randomness * 7919 + i * 31) % 256)
  }
}

export async function clockedRepository(clock: Clock, store: Store = new MemoryStore()): Promise<Repository> {
  await Repository.init(store, {}, clock)
  return reopened(clock, store)
}

export async function reopened(clock: Clock, store: Store): Promise<Repository> {
  return Repository.open({
    store,
    crew: new InlineCrew(),
    openIndex: async () => new MemoryIndex(),
    environment: clock,
  })
}

/** Adds points without disks, oldest first. @returns their ids */
export async function addPoints(
  repository: Repository,
  machine: string,
  times: readonly string[],
  pin?: Pin,
): Promise<string[]> {
  const added: string[] = []
  await repository.chains.edit(machine, (head) => {
    const before = head?.state.points ?? []
    const points = times.map((time, i): PointState => {
      const id = `p${String(before.length + i).padStart(7, '0')}`
      added.push(id)
      const figures = { disks: [], readBytes: 0, changedBytes: 0, newBytes: 0, storedBytes: 0, seconds: 0 }
      return { id, createdAt: new Date(time).toISOString(), ...(pin && { pin }), ...figures }
    })
    return { points: [...before, ...points] }
  })
  return added
}

export async function pointIds(repository: Repository, machine: string): Promise<string[]> {
  return ((await repository.chains.find(machine))?.state.points ?? []).map((point) => point.id)
}
