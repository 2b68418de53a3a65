import { expect } from 'vitest'

import type { ChunkIndex } from '../../src/index/chunk-index.js'
import { answers, hashesOf, packOf } from './index-contract.js'

const CHUNKS = 600
const PACKS = 40
/** Of 1000 operations, this many are removals, which are synced and slow. */
const REMOVALS_IN_1000 = 20

/** Random numbers from a seed (mulberry32): `next(n)` is a whole number below n. */
export function randomFrom(seed: number): (below: number) => number {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}

/** A chunk index as plain maps, that does random things to a real one and compares. */
export class IndexModel {
  readonly #random: (below: number) => number
  readonly #seed: number
  readonly #chunks = new Map<number, [string, number]>()
  readonly #packs = new Map<number, readonly number[]>()

  constructor(seed: number) {
    this.#seed = seed
    this.#random = randomFrom(seed)
  }

  async step(index: ChunkIndex): Promise<void> {
    const dice = this.#random(1000)
    if (dice < REMOVALS_IN_1000)
      return this.#random(4) === 0 ? this.#removePacks(index) : this.#remove(index, this.#random(4) === 0)
    if (dice < 250) return this.#add(index)
    if (dice < 300) return this.#comparePack(index, this.#random(PACKS))
    return this.#compare(index, this.#someChunks(8))
  }

  async compareAll(index: ChunkIndex): Promise<void> {
    await this.#compare(index, [...Array(CHUNKS).keys()])
    for (let pack = 0; pack < PACKS; pack++) await this.#comparePack(index, pack)
  }

  /** Adds a pack, or adds it again with the same chunks: an id stands for its content. */
  async #add(index: ChunkIndex): Promise<void> {
    const pack = this.#random(PACKS)
    const chunks = this.#packs.get(pack) ?? this.#someChunks(16)
    const except = Uint8Array.of(this.#random(4) === 0 ? this.#random(256) : 0, 0)
    await index.addPack(packOf(pack), hashesOf(...chunks), except)
    this.#packs.set(pack, chunks)
    for (const [position, chunk] of chunks.entries()) {
      if (position < 8 && ((except[0]! >> position) & 1) === 1) continue
      this.#chunks.set(chunk, [packOf(pack), position])
    }
  }

  async #remove(index: ChunkIndex, forget: boolean): Promise<void> {
    const pack = this.#random(PACKS)
    const chunks = this.#packs.get(pack) ?? this.#someChunks(4)
    const which = forget ? undefined : Uint8Array.of(this.#random(256), this.#random(256))
    await index.removeChunks(packOf(pack), hashesOf(...chunks), which)
    for (const [i, chunk] of chunks.entries()) {
      const chosen = which === undefined || ((which[i >> 3]! >> (i & 7)) & 1) === 1
      if (chosen && this.#chunks.get(chunk)?.[0] === packOf(pack)) this.#chunks.delete(chunk)
    }
    if (!forget) return
    await index.forgetPack(packOf(pack))
    this.#packs.delete(pack)
  }

  async #removePacks(index: ChunkIndex): Promise<void> {
    const packs = new Set(Array.from({ length: 1 + this.#random(4) }, () => this.#random(PACKS)))
    await index.removePacks(
      [...packs].map((pack) => ({
        packId: packOf(pack),
        hashes: hashesOf(...(this.#packs.get(pack) ?? this.#someChunks(4))),
      })),
    )
    const ids = new Set([...packs].map(packOf))
    for (const pack of packs) {
      for (const chunk of this.#packs.get(pack) ?? [])
        if (ids.has(this.#chunks.get(chunk)?.[0] ?? '')) this.#chunks.delete(chunk)
      this.#packs.delete(pack)
    }
  }

  async #compare(index: ChunkIndex, chunks: readonly number[]): Promise<void> {
    const expected = chunks.map((chunk) => this.#chunks.get(chunk))
    expect(await answers(index, hashesOf(...chunks)), `seed ${this.#seed}`).toEqual(expected)
  }

  async #comparePack(index: ChunkIndex, pack: number): Promise<void> {
    expect(await index.hasPack(packOf(pack)), `seed ${this.#seed}`).toBe(this.#packs.has(pack))
  }

  /** Up to `most` different chunks. */
  #someChunks(most: number): readonly number[] {
    const chunks = new Set<number>()
    for (let left = this.#random(most) + 1; left > 0; left--) chunks.add(this.#random(CHUNKS))
    return [...chunks]
  }
}
