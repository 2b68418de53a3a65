/**
 * Several processes that want the same repository in a bucket, on a clock of their own: each takes it, commits and collects garbage, is stopped
 * for minutes at any moment, dies, meets slow answers, errors and lost answers. EVERFOLD_TEST_WRITER_LIVES says how many lives.
 */

import * as sdk from '@aws-sdk/client-s3'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { isEverfoldError } from '../src/errors.js'
import { Random } from '../src/simulate/random.js'
import { chainKey, chainsPrefix, parseChainKey } from '../src/store/keys.js'
import { S3Lease } from '../src/store/s3-lease.js'
import { s3SettingsFrom } from '../src/store/s3-settings.js'
import { S3Store } from '../src/store/s3-store.js'
import { SEED_NUMBER } from './seed.js'
import { SimulatedBucket } from './simulated-bucket.js'
import { useVirtualTime, VirtualProcess, VirtualWorld } from './virtual-time.js'

const LIVES = Number(process.env['EVERFOLD_TEST_WRITER_LIVES'] ?? 150)
const FROM = SEED_NUMBER
const PROCESSES = 3
const ROUNDS = 3
const MINUTE_MS = 60_000
const PLACE = { bucket: 'simulated', prefix: 'r/' }

interface Counts {
  taken: number
  refused: number
  lost: number
  failed: number
  commits: number
  stops: number
}

/** A life of the bucket, and what was promised in it. */
interface Life {
  readonly world: VirtualWorld
  readonly bucket: SimulatedBucket
  readonly random: Random
  readonly conditionalPut: boolean
  /** What was committed, by number. */
  readonly acknowledged: Map<number, string>
  readonly counts: Counts
  readonly mayStop: boolean
}

/** Takes the repository again and again, each time as a new process: a chain state names a pack, which is there as long as one names it. */
class Writer {
  readonly #name: string
  readonly #life: Life
  readonly #random: Random
  #packs = 0

  constructor(name: string, life: Life) {
    this.#name = name
    this.#life = life
    this.#random = life.random
  }

