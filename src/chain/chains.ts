import { EverfoldError, isEverfoldError } from '../errors.js'
import { KeyedMutex } from '../mutex.js'
import { checkName } from '../names.js'
import { chainKey, chainsPrefix, parseChainKey } from '../store/keys.js'
import { readAgainIfDamaged } from '../store/read-again.js'
import type { StoreReader, StoreWriter } from '../store/store.js'
import { type ChainState, chainFormatOf, decodeChainState, encodeChainState } from './chain-state.js'
import { HeadCache } from './head-cache.js'
import { MachineRegistry } from './machine-registry.js'

/** What the store says about one machine. */
export interface ChainHead {
  /** The highest valid chain state: the machine's truth. */
  readonly state: ChainState
  /** Sequence numbers above it whose objects are damaged: points may be missing from `state`. */
  readonly damaged: readonly number[]
}

/** What an edit may change in a chain state; members that are absent stay as they are. */
export interface ChainEdit {
  readonly points?: ChainState['points']
  readonly retention?: ChainState['retention']
}

/** Machines and their chain states: read, and committed by create-if-absent. */
export class Chains {
  readonly registry: MachineRegistry
  readonly #store: StoreWriter
  readonly #heads: HeadCache
  /** Commits of a machine, counted when they begin and when they end: what was read across one may be out of date. */
  readonly #changes = new Map<string, number>()
  readonly #committing = new KeyedMutex()

  constructor(store: StoreWriter, heads = new HeadCache()) {
    this.#store = store
    this.#heads = heads
    this.registry = new MachineRegistry(store)
  }

  /** Names of all machines that have points, sorted. @throws STORE_FAILED, LISTING_INCOMPLETE, CHAIN_DAMAGED */
  async machines(): Promise<string[]> {
    const names: string[] = []
    for (const name of await this.allMachines())
      if (((await this.find(name))?.state.points.length ?? 0) > 0) names.push(name)
    return names
  }

  /** Names of all machines that ever had a chain, deleted ones included, sorted. @throws STORE_FAILED */
  async allMachines(): Promise<string[]> {
    const names = new Set(await this.registry.names())
    // A machine that was cut short before it was registered has no point, but maybe runs: those are found in the listing alone.
    for await (const object of this.#store.list(chainsPrefix())) {
      const parsed = parseChainKey(object.key)
      if (parsed !== undefined) names.add(parsed.machine)
    }
    return [...names].sort()
  }

  /**
   * The machine's head, or undefined if there never was such a machine.
   * @throws CHAIN_DAMAGED if there are chain states and none is valid; LISTING_INCOMPLETE; STORE_FAILED
   */
  async find(machine: string): Promise<ChainHead | undefined> {
    const known = this.#heads.get(machine)
    if (known !== undefined) return known
    let found = await this.#read(machine)
    if (found !== undefined || !(await this.registry.names()).has(machine)) return found
    // Its first commit may have come between the listing and the registry.
    found = await this.#read(machine)
    if (found === undefined) throw listingIncomplete(machine)
    return found
  }

  /** The head of a machine that has points, if it is in memory: for whoever asks thousands of times a second. */
  atHand(machine: string): ChainHead | undefined {
    const head = this.#heads.get(machine)
    return head !== undefined && head.state.points.length > 0 ? head : undefined
  }

  async #read(machine: string): Promise<ChainHead | undefined> {
    const changes = this.#changes.get(machine)
    const found = await readChainHead(this.#store, machine)
    if (found !== undefined && this.#changes.get(machine) === changes) this.#heads.set(machine, found)
    return found
  }

  /** The head of a machine that has points. @throws NAME_INVALID, MACHINE_UNKNOWN, and as {@link find} */
  async get(name: string): Promise<ChainHead> {
    const machine = checkName('machine', name)
    const head = await this.find(machine)
    if (head !== undefined && (head.state.points.length > 0 || head.damaged.length > 0)) return head
    throw new EverfoldError(
      'MACHINE_UNKNOWN',
      `There is no machine "${machine}" here. See the machines with: everfold points`,
      { details: { machine } },
    )
  }

  /**
   * Changes a chain: reads the head, asks `change` for what is to be different, and commits it as the next sequence number, one edit
   * of a machine at a time. The first one begins the chain, without points, and registers the machine. Durable when the promise
   * resolves. `change` must not wait for anything slow: what it throws leaves the chain as it is.
   * @throws CONFLICT if another writer was faster; STORE_FULL, STORE_FAILED, and as {@link find}
   */
  async edit(machine: string, change: (head: ChainHead | undefined) => ChainEdit): Promise<ChainState> {
    return this.#committing.run(machine, async () => {
      const head = await this.find(machine)
      // It may be of a commit that failed or was cut short: what builds on it must not outlive it.
      if (head !== undefined) await this.#store.settle(chainsPrefix(machine))
      const edit = change(head)
      const points = edit.points ?? head?.state.points ?? []
      const state: ChainState = {
        ...emptyState(machine),
        format: chainFormatOf(points),
        sequence: head === undefined ? 1 : Math.max(head.state.sequence, ...head.damaged) + 1,
        ...(head?.state.retention === undefined ? {} : { retention: head.state.retention }),
        ...(head !== undefined && losesNewest(head, edit.points) ? { newestLost: true } : {}),
        ...edit,
        points,
      }
      this.#forget(machine)
      try {
        // No point before its machine is known for certain: else a collection that is given an empty listing overlooks it.
        if (head === undefined) await this.#put(emptyState(machine))
        await this.registry.add(machine)
        await this.#put(state)
      } finally {
        // Whatever came of it, what was known or read meanwhile is out of date: an answer may be lost after the effect.
        this.#forget(machine)
      }
      this.#heads.set(machine, { state, damaged: [] })
      return state
    })
  }

  /**
   * Puts on stable storage what the next edit of a machine builds on, so that little of that is left for it to do. For a machine that has a
   * chain. What goes wrong is no failure: the edit does it all the same.
   */
  async prepare(machine: string): Promise<void> {
    try {
      await this.#store.settle(chainsPrefix(machine))
      await this.registry.add(machine)
    } catch {
      // The edit says what is wrong.
    }
  }

  async #put(state: ChainState): Promise<void> {
    const { machine, sequence } = state
    const answer = await this.#store.put(chainKey(machine, sequence), [encodeChainState(state)])
    if (answer === 'created') return
    throw new EverfoldError(
      'CONFLICT',
      `Another writer changed "${machine}" at the same time; nothing was changed. Try again.`,
      { details: { machine, sequence } },
    )
  }

  #forget(machine: string): void {
    this.#heads.delete(machine)
    this.#changes.set(machine, (this.#changes.get(machine) ?? 0) + 1)
  }
}

