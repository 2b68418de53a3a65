import * as z from 'zod'
import { isEverfoldError } from '../errors.js'
import { openSealedJson, sealJson } from '../sealed-json.js'
import { parseQuarantineKey, quarantineKey, quarantinePrefix } from '../store/keys.js'
import { readAgainIfDamaged } from '../store/read-again.js'
import type { StoreReader, StoreWriter } from '../store/store.js'

/*
 * quarantine/<number>, format 1: sealed JSON; the highest valid number holds. What garbage collection has condemned and not yet
 * removed, and what verification found damaged. Losing it loses nothing: the next collection and verification find it
 * all again, and nothing is removed on its word alone.
 */

const sha256 = z.string().regex(/^[0-9a-f]{64}$/)
const count = z.number().int().min(0)

const condemnedObject = z
  .strictObject({
    key: z.string(),
    /** The packs in it, each with its generation. */
    packs: z.array(z.strictObject({ id: sha256, generation: count }).readonly()).readonly(),
    /** The round of garbage collection that condemned it. */
    round: count,
  })
  .readonly()

const damagedPack = z
  .strictObject({
    pack: sha256,
    generation: count,
    /** The object that holds this generation. */
    key: z.string(),
    /** Numbers of its chunks that cannot be read; absent: none of it can. */
    chunks: z.array(count).readonly().optional(),
  })
  .readonly()

const quarantineState = z
  .strictObject({
    everfold: z.literal('quarantine'),
    format: z.literal(1),
    number: count,
    /** Completed rounds of garbage collection. */
    round: count,
    condemned: z.array(condemnedObject).readonly(),
    damaged: z.array(damagedPack).readonly(),
  })
  .readonly()

export type CondemnedObject = z.infer<typeof condemnedObject>
export type DamagedPack = z.infer<typeof damagedPack>
export type QuarantineState = z.infer<typeof quarantineState>

const NOTHING: QuarantineState = {
  everfold: 'quarantine',
  format: 1,
  number: -1,
  round: 0,
  condemned: [],
  damaged: [],
}

/** What is condemned or damaged, as last recorded. */
export class Quarantine {
  #state: QuarantineState = NOTHING
  /** pack id + generation of everything condemned. */
  #condemned = new Set<string>()
  #objects = new Map<string, CondemnedObject>()
  /** By pack id. Without chunks: all of them. */
  #damaged = new Map<string, { readonly generation: number; readonly chunks?: ReadonlySet<number> }>()
  #loading: Promise<void> | undefined

  get state(): QuarantineState {
    return this.#state
  }

  /** Reads the newest record, once. @throws STORE_FAILED */
  load(store: StoreReader): Promise<void> {
    this.#loading ??= readNewest(store).then(
      (state) => {
        this.#take(state)
      },
      (error: unknown) => {
        this.#loading = undefined
        throw error
      },
    )
    return this.#loading
  }

  /** Records what holds from now on, durably. @throws STORE_FULL, STORE_FAILED */
  async record(
    store: StoreWriter,
    change: Partial<Pick<QuarantineState, 'round' | 'condemned' | 'damaged'>>,
  ): Promise<void> {
    await this.load(store)
    for (let number = this.#state.number + 1; ; number++) {
      const state: QuarantineState = { ...this.#state, ...change, number }
      if ((await store.put(quarantineKey(number), [sealJson(state)])) === 'exists') continue
      this.#take(state)
      return
    }
  }

  isCondemned(packId: string, generation: number): boolean {
    return this.#condemned.has(nameOf(packId, generation))
  }

  condemnedObject(key: string): CondemnedObject | undefined {
    return this.#objects.get(key)
  }

  /** The generation to begin with when a pack with this id is written anew: above any that is on its way out. */
  freeGeneration(packId: string): number {
    let free = 0
    for (const object of this.#state.condemned)
      for (const pack of object.packs) if (pack.id === packId) free = Math.max(free, pack.generation + 1)
    for (const pack of this.#state.damaged)
      if (pack.pack === packId) free = Math.max(free, pack.generation + 1)
    return free
  }

  /** Is this chunk damaged in this generation of its pack? A newer one may have been written with good bytes. */
  isDamaged(pack: { readonly id: string; readonly generation: number }, chunk: number): boolean {
    const damaged = this.#damaged.get(pack.id)
    if (damaged === undefined || pack.generation > damaged.generation) return false
    return damaged.chunks?.has(chunk) ?? true
  }

  /** Is damage known of any generation of a pack? Then the first is not what is to be read: a later one may have the good bytes. */
  hasDamage(packId: string): boolean {
    return this.#damaged.has(packId)
  }

  #take(state: QuarantineState): void {
    this.#state = state
    this.#objects = new Map(state.condemned.map((object) => [object.key, object]))
    this.#condemned = new Set(
      state.condemned.flatMap((object) => object.packs.map((pack) => nameOf(pack.id, pack.generation))),
    )
    this.#damaged = new Map(
      state.damaged.map(({ pack, generation, chunks }) => [
        pack,
        { generation, ...(chunks && { chunks: new Set(chunks) }) },
      ]),
    )
  }
}

function nameOf(packId: string, generation: number): string {
  return `${packId}.${generation}`
}

async function readNewest(store: StoreReader): Promise<QuarantineState> {
  const numbers: number[] = []
  for await (const object of store.list(quarantinePrefix)) {
    const number = parseQuarantineKey(object.key)
    if (number !== undefined) numbers.push(number)
  }
  for (const number of numbers.sort((a, b) => b - a)) {
    let state = await readState(store, number)
    if (state === undefined) continue
    // The listing may have been short: numbers are without gaps.
    for (
      let next = await readState(store, number + 1);
      next !== undefined;
      next = await readState(store, next.number + 1)
    )
      state = next
    return state
  }
  return NOTHING
}

async function readState(store: StoreReader, number: number): Promise<QuarantineState | undefined> {
  const read = async (): Promise<QuarantineState | undefined> => {
    const parsed = quarantineState.safeParse(openSealedJson(await store.readAll(quarantineKey(number))))
    return parsed.success && parsed.data.number === number ? parsed.data : undefined
  }
  try {
    return await readAgainIfDamaged(read, (state) => state !== undefined)
  } catch (error) {
    if (isEverfoldError(error, 'OBJECT_NOT_FOUND')) return undefined
    throw error
  }
}
