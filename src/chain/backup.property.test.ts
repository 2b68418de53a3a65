import { expect, it } from 'vitest'

import { SeededBytes } from '../../bench/seeded-bytes.js'
import { LivingDisk, MemoryTarget, sourceOf } from '../../test/life.js'
import { sha256 } from '../checksum.js'
import type { Environment } from '../environment.js'
import { decodeFeed } from '../feed/decode-feed.js'
import type { ChunkIndex } from '../index/chunk-index.js'
import { MemoryIndex } from '../index/memory-index.js'
import { PackCatalog } from '../pack/catalog.js'
import { InlineCrew } from '../pack/inline-crew.js'
import { planDisk } from '../restore/plan.js'
import { restoreDisk } from '../restore/restore.js'
import { verifyRepository } from '../restore/verify.js'
import { packsPrefix, parsePackKey } from '../store/keys.js'
import { MemoryStore } from '../store/memory-store.js'
import { type BackupResult, backUp } from './backup.js'
import { BATCH_BYTES } from './ingest.js'
import { Repository } from './repository.js'

/** Some ten seconds; many more with EVERFOLD_LIVES. */
const LIVES = Number(process.env['EVERFOLD_LIVES'] ?? 400)
const POINTS_MAX = 7
const MACHINE = 'machine'
const KIB = 1024

type Picture = ReadonlyMap<string, Buffer>

class Life {
  readonly random: SeededBytes
  readonly #store = new MemoryStore()
  readonly #environment: Environment
  /** What each point has to give back. */
  readonly #pictures: Picture[] = []
  #index: ChunkIndex = new MemoryIndex()
  #repository!: Repository
  #disks: LivingDisk[] = []
  #born = 0

  constructor(seed: string) {
    this.random = new SeededBytes(seed)
    let clock = Date.UTC(2026, 0, 1)
    this.#environment = {
      now: () => (clock += 1000),
      monotonicMs: () => clock,
      random: (length) => this.random.next(length),
    }
  }

  async begin(): Promise<void> {
    const chunkSize = 4 * KIB * 2 ** this.random.below(5)
    await Repository.init(
      this.#store,
      {
        chunkSize,
        frameSize: chunkSize * 2 ** this.random.below(5),
        packSize: 64 * KIB * 2 ** this.random.below(6),
        level: this.#oneOf([0, 1, 3]),
      },
      this.#environment,
    )
    await this.#open()
    this.#appear()
  }

  /** Another process goes on: nothing is remembered. Perhaps the index is lost, and nobody rebuilt it. */
  async #open(): Promise<void> {
    if (this.random.below(3) === 0) this.#index = new MemoryIndex()
    this.#repository = await Repository.open({
      store: this.#store,
      crew: new InlineCrew(),
      environment: this.#environment,
      openIndex: async () => this.#index,
      // With small ones most feeds are large.
      batchBytes: this.#oneOf([20 * KIB, BATCH_BYTES]),
    })
  }

  async live(): Promise<void> {
    if (this.random.below(4) === 0) await this.#open()
    if (this.random.below(4) === 0 && this.#disks.length < 3) this.#appear()
    if (this.random.below(6) === 0 && this.#disks.length > 1)
      this.#disks.splice(this.random.below(this.#disks.length), 1)
    for (const disk of this.#disks) for (let i = this.random.below(5); i > 0; i--) disk.change(this.#disks)
    await this.#backUp(this.random.below(2) === 0)
    // The first full read after a feed may store what the feed said was changed; the second finds nothing.
    if (this.random.below(5) > 0) return
    await this.#backUp(false)
    const again = await this.#backUp(false)
    expect(again).toMatchObject({ changedBytes: 0, newBytes: 0, kind: 'incremental' })
  }

  async #backUp(byFeed: boolean): Promise<BackupResult> {
    const previous = this.#pictures.at(-1)
    const result = await backUp(this.#repository, {
      machine: MACHINE,
      disks: this.#disks.map((disk) => {
        const useFeed = byFeed && previous?.has(disk.id) === true
        const { id, chunker, bytes } = disk
        const changed = useFeed ? decodeFeed(disk.feed(), bytes.length, id) : undefined
        return { id, chunker, source: sourceOf(bytes), changed }
      }),
    })
    this.#pictures.push(new Map(this.#disks.map((disk) => [disk.id, Buffer.from(disk.bytes)])))
    for (const disk of this.#disks) disk.changes = []
    expect(result.newBytes).toBeLessThanOrEqual(result.changedBytes)
    expect(result.changedBytes).toBeLessThanOrEqual(result.readBytes)
    expect(result.kind).toBe(previous === undefined ? 'full' : 'incremental')
    if (this.#disks.every((disk) => disk.bytes.every((byte) => byte === 0))) expect(result.newBytes).toBe(0)
    return result
  }

  async checkAllPoints(): Promise<void> {
    const { state } = await this.#repository.chains.get(MACHINE)
    expect(state.points.length).toBe(this.#pictures.length)
    for (const [index, picture] of this.#pictures.entries()) {
      expect(state.points[index]?.disks.map((disk) => disk.id)).toEqual([...picture.keys()])
      for (const [id, bytes] of picture) {
        const plan = await planDisk(this.#repository, state, index, id)
        expect(plan.sizeBytes).toBe(bytes.length)
        const target = new MemoryTarget(plan.sizeBytes)
        await restoreDisk(this.#repository, plan, target, () => {})
        plan.pins.end()
        expect(target.isWhole, `point ${index}, ${id}`).toBe(true)
        expect(Buffer.compare(target.bytes, bytes), `point ${index}, ${id}`).toBe(0)
      }
    }
  }

  /** From the store alone. */
  async checkStore(): Promise<void> {
    await this.#open()
    const result = await verifyRepository(this.#repository, { sample: 1 })
    expect(result).toMatchObject({ ok: true, points: this.#pictures.length, damaged: [], objects: [] })
    for await (const { key } of this.#store.list(packsPrefix)) {
      const { packId } = parsePackKey(key)!
      const directory = await new PackCatalog(this.#store).directory(packId)
      for (let i = 0; i < directory.chunkCount; i++) {
        const hash = directory.hashes.subarray(i * 32, i * 32 + 32)
        expect(Buffer.compare(hash, sha256(Buffer.alloc(directory.chunkLength[i]!)))).not.toBe(0)
      }
    }
  }

  #appear(): void {
    // Also one that was there before, with another content.
    const id = this.#oneOf([`disk ${this.#born++}`, 'disk 0', 'sys', 'data'])
    if (this.#disks.some((disk) => disk.id === id)) return
    this.#disks.push(new LivingDisk(id, this.#oneOf(['fixed', 'cdc']), this.random))
  }

  #oneOf<T>(values: readonly [T, ...T[]]): T {
    return values[this.random.below(values.length)] ?? values[0]
  }
}

// A life that failed is lived again with EVERFOLD_LIFE=<its seed>.
const named = process.env['EVERFOLD_LIFE']
const seeds = named === undefined ? Array.from({ length: LIVES }, (_, i) => `${Date.now()} ${i}`) : [named]

it(`gives back every disk of every point, in ${seeds.length} random lives from seed "${seeds[0] ?? ''}" on`, async () => {
  for (const seed of seeds) {
    try {
      const life = new Life(seed)
      await life.begin()
      for (let i = 1 + life.random.below(POINTS_MAX); i > 0; i--) {
        await life.live()
        await life.checkAllPoints()
      }
      await life.checkStore()
    } catch (error) {
      throw new Error(`in the life of seed "${seed}"`, { cause: error })
    }
  }
}, 3_600_000)
