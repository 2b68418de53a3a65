import { EverfoldError } from '../errors.js'
import { chainKey, chainsPrefix, parseChainKey } from '../store/keys.js'
import type { StoreReader, StoreWriter } from '../store/store.js'
import { type ChainState, decodeChainState, encodeChainState } from './chain-state.js'

/** What the store says about one machine. */
export interface ChainHead {
  /** The highest valid chain state: the machine's truth. */
  readonly state: ChainState
  /** Sequence numbers above it whose objects are damaged: points may be missing from `state`. */
  readonly damaged: readonly number[]
}

/** Machines and their chain states: read, and committed by create-if-absent. */
export class Chains {
  readonly #store: StoreWriter
  readonly #heads = new Map<string, ChainHead>()

  constructor(store: StoreWriter) {
    this.#store = store
  }

  /** Names of all machines that have a chain, sorted. */
  async machines(): Promise<string[]> {
    const names = new Set<string>()
    for await (const object of this.#store.list(chainsPrefix())) {
      const parsed = parseChainKey(object.key)
      if (parsed !== undefined) names.add(parsed.machine)
    }
    return [...names].sort()
  }

  /**
   * The machine's head, or undefined if there is no such machine.
   * @throws CHAIN_DAMAGED if there are chain states and none is valid; STORE_FAILED
   */
  async find(machine: string): Promise<ChainHead | undefined> {
    const known = this.#heads.get(machine)
    if (known !== undefined) return known
    const found = await readChainHead(this.#store, machine)
    if (found !== undefined) this.#heads.set(machine, found)
    return found
  }

  /** @throws MACHINE_UNKNOWN, and as {@link find} */
  async get(machine: string): Promise<ChainHead> {
    const head = await this.find(machine)
    if (head !== undefined) return head
    throw new EverfoldError(
      'MACHINE_UNKNOWN',
      `There is no machine "${machine}" here. See the machines with: everfold points`,
      {
        details: { machine },
      },
    )
  }

  /** The sequence number that the next commit of a machine has to take. */
  nextSequence(head: ChainHead | undefined): number {
    return head === undefined ? 0 : Math.max(head.state.sequence, ...head.damaged) + 1
  }

  /**
   * Commits: durable when the promise resolves.
   * @throws CONFLICT if another writer took this sequence number; STORE_FULL, STORE_FAILED
   */
  async commit(state: ChainState): Promise<void> {
    const encoded = encodeChainState(state)
    const answer = await this.#store.put(chainKey(state.machine, state.sequence), [encoded])
    if (answer === 'exists') {
      this.#heads.delete(state.machine)
      throw new EverfoldError(
        'CONFLICT',
        `Another writer changed "${state.machine}" at the same time; nothing was changed. Try again.`,
        {
          details: { machine: state.machine, sequence: state.sequence },
        },
      )
    }
    this.#heads.set(state.machine, { state, damaged: [] })
  }
}

/** Reads a machine's head from the store. @throws as {@link Chains.find} */
export async function readChainHead(store: StoreReader, machine: string): Promise<ChainHead | undefined> {
  const sequences: number[] = []
  for await (const object of store.list(chainsPrefix(machine))) {
    const parsed = parseChainKey(object.key)
    if (parsed !== undefined) sequences.push(parsed.sequence)
  }
  if (sequences.length === 0) return undefined
  sequences.sort((a, b) => b - a)
  const damaged: number[] = []
  for (const sequence of sequences) {
    const state = decodeChainState(await store.readAll(chainKey(machine, sequence)))
    if (state?.machine === machine && state.sequence === sequence) return { state, damaged }
    damaged.push(sequence)
  }
  throw new EverfoldError(
    'CHAIN_DAMAGED',
    `Every chain state of "${machine}" is damaged, so its points cannot be listed. Restore the folder chains/ from a copy.`,
    { details: { machine, sequences: damaged } },
  )
}
