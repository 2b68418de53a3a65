import { stopIfCancelled } from '../cancellation.js'
import type { ChainState } from '../chain/chain-state.js'
import { listingIncomplete } from '../chain/chains.js'
import { piecesOf, segmentsOfChain } from '../chain/disk-runs.js'
import { type ExtentList, ZEROS } from '../chain/extent-list.js'
import { PackTable } from '../chain/pack-table.js'
import type { WorkPins } from '../chain/pins.js'
import type { Repository } from '../chain/repository.js'
import { EverfoldError, isEverfoldError } from '../errors.js'
import { inOrder } from '../in-order.js'
import { chunkAt, type PackDirectory } from '../pack/pack-format.js'

/** Words of a reference: first chunk, skip, length, and the reference to the same pack before it. */
const WORDS = 4
/** References in a block: what is collected grows by blocks, so that nothing is ever copied. */
const BLOCK = 64 * 1024
const NONE = 0xffff_ffff
const UNWANTED = 0xffff_fffe

/**
 * The mark phase: every reference that a run of a chain makes to a pack, collected compactly (16 bytes each, and 4 for a tag: an
 * extent, not a chunk) and then handed out pack by pack.
 */
export class References {
  readonly packs = new PackTable()
  readonly #wants: (packId: string) => boolean
  readonly #words: Uint32Array[] = []
  readonly #tags: (Uint32Array | undefined)[] = []
  /** By slot of the pack: its newest reference. */
  readonly #newest: number[] = []
  #count = 0

  /** @param wants  Other packs are passed over: who has too many references to hold goes over them several times. */
  constructor(wants: (packId: string) => boolean = () => true) {
    this.#wants = wants
  }

  get count(): number {
    return this.#count
  }

  /** Notes all references of a list in the same table. `tag` says who makes them. */
  add(list: ExtentList, tag: number): void {
    for (let slot = this.#newest.length; slot < this.packs.size; slot++)
      this.#newest.push(this.#wants(this.packs.idOf(slot)) ? NONE : UNWANTED)
    for (let i = 0; i < list.length; i++) {
      const slot = list.pack[i] ?? ZEROS
      if (slot === ZEROS) continue
      const before = this.#newest[slot] ?? NONE
      if (before === UNWANTED) continue
      const number = this.#count++
      const at = number % BLOCK
      if (at === 0) {
        this.#words.push(new Uint32Array(BLOCK * WORDS))
        this.#tags.push(undefined)
      }
      const block = (number - at) / BLOCK
      const words = this.#words[block] ?? new Uint32Array(0)
      words[at * WORDS] = list.chunk[i] ?? 0
      words[at * WORDS + 1] = list.skip[i] ?? 0
      words[at * WORDS + 2] = list.size[i] ?? 0
      words[at * WORDS + 3] = before
      this.#newest[slot] = number
      if (tag !== 0) (this.#tags[block] ??= new Uint32Array(BLOCK))[at] = tag
    }
  }

  has(packId: string): boolean {
    return this.#newestOf(packId) !== NONE
  }

  /** Calls `each` for every chunk of the pack that is referred to, once per reference. */
  chunksOf(directory: PackDirectory, each: (chunk: number, tag: number) => void): void {
    const total = directory.chunkStart[directory.chunkCount] ?? 0
    for (let number = this.#newestOf(directory.id); number !== NONE; ) {
      const at = number % BLOCK
      const block = (number - at) / BLOCK
      const words = this.#words[block] ?? new Uint32Array(0)
      const tag = this.#tags[block]?.[at] ?? 0
      const begin = (directory.chunkStart[words[at * WORDS] ?? 0] ?? total) + (words[at * WORDS + 1] ?? 0)
      const end = Math.min(total, begin + (words[at * WORDS + 2] ?? 0))
      number = words[at * WORDS + 3] ?? NONE
      if (begin >= end) continue
      for (let chunk = chunkAt(directory, begin); (directory.chunkStart[chunk] ?? end) < end; chunk++)
        each(chunk, tag)
    }
  }

  #newestOf(packId: string): number {
    const slot = this.packs.find(packId)
    const newest = slot === undefined ? NONE : (this.#newest[slot] ?? NONE)
    return newest === UNWANTED ? NONE : newest
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
    for (const segment of segmentsOfChain(head.state)) pins.pin(segment.id)
    heads.push(head.state)
  }
  return heads
}

/** References held at once: 320 MiB of them. What has more is marked in parts. */
const REFERENCES_MAX = 20 * 1024 * 1024
/** Pieces of runs read ahead while one is marked. */
const PIECES_AHEAD = 4

/**
 * Into how many parts the packs are to be divided so that the references to those of one part can be held at once. Each part
 * costs one more reading of all runs.
 */
export function partsOf(heads: readonly ChainState[]): number {
  let extents = 0
  for (const head of heads) for (const segment of segmentsOfChain(head)) extents += segment.extents
  return Math.max(1, Math.ceil(extents / REFERENCES_MAX))
}

/** The part that a pack belongs to: ids are evenly distributed. */
export function partOf(packId: string, parts: number): number {
  return Number.parseInt(packId.slice(0, 8), 16) % parts
}

/**
 * Marks everything that heads refer to in the packs that `wants` names, with one tag for all. Memory: the references, and a few segments.
 * @throws OBJECT_NOT_FOUND, DATA_DAMAGED, STORE_FAILED, CANCELLED
 */
export async function markHeads(
  repository: Repository,
  heads: readonly ChainState[],
  wants?: (packId: string) => boolean,
  signal?: AbortSignal,
): Promise<References> {
  const references = new References(wants)
  const lists = inOrder(piecesOfAll(repository, heads, references.packs), PIECES_AHEAD, ({ machine, read }) =>
    read().catch((error: unknown) => {
      throw isEverfoldError(error, 'OBJECT_NOT_FOUND', 'DATA_DAMAGED') ? runLost(machine, error) : error
    }),
  )
  for await (const list of lists) {
    stopIfCancelled(signal)
    references.add(list, 0)
  }
  return references
}

/** What a lost run referred to is not known, so that every pack may be needed by it. */
function runLost(machine: string, cause: EverfoldError): EverfoldError {
  return new EverfoldError(
    cause.code,
    `A run of "${machine}" is missing or damaged, so it is not known what its points need, and nothing is collected for any machine. ` +
      `Put the object back from a copy (everfold verify names it), or give the machine up: everfold delete-machine ${machine} --yes`,
    { cause, details: { ...cause.details, machine } },
  )
}

function* piecesOfAll(
  { store }: Repository,
  heads: readonly ChainState[],
  packs: PackTable,
): Generator<{ readonly machine: string; readonly read: () => Promise<ExtentList> }> {
  for (const { machine, points } of heads)
    for (const { disks } of points)
      for (const disk of disks)
        for (const read of piecesOf(store, machine, disk, packs)) yield { machine, read }
}