  async live(): Promise<void> {
    const { world } = this.#life
    for (let round = 0; round < ROUNDS; round++) {
      await sleepIn(world, this.#random.below(3 * MINUTE_MS))
      const process = new VirtualProcess(world)
      disturb(process, this.#life)
      const dead = this.#random.chance(0.2) ? sleepIn(world, this.#random.below(6 * MINUTE_MS)) : undefined
      const work = process.run(() => this.#take(process))
      await (dead === undefined ? work : Promise.race([work, dead]))
      process.stoppedUntilMs = Infinity
    }
  }

  async #take(process: VirtualProcess): Promise<void> {
    const { bucket, conditionalPut, counts } = this.#life
    const seconds = this.#random.pick(['30', '30', '600'])
    const settings = s3SettingsFrom({ EVERFOLD_S3_REQUEST_SECONDS: seconds })
    const store = new S3Store(PLACE, bucket.connect(sdk, process), { settings, conditionalPut })
    try {
      const lease = await S3Lease.acquire(store, this.#name)
      store.requests.bePatient()
      counts.taken++
      await this.#work(store, process)
      await lease.release()
    } catch (error) {
      if (isEverfoldError(error, 'REPOSITORY_LOCKED')) counts.refused++
      else if (isEverfoldError(error, 'LOCK_LOST')) counts.lost++
      else if (isEverfoldError(error, 'STORE_FAILED')) counts.failed++
      else throw error
    }
  }

  async #work(store: S3Store, process: VirtualProcess): Promise<void> {
    const { world } = this.#life
    for (let i = this.#random.between(1, 6); i > 0; i--) {
      if (this.#random.chance(0.3)) await this.#collect(store)
      else await this.#commit(store)
      if (this.#random.chance(0.3)) await sleepIn(world, this.#random.below(2 * MINUTE_MS), process)
    }
  }

  async #commit(store: S3Store): Promise<void> {
    const pack = `packs/00/${this.#name}${this.#packs++}`
    await store.put(pack, [Buffer.from(pack)])
    const sequence = (await this.#highest(store)) + 1
    if ((await store.put(chainKey('m', sequence), [Buffer.from(pack)])) === 'exists') return
    const { acknowledged, counts } = this.#life
    counts.commits++
    expect(acknowledged.get(sequence), `two commits of ${sequence}`).toBeUndefined()
    acknowledged.set(sequence, pack)
  }

  /** Nothing but the newest state and the one before it stays. */
  async #collect(store: S3Store): Promise<void> {
    const highest = await this.#highest(store)
    const packs: string[] = []
    for await (const { key } of store.list('packs/')) packs.push(key)
    const named = new Set<string>()
    for (const sequence of [highest, highest - 1]) {
      if (sequence < 1) continue
      named.add(Buffer.from(await store.readAll(chainKey('m', sequence))).toString())
    }
    for (const pack of packs) if (!named.has(pack)) await store.remove(pack)
  }

  async #highest(store: S3Store): Promise<number> {
    let highest = 0
    for await (const { key } of store.list(chainsPrefix('m')))
      highest = Math.max(highest, parseChainKey(key)?.sequence ?? 0)
    return highest
  }
}

function sleepIn(world: VirtualWorld, ms: number, process?: VirtualProcess): Promise<void> {
  return new Promise((resolve) => world.after(ms, process, resolve))
}

/** Stops a process now and then, for moments or for minutes. */
function disturb(process: VirtualProcess, { world, random, counts, mayStop }: Life): void {
  if (!mayStop || random.chance(0.3)) return
  let stops = random.between(1, 4)
  const next = (): void => {
    if (process.stoppedUntilMs === Infinity || stops-- === 0) return
    counts.stops++
    const forMs = random.magnitude(10 * MINUTE_MS)
    process.stoppedUntilMs = world.nowMs + forMs
    world.after(forMs + random.below(5 * MINUTE_MS), undefined, next)
  }
  world.after(random.below(5 * MINUTE_MS), undefined, next)
}

async function live(seed: number, conditionalPut: boolean, counts: Counts): Promise<void> {
  const random = new Random(seed)
  const world = new VirtualWorld(() => random.below(2 ** 30) / 2 ** 30)
  // Who gives up a slow request has to be running: such a service, or processes that are stopped.
  const isSlow = random.chance(0.25)
  const bucket = new SimulatedBucket(world, {
    conditionalPut,
    trouble: isSlow ? 0.4 : random.pick([0, 0.02, 0.1]),
    ...(isSlow && { slowMsMax: 500_000 }),
  })
  const acknowledged = new Map<number, string>()
  const life: Life = { world, bucket, random, conditionalPut, acknowledged, counts, mayStop: !isSlow }
  const writers = Array.from({ length: PROCESSES }, (_, i) => new Writer(`w${i}.`, life))
  await world.live(Promise.all(writers.map((writer) => writer.live())))
  expect(
    bucket.overwritten.filter((key) => !key.startsWith('r/lock/')),
    'written over',
  ).toEqual([])
  const bodyOf = (key: string): string | undefined => bucket.objects.get(`r/${key}`)?.body.toString()
  for (const [sequence, pack] of acknowledged) expect(bodyOf(chainKey('m', sequence))).toBe(pack)
  const states = [...bucket.objects.keys()].flatMap((key) => parseChainKey(key.slice(2))?.sequence ?? [])
  const highest = Math.max(0, ...states)
  // Without a gap, and what the newest one names is there.
  expect(states.sort((a, b) => a - b)).toEqual(Array.from({ length: highest }, (_, i) => i + 1))
  if (highest > 0) expect(bodyOf(bodyOf(chainKey('m', highest)) ?? '')).toBeDefined()
}

let stop = (): void => undefined
beforeAll(() => {
  stop = useVirtualTime()
})
afterAll(() => {
  stop()
})

it.each([
  ['with conditional writes', true],
  ['without', false],
])(
  `processes never commit the same number twice, nor what is gone, %s (seeds from ${FROM} on)`,
  async (_, conditionalPut) => {
    const counts: Counts = { taken: 0, refused: 0, lost: 0, failed: 0, commits: 0, stops: 0 }
    for (let seed = FROM; seed < FROM + LIVES; seed++)
      try {
        await live(seed, conditionalPut, counts)
      } catch (error) {
        throw new Error(`seed ${seed}: ${String(error)}`, { cause: error })
      }
    if (LIVES > 10) expect(counts.commits).toBeGreaterThan(0)
    if (process.env['EVERFOLD_TEST_WRITER_LIVES'] !== undefined) console.log(counts)
  },
  240_000,
)
