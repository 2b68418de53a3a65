import assert from 'node:assert'

import { bytesToHex } from '../checksum.js'
import { bitAt } from './bitmap.js'
import { type ChunkIndex, HASH_BYTES, type LookupResult, type PackHashes } from './chunk-index.js'

interface Place {
  readonly packId: string
  readonly position: number
}

interface State {
  readonly chunks: Map<string, Place>
  readonly packs: Set<string>
  readonly notes: Map<string, string>
}

/** One atomic change. Applied once to what is seen, and once more to what is durable. */
type Batch = (state: State) => void

/**
 * The index in memory, for tests and simulation. `crash` is a power cut: batches that no synced write followed
 * are lost from some point on. (LevelDB's log is sequential, so a synced write carries those before it; see
 * `removeChunks` of LevelIndex for the one case where it does not.)
 */
export class MemoryIndex implements ChunkIndex {
  #seen = emptyState()
  #durable = emptyState()
  #unsynced: Batch[] = []

  /**
   * Cuts the power: of the unsynced batches, oldest first, only the first `keep(how many there are)` survive.
   * The same object goes on as the index that is opened afterwards.
   */
  crash(keep: (unsynced: number) => number): void {
    const kept = keep(this.#unsynced.length)
    assert(Number.isInteger(kept) && kept >= 0 && kept <= this.#unsynced.length, 'keeps some of the batches')
    for (const batch of this.#unsynced.slice(0, kept)) batch(this.#durable)
    this.#unsynced = []
    this.#seen = copyOf(this.#durable)
  }

  /** A copy of what is durable. */
  copy(): MemoryIndex {
    const copied = new MemoryIndex()
    copied.#durable = copyOf(this.#durable)
    copied.#seen = copyOf(this.#durable)
    return copied
  }

  async lookup(hashes: Uint8Array): Promise<LookupResult> {
    const names = namesOf(hashes)
    const packs: string[] = []
    const placeOf = new Map<string, number>()
    const packOf = new Int32Array(names.length).fill(-1)
    const position = new Uint32Array(names.length)
    for (const [i, name] of names.entries()) {
      const place = this.#seen.chunks.get(name)
      if (place === undefined) continue
      const known = placeOf.get(place.packId) ?? packs.push(place.packId) - 1
      placeOf.set(place.packId, known)
      packOf[i] = known
      position[i] = place.position
    }
    return { packs, packOf, position }
  }

  async addPack(packId: string, hashes: Uint8Array, except?: Uint8Array): Promise<void> {
    const names = namesOf(hashes)
    const skipped = except?.slice()
    this.#write(false, (state) => {
      state.packs.add(packId)
      for (const [position, name] of names.entries()) {
        if (skipped === undefined || !bitAt(skipped, position)) state.chunks.set(name, { packId, position })
      }
    })
  }

  async removeChunks(packId: string, hashes: Uint8Array, which?: Uint8Array): Promise<void> {
    const names = namesOf(hashes)
    // Chosen now and not when applied: LevelIndex as well writes the deletions that it decided on.
    const gone = names.filter(
      (name, i) => (which === undefined || bitAt(which, i)) && this.#seen.chunks.get(name)?.packId === packId,
    )
    this.#write(true, (state) => {
      for (const name of gone) state.chunks.delete(name)
    })
  }

  async removePacks(packs: readonly PackHashes[]): Promise<void> {
    const known = packs.filter(({ packId }) => this.#seen.packs.has(packId))
    const ids = new Set(known.map(({ packId }) => packId))
    const gone = known
      .flatMap(({ hashes }) => namesOf(hashes))
      .filter((name) => ids.has(this.#seen.chunks.get(name)?.packId ?? ''))
    this.#write(true, (state) => {
      for (const name of gone) state.chunks.delete(name)
      for (const id of ids) state.packs.delete(id)
    })
  }

  async forgetPack(packId: string): Promise<void> {
    this.#write(true, (state) => {
      state.packs.delete(packId)
      // An entry whose pack is not known is a miss.
      for (const [name, place] of state.chunks) if (place.packId === packId) state.chunks.delete(name)
    })
  }

  async hasPack(packId: string): Promise<boolean> {
    return this.#seen.packs.has(packId)
  }

  async *packIds(): AsyncGenerator<string> {
    yield* [...this.#seen.packs]
  }

  async getNote(name: string): Promise<string | undefined> {
    return this.#seen.notes.get(name)
  }

  async putNote(name: string, value: string | undefined): Promise<void> {
    this.#write(true, (state) => {
      if (value === undefined) state.notes.delete(name)
      else state.notes.set(name, value)
    })
  }

  async clear(): Promise<void> {
    this.#write(true, (state) => {
      state.chunks.clear()
      state.packs.clear()
      state.notes.clear()
    })
  }

  /** What LevelIndex would use, roughly. */
  async sizes(): Promise<{ readonly diskBytes: number }> {
    return { diskBytes: 40 * this.#seen.chunks.size + 80 * this.#seen.packs.size }
  }

  async close(): Promise<void> {
    // Nothing is held. Unsynced batches stay unsynced: LevelDB does not sync when it closes either.
  }

  #write(sync: boolean, batch: Batch): void {
    batch(this.#seen)
    this.#unsynced.push(batch)
    if (!sync) return
    for (const earlier of this.#unsynced) earlier(this.#durable)
    this.#unsynced = []
  }
}

function emptyState(): State {
  return { chunks: new Map(), packs: new Set(), notes: new Map() }
}

function copyOf(state: State): State {
  return { chunks: new Map(state.chunks), packs: new Set(state.packs), notes: new Map(state.notes) }
}

function namesOf(hashes: Uint8Array): string[] {
  assert(hashes.length % HASH_BYTES === 0, 'hashes are 32 bytes each')
  const all = bytesToHex(hashes)
  return Array.from({ length: hashes.length / HASH_BYTES }, (_, i) => all.slice(i * 64, i * 64 + 64))
}
