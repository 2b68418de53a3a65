import { expect, it } from 'vitest'

import { SeededBytes } from '../../bench/seeded-bytes.js'
import { KIB, noise } from '../../test/disk-bytes.js'
import { backUpBytes, openInMemory, restoreBytes } from '../../test/memory-repository.js'
import type { Extent } from '../../test/workspace.js'
import type { JoinLimits } from '../chain/disk-runs.js'
import { Repository } from '../chain/repository.js'
import { verifyRepository } from '../restore/verify.js'
import { MemoryStore } from '../store/memory-store.js'
import { account, freedByRemoving } from './account.js'
import { removePoints } from './fold.js'
import { collectGarbage, type GcOptions } from './gc.js'

/** Some five seconds; many more with EVERFOLD_LIVES. */
const LIVES = Number(process.env['EVERFOLD_LIVES'] ?? 24)
const STEPS = 24
const CHUNK = 4 * KIB
const DISK_CHUNKS_MAX = 40
const MACHINES = ['m', 'n']
/** Chunks repeat, on a disk and between machines: what is hidden here is needed there. */
const CONTENTS = Array.from({ length: 60 }, (_, i) => noise(`chunk ${i}`, CHUNK))

const ALWAYS: JoinLimits = { smallRun: Infinity, times: 0, above: Infinity, between: 0 }
const NEVER: JoinLimits = { smallRun: 0, times: 0, above: Infinity, between: 0 }
const LIMITS: readonly JoinLimits[] = [
  NEVER,
  { ...NEVER, between: 2 },
  { smallRun: 2, times: 1, above: 12, between: 1 },
  { smallRun: 4, times: 2, above: 20, between: 2 },
]

/** A repository whose runs lie on top of each other, and one that joins them with every fold. All else is done to both. */
class Twins {
  readonly random: SeededBytes
  readonly #chunker: 'fixed' | 'cdc'
  readonly #stores = [new MemoryStore(), new MemoryStore()]
  #repositories: readonly Repository[] = []
  /** By machine, and oldest first: what each point has to give back. */
  readonly #pictures = new Map<string, Buffer[]>(MACHINES.map((machine) => [machine, []]))
  /** Machines whose newest point is gone take no feed. */
  readonly #unsure = new Set<string>()
  folded = 0

  constructor(seed: string) {
    this.random = new SeededBytes(seed)
    this.#chunker = this.#oneOf(['fixed', 'fixed', 'cdc'])
  }

