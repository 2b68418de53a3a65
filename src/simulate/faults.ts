import type { Fault as StoreFault, StoreOperation } from '../store/faulty-store.js'
import type { Fault, FaultKind } from './plan.js'
import { Random } from './random.js'
import { systemError } from './volatile-file-system.js'

/** Turns that a slow answer takes, at most: others may come to their end meanwhile. */
const SLOW_TURNS_MAX = 2000
const OBJECT_READS: readonly StoreOperation[] = ['read', 'readAll', 'readTail']

/** Injects the faults of one step, each at its call, and counts those that came. */
export class FaultInjector {
  readonly #faults: readonly Fault[]
  readonly #came: (kind: FaultKind, seed: number) => void
  readonly #turn: () => Promise<void>
  readonly #pending: Set<Fault>
  readonly happened = new Set<FaultKind>()
  #systemCalls = 0
  #revealed = 0
  /** Has something got its name that no sync came after? */
  #isRevealed = false
  #storeCalls = 0
  #reads = 0
  #listings = 0

  /** @param came  told of each fault, when it comes. @param turn  waits for a turn, as slow answers do many times */
  constructor(
    faults: readonly Fault[],
    came: (kind: FaultKind, seed: number) => void,
    turn: () => Promise<void>,
  ) {
    this.#turn = turn
    this.#faults = faults
    this.#pending = new Set(faults)
    this.#came = came
  }

  /** Before each call to the file system. @returns whether the process ends here. @throws what the system would */
  beforeSystemCall(call: string, path: string): boolean {
    this.#systemCalls++
    if (call === 'link') this.#isRevealed = true
    else if (call === 'sync' && this.#isRevealed) {
      this.#isRevealed = false
      this.#revealed++
      if (this.#faults.some((fault) => fault.atSync === true && fault.at === this.#revealed)) return true
    }
    for (const fault of this.#faults) {
      if (fault.kind === 'disk full' && this.#systemCalls >= fault.at && NEEDS_SPACE.has(call)) {
        this.#note(fault)
        throw systemError('ENOSPC', path)
      }
      if (fault.kind === 'clock jump' && this.#systemCalls >= fault.at) this.#note(fault)
      if (fault.kind !== 'system error' || this.#systemCalls < fault.at || !this.#pending.has(fault)) continue
      this.#note(fault)
      throw systemError('EIO', path)
    }
    return false
  }

  /** Before each call to the store. */
  decide(operation: StoreOperation, key: string): StoreFault | undefined {
    this.#storeCalls++
    if (OBJECT_READS.includes(operation)) this.#reads++
    if (operation === 'list') this.#listings++
    for (const fault of this.#faults) {
      if (!this.#pending.has(fault) && fault.kind !== 'bad listings') continue
      const made = this.#make(fault, operation)
      if (made === undefined) continue
      this.#note(fault, `${operation} ${key}`)
      return made
    }
    return undefined
  }

  #make(fault: Fault, operation: StoreOperation): StoreFault | undefined {
    const random = new Random(fault.seed)
    const isRead = OBJECT_READS.includes(operation)
    switch (fault.kind) {
      case 'error before':
      case 'error after':
        if (this.#storeCalls < fault.at) return undefined
        return { kind: fault.kind === 'error before' ? 'error-before' : 'error-after' }
      case 'flipped bit':
        return isRead && this.#reads >= fault.at
          ? { kind: 'flipped-bit', bit: random.magnitude(40_000) }
          : undefined
      case 'short read':
        return isRead && this.#reads >= fault.at
          ? { kind: 'short-read', lengthBytes: random.magnitude(5000) - 1 }
          : undefined
      case 'empty listing':
        return operation === 'list' && this.#listings >= fault.at ? { kind: 'empty-listing' } : undefined
      case 'partial listing':
        return operation === 'list' && this.#listings >= fault.at
          ? { kind: 'partial-listing', drops: () => random.chance(0.5) }
          : undefined
      case 'bad listings': {
        if (operation !== 'list' || this.#listings < fault.at) return undefined
        if (fault.seed % 3 === 0) return { kind: 'empty-listing' }
        const short = new Random(fault.seed + this.#listings)
        return { kind: 'partial-listing', drops: () => short.chance(0.5) }
      }
      case 'slow answer':
        return this.#storeCalls >= fault.at
          ? { kind: 'delay', wait: () => this.#turns(random.magnitude(SLOW_TURNS_MAX)) }
          : undefined
      case 'clock jump':
      case 'power cut':
      case 'kill':
      case 'system error':
      case 'disk full':
      case 'rot':
        return undefined
    }
  }

  async #turns(count: number): Promise<void> {
    for (let i = 0; i < count; i++) await this.#turn()
  }

  #note(fault: Fault, where = ''): void {
    if (!this.#pending.delete(fault)) return
    this.happened.add(fault.kind)
    this.where = `${fault.kind} ${where}`
    this.#came(fault.kind, fault.seed)
  }

  /** The last fault that came, for the trace. */
  where = ''
}

/** System calls that take space, by the names that the simulated file system gives them. */
const NEEDS_SPACE = new Set(['write', 'mkdir', 'open to create', 'link', 'rename'])
