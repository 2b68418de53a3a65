import type { ChainState } from '../chain/chain-state.js'
import { listingIncomplete } from '../chain/chains.js'
import { type ExtentList, PackTable, ZEROS } from '../chain/extent-list.js'
import type { WorkPins } from '../chain/pins.js'
import type { Repository } from '../chain/repository.js'
import { readRun } from '../chain/run-store.js'
import { EverfoldError } from '../errors.js'
import { chunkAt, type PackDirectory } from '../pack/pack-format.js'

/**
 * The mark phase: every reference that a run of a chain makes to a pack, collected compactly (20 bytes each: an extent, not a
 * chunk) and then handed out pack by pack.
 */
export class References {
  readonly packs = new PackTable()
  #count = 0
  #slot = new Uint32Array(1024)
  #chunk = new Uint32Array(1024)
  #skip = new Uint32Array(1024)
  #length = new Uint32Array(1024)
  #tag = new Uint32Array(1024)
  /** Per slot, one more than slots: where its references begin in #order. */
  #start: Uint32Array | undefined
  #order = new Uint32Array(0)

  get count(): number {
    return this.#count
  }

  /** Notes all references of a list. `tag` says who makes them. */
  add(list: ExtentList, tag: number): void {
    for (let i = 0; i < list.length; i++) {
      const slot = list.pack[i] ?? ZEROS
      if (slot === ZEROS) continue
      if (this.#count === this.#slot.length) this.#grow()
      const at = this.#count++
      this.#slot[at] = slot
      this.#chunk[at] = list.chunk[i] ?? 0
      this.#skip[at] = list.skip[i] ?? 0
      this.#length[at] = list.size[i] ?? 0
      this.#tag[at] = tag
    }
    this.#start = undefined
  }

  has(packId: string): boolean {
    const slot = this.packs.find(packId)
    if (slot === undefined) return false
    const start = this.#sorted()
    return (start[slot] ?? 0) < (start[slot + 1] ?? 0)
  }

  /** Calls `each` for every chunk of the pack that is referred to, once per reference. */
  chunksOf(directory: PackDirectory, each: (chunk: number, tag: number) => void): void {
    const slot = this.packs.find(directory.id)
    if (slot === undefined) return
    const start = this.#sorted()
    const total = directory.chunkStart[directory.chunkCount] ?? 0
    for (let n = start[slot] ?? 0; n < (start[slot + 1] ?? 0); n++) {
      const i = this.#order[n] ?? 0
      const begin = (directory.chunkStart[this.#chunk[i] ?? 0] ?? total) + (this.#skip[i] ?? 0)
      const end = Math.min(total, begin + (this.#length[i] ?? 0))
      if (begin >= end) continue
      for (let chunk = chunkAt(directory, begin); (directory.chunkStart[chunk] ?? end) < end; chunk++)
        each(chunk, this.#tag[i] ?? 0)
    }
  }

  /** Counting sort by slot, when first needed. */
  #sorted(): Uint32Array {
    if (this.#start !== undefined) return this.#start
    const start = new Uint32Array(this.packs.size + 1)
    for (let i = 0; i < this.#count; i++) {
      const slot = this.#slot[i] ?? 0
      start[slot + 1] = (start[slot + 1] ?? 0) + 1
    }
    for (let slot = 0; slot < this.packs.size; slot++)
      start[slot + 1] = (start[slot + 1] ?? 0) + (start[slot] ?? 0)
    const next = start.slice()
    this.#order = new Uint32Array(this.#count)
    for (let i = 0; i < this.#count; i++) {
      const slot = this.#slot[i] ?? 0
      const at = next[slot] ?? 0
      this.#order[at] = i
      next[slot] = at + 1
    }
    this.#start = start
    return start
  }

  #grow(): void {
    const grown = (from: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> => {
      const to = new Uint32Array(from.length * 2)
      to.set(from)
      return to
    }
    this.#slot = grown(this.#slot)
    this.#chunk = grown(this.#chunk)
    this.#skip = grown(this.#skip)
    this.#length = grown(this.#length)
    this.#tag = grown(this.#tag)
  }
}

/**
 * Every machine's head, for work that will delete: complete for certain, or it fails. Its runs are pinned in the turn in which
 * the head became known.
 * @throws CHAIN_DAMAGED, LISTING_INCOMPLETE, STORE_FAILED
 */
export async function allHeads(repository: Repository, pins: WorkPins): Promise<ChainState[]> {
  const { registry } = repository.chains
  const names = await repository.chains.allMachines()
  if (registry.damaged.length > 0)
    throw new EverfoldError(
      'CHAIN_DAMAGED',
      `${registry.damaged.length} entries of the machine registry are damaged, so it is not known what all is needed: nothing is collected. Run: everfold verify`,
    )
  const heads: ChainState[] = []
  for (const name of names) {
    const head = await repository.chains.find(name)
    if (head === undefined) throw listingIncomplete(name)
    if (head.damaged.length > 0)
      throw new EverfoldError(
        'CHAIN_DAMAGED',
        `The newest chain state of "${name}" is damaged, so it is not known what all is needed: nothing is collected. ` +
          `Back "${name}" up once more without --changed; that makes a new one.`,
        { details: { machine: name, damagedSequences: head.damaged } },
      )
    for (const point of head.state.points)
      for (const disk of point.disks) for (const segment of disk.run.segments) pins.pin(segment.id)
    heads.push(head.state)
  }
  return heads
}

/** Marks everything that heads refer to, with one tag for all. @throws OBJECT_NOT_FOUND, DATA_DAMAGED, STORE_FAILED */
export async function markHeads(
  repository: Repository,
  heads: readonly ChainState[],
  onMachine?: (done: number, total: number) => void,
): Promise<References> {
  const references = new References()
  for (const [i, head] of heads.entries()) {
    for (const point of head.points)
      for (const disk of point.disks)
        references.add(await readRun(repository.store, head.machine, disk.run, references.packs), 0)
    onMachine?.(i + 1, heads.length)
  }
  return references
}