  #oneOf<T>(some: readonly T[]): T {
    return some[this.random.below(some.length)] as T
  }

  async begin(): Promise<void> {
    const frameSize = CHUNK * this.#oneOf([1, 4])
    for (const store of this.#stores)
      await Repository.init(store, { chunkSize: CHUNK, frameSize, packSize: 64 * KIB })
    await this.#open()
  }

  async #open(): Promise<void> {
    const segmentExtents = this.#oneOf([2, 5, 1000])
    const limits = [this.#oneOf(LIMITS), ALWAYS]
    this.#repositories = await Promise.all(
      this.#stores.map((store, i) =>
        openInMemory(store, { joinLimits: limits[i] ?? ALWAYS, segmentExtents }),
      ),
    )
  }

  async live(): Promise<void> {
    const machine = this.#oneOf(MACHINES)
    const step = this.random.below(12)
    if (step < 5) await this.#backUp(machine)
    else if (step < 9) await this.#remove(machine)
    else if (step < 11) await this.#collect()
    else await this.#open()
  }

  async #backUp(machine: string): Promise<void> {
    const pictures = this.#picturesOf(machine)
    const before = pictures.at(-1)
    const { bytes, changed } = this.#changed(before ?? Buffer.alloc(0))
    const isFed = before !== undefined && !this.#unsure.has(machine) && this.random.below(4) > 0
    for (const repository of this.#repositories)
      await backUpBytes(repository, machine, bytes, {
        ...(isFed && { feed: changed }),
        ...(before === undefined && { chunker: this.#chunker }),
      })
    pictures.push(bytes)
    this.#unsure.delete(machine)
  }

  /** The disk later on: it may have shrunk or grown, and what it grew by is changed. */
  #changed(before: Buffer): { readonly bytes: Buffer; readonly changed: readonly Extent[] } {
    const isResized = before.length === 0 || this.random.below(3) === 0
    const size = isResized ? 1 + this.random.below(DISK_CHUNKS_MAX * CHUNK) : before.length
    const bytes = Buffer.alloc(size)
    before.copy(bytes)
    const changed: Extent[] = []
    let at = 0
    const isNew = before.length === 0
    while (at < size) {
      const offset = isNew ? at : at + this.random.below(12 * CHUNK)
      const length = Math.min(size - offset, (1 + this.random.below(5)) * CHUNK - this.random.below(2))
      if (length <= 0) break
      for (let to = offset; to < offset + length; to += CHUNK)
        if (this.random.below(5) > 0) this.#oneOf(CONTENTS).copy(bytes, to, 0, offset + length - to)
        else bytes.fill(0, to, Math.min(offset + length, to + CHUNK))
      changed.push([offset, length])
      at = offset + length
      if (!isNew && this.random.below(3) === 0) break
    }
    return { bytes, changed }
  }

  /** Some points, anywhere in the chain, and never all. */
  async #remove(machine: string): Promise<void> {
    const pictures = this.#picturesOf(machine)
    const isOldest = this.random.below(2) === 0
    const remove = pictures.map((_, i) => (isOldest ? i < pictures.length / 2 : this.random.below(3) === 0))
    if (this.random.below(4) > 0) remove[remove.length - 1] = false
    if (pictures.length < 2 || !remove.includes(false) || !remove.includes(true)) return
    const freed: number[] = []
    for (const repository of this.#repositories) {
      const { state } = await repository.chains.get(machine)
      const ids = new Set(state.points.filter((_, i) => remove[i]).map(({ id }) => id))
      freed.push(await freedByRemoving(repository, machine, ids))
      await removePoints(repository, machine, ids)
    }
    expect(freed[0]).toBe(freed[1])
    if (remove.at(-1) === true) this.#unsure.add(machine)
    this.#pictures.set(
      machine,
      pictures.filter((_, i) => remove[i] === false),
    )
  }

  async #collect(): Promise<void> {
    const options: GcOptions = {
      deadShareMax: this.#oneOf([0, 0.4, 1]),
      graceRounds: this.#oneOf([0, 1]),
    }
    const done = []
    for (const repository of this.#repositories) {
      const { packs, liveBytes, deadBytes, condemnedObjects, condemnedBytes, rewrittenPacks, joinedPacks } =
        await collectGarbage(repository, options)
      done.push({
        packs,
        liveBytes,
        deadBytes,
        condemnedObjects,
        condemnedBytes,
        rewrittenPacks,
        joinedPacks,
      })
    }
    expect(done[0]).toEqual(done[1])
  }

  async check(): Promise<void> {
    const accounts = []
    for (const repository of this.#repositories) {
      for (const [machine, pictures] of this.#pictures) {
        const points = (await repository.chains.find(machine))?.state.points ?? []
        expect(points).toHaveLength(pictures.length)
        for (const [i, { id, disks }] of points.entries()) {
          this.folded += disks[0]?.folded?.length ?? 0
          expect((await restoreBytes(repository, machine, id)).equals(pictures[i] ?? Buffer.of())).toBe(true)
        }
      }
      const { ok, damaged, objects } = await verifyRepository(repository, { sample: 1 })
      expect({ ok, damaged, objects }).toEqual({ ok: true, damaged: [], objects: [] })
      const { machines, ...figures } = await account(repository)
      accounts.push({
        ...figures,
        machines: machines.map(({ points, ...sums }) => ({
          ...sums,
          freed: points.map(({ freedBytes }) => freedBytes),
        })),
      })
    }
    expect(accounts[0]).toEqual(accounts[1])
  }

  #picturesOf(machine: string): Buffer[] {
    return this.#pictures.get(machine) ?? []
  }
}

it('runs that lie on top of each other are as good as one that was joined, for all that ever happens to them', async () => {
  let folded = 0
  for (let life = 0; life < LIVES; life++) {
    const twins = new Twins(`twins ${life}`)
    await twins.begin()
    for (let step = 0; step < STEPS; step++) {
      try {
        await twins.live()
        if (step % 4 === 3) await twins.check()
      } catch (error) {
        throw new Error(`life ${life}, step ${step}`, { cause: error })
      }
    }
    folded += twins.folded
  }
  expect(folded).toBeGreaterThan(LIVES)
}, 300_000)
