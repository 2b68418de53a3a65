import * as z from 'zod'
import { isEverfoldError } from '../errors.js'
import { openSealedJson, sealJson } from '../sealed-json.js'
import { machineKey, machinesPrefix } from '../store/keys.js'
import { readAgainIfDamaged } from '../store/read-again.js'
import type { StoreWriter } from '../store/store.js'

/*
 * machines/<number>, format 1: sealed JSON, one object per machine that ever had a chain, numbered without gaps from 0 and never
 * removed. So all machines are found by asking for one number after the other: no listing has to be believed before
 * something is deleted (invariant 5).
 */

const machineEntry = z.strictObject({
  everfold: z.literal('machine'),
  format: z.literal(1),
  number: z.number().int().min(0),
  machine: z.string(),
})

/** Entries that are asked for at once, at most. */
const READ_AHEAD = 32

export class MachineRegistry {
  readonly #store: StoreWriter
  readonly #names = new Set<string>()
  readonly #damaged: number[] = []
  /** Machines whose entries are on stable storage for certain. */
  readonly #durable = new Set<string>()
  #next = 0

  constructor(store: StoreWriter) {
    this.#store = store
  }

  /** Numbers whose entries are damaged: which machines they name is not known. */
  get damaged(): readonly number[] {
    return this.#damaged
  }

  /**
   * Names of all machines registered (but for damaged entries).
   * @param wanted  once this one is found, the rest may be missing
   * @throws STORE_FAILED
   */
  async names(wanted?: string): Promise<ReadonlySet<string>> {
    // Only a hint of how many can be asked for at once: what it leaves out is found one by one.
    const listed = this.#next === 0 ? await this.#countListed() : 0
    while (wanted === undefined || !this.#names.has(wanted)) {
      const ahead = Math.min(READ_AHEAD, Math.max(1, listed - this.#next))
      const numbers = Array.from({ length: ahead }, (_, i) => this.#next + i)
      const entries = await Promise.all(numbers.map((number) => this.#read(number)))
      for (const [i, entry] of entries.entries()) {
        if (entry === 'none') return this.#names
        if (this.#next !== numbers[i]) continue
        if (entry === 'damaged') this.#damaged.push(this.#next)
        else this.#names.add(entry.machine)
        this.#next++
      }
    }
    return this.#names
  }

  async #countListed(): Promise<number> {
    let count = 0
    for await (const _ of this.#store.list(machinesPrefix)) count++
    return count
  }

  /** Registers a machine that has a chain, durably; once is enough. @throws STORE_FULL, STORE_FAILED */
  async add(machine: string): Promise<void> {
    if (this.#durable.has(machine)) return
    while (!(await this.names(machine)).has(machine)) {
      const entry = { everfold: 'machine', format: 1, number: this.#next, machine }
      // If another writer took the number, names() reads on from there.
      await this.#store.put(machineKey(this.#next), [sealJson(entry)])
    }
    // The entry may be what is left of an attempt that failed.
    await this.#store.settle(machinesPrefix)
    this.#durable.add(machine)
  }

  async #read(number: number): Promise<'none' | 'damaged' | { readonly machine: string }> {
    const read = async (): Promise<'damaged' | { readonly machine: string }> => {
      const entry = machineEntry.safeParse(openSealedJson(await this.#store.readAll(machineKey(number))))
      return entry.success && entry.data.number === number ? entry.data : 'damaged'
    }
    try {
      return await readAgainIfDamaged(read, (entry) => entry !== 'damaged')
    } catch (error) {
      if (isEverfoldError(error, 'OBJECT_NOT_FOUND')) return 'none'
      throw error
    }
  }
}