/** A machine's first state. */
function emptyState(machine: string): ChainState {
  return { everfold: 'chain', format: chainFormatOf([]), machine, sequence: 0, points: [] }
}

/** Is the newest point no longer the newest that there was? A new point puts that right: see FEED_BASE_UNSURE. */
function losesNewest(head: ChainHead, points = head.state.points): boolean {
  const before = head.state.points.at(-1)?.id
  const after = points.at(-1)?.id
  if (after === before) return head.state.newestLost === true || head.damaged.length > 0
  return head.state.points.some((point) => point.id === after)
}

/**
 * Reads a machine's head from the store. A listing is only a hint: sequence numbers are without gaps from the lowest
 * that is kept, so from any that exists we go up, asking for the next, until there is none.
 * @throws CHAIN_DAMAGED, STORE_FAILED
 */
export async function readChainHead(store: StoreReader, machine: string): Promise<ChainHead | undefined> {
  const listed: number[] = []
  for await (const object of store.list(chainsPrefix(machine))) {
    const parsed = parseChainKey(object.key)
    if (parsed !== undefined) listed.push(parsed.sequence)
  }
  listed.sort((a, b) => b - a)
  const damaged: number[] = []
  let anyFound = false
  for (const sequence of listed) {
    const found = await readState(store, machine, sequence)
    if (found === 'none') continue
    const above = anyFound ? undefined : await climb(store, machine, sequence)
    anyFound = true
    damaged.push(...(above?.damaged ?? []))
    const state = above?.state ?? found
    if (state !== 'damaged') return { state, damaged: damaged.filter((number) => number > state.sequence) }
    damaged.push(sequence)
  }
  if (!anyFound) return undefined
  throw new EverfoldError(
    'CHAIN_DAMAGED',
    `Every chain state of "${machine}" is damaged, so its points cannot be listed. Restore the folder chains/ from a copy.`,
    { details: { machine, sequences: damaged } },
  )
}

/** Goes up from a sequence number that exists. @returns the highest valid state above it, and damaged numbers met */
async function climb(
  store: StoreReader,
  machine: string,
  from: number,
): Promise<{ readonly state: ChainState | undefined; readonly damaged: readonly number[] }> {
  const damaged: number[] = []
  let state: ChainState | undefined
  for (let sequence = from + 1; ; sequence++) {
    const found = await readState(store, machine, sequence)
    if (found === 'none') return { state, damaged }
    if (found === 'damaged') damaged.push(sequence)
    else state = found
  }
}

async function readState(
  store: StoreReader,
  machine: string,
  sequence: number,
): Promise<ChainState | 'none' | 'damaged'> {
  const read = async (): Promise<ChainState | 'damaged'> => {
    const state = decodeChainState(await store.readAll(chainKey(machine, sequence)))
    return state?.machine === machine && state.sequence === sequence ? state : 'damaged'
  }
  try {
    return await readAgainIfDamaged(read, (state) => state !== 'damaged')
  } catch (error) {
    if (isEverfoldError(error, 'OBJECT_NOT_FOUND')) return 'none'
    throw error
  }
}

export function listingIncomplete(machine: string): EverfoldError {
  return new EverfoldError(
    'LISTING_INCOMPLETE',
    `The store lists no chain of "${machine}", which has one. Nothing was changed; try again.`,
    { details: { machine } },
  )
}
