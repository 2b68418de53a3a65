import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { ZEROS } from '../src/chain/extent-list.js'
import { Repository } from '../src/chain/repository.js'
import { MemoryIndex } from '../src/index/memory-index.js'
import type { Crew } from '../src/pack/crew.js'
import { openFileTarget } from '../src/restore/file-target.js'
import { planDisk } from '../src/restore/plan.js'
import { type DiskTarget, restoreDisk } from '../src/restore/restore.js'
import type { CountingStore } from './counting-store.js'
import { median } from './measure.js'

/** The one machine of these repositories, and its disk. */
export const machine = 'machine'
export const diskId = 'disk'

export interface Speed {
  readonly seconds: number
  readonly cpuSeconds: number
  /** To a file, with its sync. */
  readonly fileSeconds: number
}

const nowhere: DiskTarget = { write: async () => undefined, zeros: async () => undefined }

/** Restores the newest point of a repository, again and again. */
export class Timing {
  readonly #repository: Repository
  readonly #store: CountingStore
  readonly #scratch: string
  readonly #seconds: number[] = []
  readonly #cpuSeconds: number[] = []
  #fileSeconds = 0
  reads = 0
  readBytes = 0
  extents = 0
  packs = 0

  constructor(repository: Repository, store: CountingStore, scratch: string) {
    this.#repository = repository
    this.#store = store
    this.#scratch = scratch
  }

  get speed(): Speed {
    return {
      seconds: median(this.#seconds),
      cpuSeconds: median(this.#cpuSeconds),
      fileSeconds: this.#fileSeconds,
    }
  }

  async restore(): Promise<void> {
    this.#store.reads = 0
    this.#store.readBytes = 0
    const startCpu = process.cpuUsage()
    const startMs = performance.now()
    await this.#restoreTo(nowhere)
    this.#seconds.push((performance.now() - startMs) / 1000)
    const { user, system } = process.cpuUsage(startCpu)
    this.#cpuSeconds.push((user + system) / 1e6)
    this.reads = this.#store.reads
    this.readBytes = this.#store.readBytes
  }

  async restoreToFile(look: (path: string) => Promise<void> = async () => undefined): Promise<void> {
    const path = join(this.#scratch, 'restored')
    const { state } = await this.#repository.chains.get(machine)
    const startMs = performance.now()
    const target = await openFileTarget(path, state.points.at(-1)?.disks[0]?.sizeBytes ?? 0, false)
    await this.#restoreTo(target)
    await target.finish()
    this.#fileSeconds = (performance.now() - startMs) / 1000
    await look(path)
    await rm(path)
  }

  /** As a process of its own would: it knows no directory yet. */
  async #restoreTo(target: DiskTarget): Promise<void> {
    const fresh = await openOn(this.#store, this.#repository.crew)
    const { state } = await fresh.chains.get(machine)
    const plan = await planDisk(fresh, state, state.points.length - 1, diskId)
    try {
      await restoreDisk(fresh, plan, target, () => undefined)
      const used = new Set(plan.extents.pack.subarray(0, plan.extents.length))
      used.delete(ZEROS)
      this.extents = plan.extents.length
      this.packs = used.size
    } finally {
      plan.pins.end()
    }
  }
}

/** For what needs no index. */
export function openOn(store: CountingStore, crew: Crew): Promise<Repository> {
  return Repository.open({ store, crew, openIndex: async () => new MemoryIndex() })
}
