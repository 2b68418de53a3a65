import { stopIfCancelled } from '../cancellation.js'
import type { ChainState } from '../chain/chain-state.js'
import { segmentsOfChain } from '../chain/disk-runs.js'
import type { Fence, WorkPins } from '../chain/pins.js'
import type { Repository } from '../chain/repository.js'
import { EverfoldError, isEverfoldError } from '../errors.js'
import type { PackPlace } from '../pack/catalog.js'
import type { CondemnedObject } from '../pack/quarantine.js'
import { settleAll } from '../settle-all.js'
import {
  bundlesPrefix,
  chainKey,
  chainsPrefix,
  machinesPrefix,
  packsPrefix,
  parseChainKey,
  parseQuarantineKey,
  parseRunKey,
  quarantineKey,
  quarantinePrefix,
  runsPrefix,
} from '../store/keys.js'
import { chooseSmall } from './choose-small.js'
import { allHeads, markHeads, partOf, partsOf } from './live.js'
import { LockedGarbage, type LocksResult } from './locked-garbage.js'
import { type Numbered, numbersBelow } from './old-numbers.js'
import { orphanParts, pinSessions } from './parked-sessions.js'
import { regroup } from './regroup.js'
import { spentJobRecords } from './spent-jobs.js'
import {
  holdsAllLive,
  isBitSet,
  placesById,
  type SurveyedGenerations,
  type SurveyedPack,
  surveyAll,
} from './survey.js'

export interface GcOptions {
  /** Says what would be done, and does nothing. */
  readonly dryRun?: boolean
  /** What is left of packs of which more than this share (0 to 1, of plain bytes) is dead is put together anew. */
  readonly deadShareMax?: number
  /** Completed rounds, after the one that condemned it, that an object lies in quarantine. */
  readonly graceRounds?: number
  readonly onProgress?: (done: number, total: number) => void
  /** Ends the round early, between two steps; the next one finds what it left. */
  readonly signal?: AbortSignal | undefined
}

export interface GcResult {
  readonly dryRun: boolean
  /** Number of this round, counted over the repository's life. */
  readonly round: number
  readonly packs: number
  readonly liveBytes: number
  /** Stored bytes of chunks that nothing needs and that are still in packs which stay. */
  readonly deadBytes: number
  /** Put into quarantine by this round. */
  readonly condemnedObjects: number
  readonly condemnedBytes: number
  readonly rewrittenPacks: number
  readonly joinedPacks: number
  readonly writtenBytes: number
  /** Removed from the store by this round. */
  readonly removedObjects: number
  readonly removedBytes: number
  /** Waiting in quarantine after this round. */
  readonly waitingBytes: number
  readonly seconds: number
  /** Of a repository with Object Lock. */
  readonly locks?: LocksResult
}

export const DEAD_SHARE_MAX_DEFAULT = 0.4
export const GRACE_ROUNDS_DEFAULT = 1
/** A pack of less than this part of the pack size is small. */
const SMALL_PART = 4
/** Chunks of dead packs that are taken out of the index in one step, with one sync. */
const FORGOTTEN_CHUNKS = 64 * 1024
/** Chunks of packs that are put together anew in one go: their directories, and where they go to, are in memory. */
const REGROUPED_CHUNKS_MAX = 1024 * 1024
/** Stored bytes of bundles, which earlier versions wrote, that one round makes into packs, although not much of them is dead. */
const UNBUNDLED_BYTES_MAX = 1024 * 1024 * 1024
/** Objects that are removed at the same time. */
const REMOVED_AT_ONCE = 16
/** Superseded chain states that are kept below the newest, should that rot. */
const CHAIN_STATES_KEPT = 2
/** Records of quarantine kept below the newest. */
const QUARANTINE_RECORDS_KEPT = 2

/**
 * Finds what no point needs and gives its space back, beside backups, folds and restores. Interrupted at any step, it can start again. The
 * order is that of invariant 2: out of reach in chain state (before we begin), out of the index, condemned, removed.
 * @throws ARGUMENT_INVALID; CHAIN_DAMAGED, LISTING_INCOMPLETE, DATA_DAMAGED, OBJECT_NOT_FOUND: it is not certain what is needed, and
 *         nothing was removed; STORE_FULL: what is dead goes all the same, if there is room to write that down; STORE_FAILED, CANCELLED
 */
export async function collectGarbage(repository: Repository, options: GcOptions = {}): Promise<GcResult> {
  const deadShareMax = options.deadShareMax ?? DEAD_SHARE_MAX_DEFAULT
  const graceRounds = options.graceRounds ?? GRACE_ROUNDS_DEFAULT
  if (!(deadShareMax >= 0 && deadShareMax <= 1))
    throw new EverfoldError('ARGUMENT_INVALID', 'The dead share is from 0% to 100%.')
  if (!Number.isInteger(graceRounds) || graceRounds < 0)
    throw new EverfoldError('ARGUMENT_INVALID', 'The grace is a whole number of rounds.')
  return repository.collecting.run('gc', async () => {
    await repository.catalog.quarantine.load(repository.store)
    const fence = repository.pins.fence()
    const pins = repository.pins.begin()
    const collection = new Collection(repository, { ...options, deadShareMax, graceRounds }, fence)
    try {
      return await collection.run(pins)
    } finally {
      collection.reopenPacks()
      pins.end()
      fence.stop()
    }
  })
}

interface DueObject {
  readonly key: string
  readonly places: readonly PackPlace[]
}

interface Counts {
  liveBytes: number
  deadBytes: number
  condemnedObjects: number
  condemnedBytes: number
  rewrittenPacks: number
  joinedPacks: number
  writtenBytes: number
  removedObjects: number
  removedBytes: number
}

/** One round. */
class Collection {
  readonly #repository: Repository
  readonly #options: GcOptions & { readonly deadShareMax: number; readonly graceRounds: number }
  readonly #fence: Fence
  readonly #round: number
  readonly #condemned: CondemnedObject[] = []
  readonly #reprieved = new Set<string>()
  readonly #removed = new Set<string>()
  readonly #due: DueObject[] = []
  /** Members of bundles that are dead or lie elsewhere now, by id and generation. */
  readonly #bundledOut = new Set<string>()
  /** Packs of which too much is dead, and small ones: what is left of them is put together anew. */
  readonly #sparse: SurveyedPack[] = []
  readonly #small: SurveyedPack[] = []
  #heldChunks = 0
  #unbundledBytes = 0
  /** There was no room to regroup: the round goes on without, so that what is dead makes room, and then says so. */
  #shortage: EverfoldError | undefined
  readonly #closed: string[] = []
  /** Packs of which a generation was condemned. */
  readonly #condemnedPacks = new Set<string>()
  /** Dead packs that are closed, but still in the index. */
  readonly #dying: SurveyedPack[] = []
  #dyingChunks = 0
  readonly #counts: Counts = {
    liveBytes: 0,
    deadBytes: 0,
    condemnedObjects: 0,
    condemnedBytes: 0,
    rewrittenPacks: 0,
    joinedPacks: 0,
    writtenBytes: 0,
    removedObjects: 0,
    removedBytes: 0,
  }

  constructor(
    repository: Repository,
    options: GcOptions & { readonly deadShareMax: number; readonly graceRounds: number },
    fence: Fence,
  ) {
    this.#repository = repository
    this.#options = options
    this.#fence = fence
    this.#round = repository.catalog.quarantine.state.round + 1
  }

  /** Whatever came of it: packs that are not condemned may be referred to again. */
  reopenPacks(): void {
    for (const packId of this.#closed.splice(0)) this.#repository.catalog.openPack(packId)
  }

  async run(pins: WorkPins): Promise<GcResult> {
    const started = this.#repository.environment.monotonicMs()
    // Read after the fence is up (invariant 5): who refers to more from now on is recorded by it.
    const heads = await allHeads(this.#repository, pins)
    await pinSessions(this.#repository, pins)
    const places = await placesById(this.#repository)
    // What was found makes other things needless, so it has to be durable before they are removed.
    for (const prefix of [machinesPrefix, chainsPrefix(), packsPrefix, bundlesPrefix])
      await this.#repository.store.settle(prefix)
    const locked =
      this.#options.dryRun === true ? undefined : await LockedGarbage.find(this.#repository.locks)
    const parts = partsOf(heads)
    let done = 0
    for (let part = 0; part < parts; part++) {
      const isOurs = (packId: string): boolean => partOf(packId, parts) === part
      const references = await markHeads(this.#repository, heads, isOurs, this.#options.signal)
      locked?.spare(references)
      const ours = [...places].filter(([packId]) => isOurs(packId)).map(([, generations]) => generations)
      for await (const surveyed of surveyAll(this.#repository, ours, references)) {
        stopIfCancelled(this.#options.signal)
        await this.#sweepPack(surveyed)
        if (this.#heldChunks >= REGROUPED_CHUNKS_MAX) await this.#regroup(heads, pins)
        this.#options.onProgress?.(++done, places.size)
      }
    }
    // First what gives space back.
    await this.#removeDue()
    await this.#regroup(heads, pins)
    await this.#letGo()
    await this.#condemnEmptyBundles(places)
    await this.#removeDue()
    if (this.#options.dryRun !== true) await this.#finishRound()
    await this.#sweepRuns(heads)
    await this.#sweepStates(heads)
    await this.#sweepJobs()
    await this.#sweepSessions()
    const locks = await locked?.remove(heads, this.#options.signal)
    if (this.#shortage !== undefined) throw this.#shortage
    const waiting = await this.#waitingBytes(places)
    return {
      dryRun: this.#options.dryRun === true,
      round: this.#round,
      packs: places.size,
      ...this.#counts,
      liveBytes: Math.round(this.#counts.liveBytes),
      deadBytes: Math.round(this.#counts.deadBytes),
      waitingBytes: waiting,
      seconds: Math.round(this.#repository.environment.monotonicMs() - started) / 1000,
      ...(locks && { locks }),
    }
  }

  /** Looks at all generations of a pack, newest first: removes, condemns, chooses for regrouping, or leaves alone. */
  async #sweepPack({ listed, packs }: SurveyedGenerations): Promise<void> {
    let serving: SurveyedPack | undefined
    for (const pack of packs) {
      const { place } = pack
      if (serving !== undefined && holdsAllLive(serving) && !this.#isDamaged(serving)) {
        await this.#outdated(place)
        continue
      }
      const condemned = this.#repository.catalog.quarantine.isCondemned(place.packId, place.generation)
      if (pack.liveChunks === 0) {
        await this.#dead(pack, condemned)
        continue
      }
      // Needed, and no newer generation holds all that is needed.
      serving ??= pack
      this.#counts.liveBytes += pack.liveStored
      if (condemned) await this.#reprieve(pack)
      else if (listed === 1) this.#shrink(pack)
    }
  }

  /** Is damage known of anything that is needed in it? Then an older generation may have the only good copy. */
  #isDamaged({ directory, live }: SurveyedPack): boolean {
    const { quarantine } = this.#repository.catalog
    if (!quarantine.hasDamage(directory.id)) return false
    for (let chunk = 0; chunk < directory.chunkCount; chunk++)
      if (isBitSet(live, chunk) && quarantine.isDamaged(directory, chunk)) return true
    return false
  }

  /** A newer generation has taken this one's place. */
  async #outdated(place: PackPlace): Promise<void> {
    const known = this.#condemnedAs(place.key)
    // A bundle is condemned and removed as a whole, when all of it was looked at.
    if (known === undefined || isBundled(place)) this.#condemn(place)
    else await this.#removeIfDue(known, place)
  }

  /** No run refers to any of its chunks. */
  async #dead(pack: SurveyedPack, condemned: boolean): Promise<void> {
    const { place } = pack
    if (condemned) {
      const known = this.#condemnedAs(place.key)
      if (isBundled(place)) this.#condemn(place)
      else if (known !== undefined) await this.#removeIfDue(known, place)
      return
    }
    // From the check to the closing there is no wait: who asks after this is told no.
    if (this.#fence.used(place.packId)) return
    if (this.#options.dryRun === true) {
      this.#condemn(place)
      return
    }
    await this.#leave(pack)
  }

  /** Nothing refers to a pack any more, and nobody used it since the fence: in this very turn it is closed. */
  async #leave(pack: SurveyedPack): Promise<void> {
    this.#close(pack.place.packId)
    this.#dying.push(pack)
    this.#dyingChunks += pack.directory.chunkCount
    if (this.#dyingChunks >= FORGOTTEN_CHUNKS) await this.#letGo()
  }

  /** Takes closed, dead packs out of the index, many in one durable step, and only then condemns them. */
  async #letGo(): Promise<void> {
    const dying = this.#dying.splice(0)
    this.#dyingChunks = 0
    if (dying.length === 0) return
    const index = await this.#repository.index()
    await index.removePacks(
      dying.map(({ place, directory }) => ({ packId: place.packId, hashes: directory.hashes })),
    )
    for (const { place } of dying) this.#condemn(place)
  }

  #close(packId: string): void {
    this.#repository.catalog.closePack(packId)
    this.#closed.push(packId)
  }

  /** Condemned as dead, and now a run refers to it: it stays, and is known again. */
  async #reprieve(pack: SurveyedPack): Promise<void> {
    if (this.#options.dryRun === true) return
    this.#reprieved.add(pack.place.key)
    await (await this.#repository.index()).addPack(
      pack.place.packId,
      pack.directory.hashes,
      inverted(pack.directory.present),
    )
  }

  /** Dead chunks are left behind if that is worth it, and small packs are joined. */
  #shrink(pack: SurveyedPack): void {
    const { place, directory } = pack
    this.#counts.deadBytes += deadStored(pack)
    if (this.#fence.used(place.packId) || !holdsAllLive(pack)) return
    if (pack.livePlain < pack.presentPlain * (1 - this.#options.deadShareMax)) this.#sparse.push(pack)
    else if (isBundled(place) && this.#unbundledBytes + place.sizeBytes <= UNBUNDLED_BYTES_MAX) {
      this.#unbundledBytes += place.sizeBytes
      this.#small.push(pack)
    } else if (!isBundled(place) && place.sizeBytes < this.#repository.config.packSize / SMALL_PART)
      this.#small.push(pack)
    else return
    this.#heldChunks += directory.chunkCount
  }

  /** Puts together anew what is left of sparse and small packs; what nothing refers to any more is dead. */
  async #regroup(heads: readonly ChainState[], pins: WorkPins): Promise<void> {
    const sparse = this.#sparse.splice(0)
    const small = chooseSmall(this.#small.splice(0), (pack) => pack.liveStored)
    this.#heldChunks = 0
    // Someone may have begun to use it since it was surveyed.
    const packs = [...sparse, ...small].filter(({ place }) => !this.#fence.used(place.packId))
    if (packs.length === 0) return
    const joined = new Set(small)
    let emptied: readonly SurveyedPack[] = packs
    if (this.#options.dryRun !== true) {
      const machines = heads.map((head) => head.machine)
      try {
        const done = await regroup(this.#repository, machines, packs, pins, this.#options.signal)
        this.#counts.writtenBytes += done.writtenBytes
        emptied = done.emptied
      } catch (error) {
        if (!isEverfoldError(error, 'STORE_FULL')) throw error
        this.#shortage = error
        return
      }
    }
    for (const pack of emptied) {
      if (joined.has(pack)) this.#counts.joinedPacks++
      else this.#counts.rewrittenPacks++
      this.#counts.deadBytes -= deadStored(pack)
      // Who came upon it before its chunks moved holds it.
      if (this.#fence.used(pack.place.packId)) continue
      if (this.#options.dryRun === true) this.#condemn(pack.place)
      else await this.#leave(pack)
    }
  }

  /** A bundle goes as a whole: once none of its packs is the one to read. */
  async #condemnEmptyBundles(places: ReadonlyMap<string, readonly PackPlace[]>): Promise<void> {
    const members = new Map<string, PackPlace[]>()
    for (const generations of places.values())
      for (const place of generations) {
        if (!isBundled(place)) continue
        const list = members.get(place.key)
        if (list === undefined) members.set(place.key, [place])
        else list.push(place)
      }
    for (const [key, list] of members) {
      const gone = list.every((place) => this.#isOnItsWayOut(place))
      const known = this.#condemnedAs(key)
      if (known !== undefined && !gone) this.#reprieved.add(key)
      else if (known !== undefined) await this.#removeIfDue(known, ...list)
      else if (gone) this.#pushCondemned(key, list)
    }
  }

  #isOnItsWayOut(place: PackPlace): boolean {
    return this.#bundledOut.has(`${place.packId}.${place.generation}`)
  }

  #condemn(place: PackPlace): void {
    this.#condemnedPacks.add(place.packId)
    if (isBundled(place)) this.#bundledOut.add(`${place.packId}.${place.generation}`)
    else this.#pushCondemned(place.key, [place])
  }

  #pushCondemned(key: string, places: readonly PackPlace[]): void {
    this.#condemned.push({
      key,
      packs: places.map((place) => ({ id: place.packId, generation: place.generation })),
      round: this.#round,
    })
    this.#counts.condemnedObjects++
    this.#counts.condemnedBytes += places.reduce((sum, place) => sum + place.sizeBytes, 0)
  }

  #condemnedAs(key: string): CondemnedObject | undefined {
    return this.#repository.catalog.quarantine.condemnedObject(key)
  }

  /** Removes a condemned object whose grace is over: it was condemned rounds ago, and whoever worked then is done. */
  async #removeIfDue(object: CondemnedObject, ...places: readonly PackPlace[]): Promise<void> {
    if (this.#removed.has(object.key)) return
    if (this.#round - object.round <= this.#options.graceRounds) return
    if (places.some((place) => this.#fence.used(place.packId))) return
    if (this.#repository.condemnedDuring.isAnyoneLeft(object.key)) return
    this.#counts.removedObjects++
    this.#counts.removedBytes += places.reduce((sum, place) => sum + place.sizeBytes, 0)
    if (this.#options.dryRun === true) return
    this.#removed.add(object.key)
    this.#due.push({ key: object.key, places })
    if (this.#due.length >= REMOVED_AT_ONCE) await this.#removeDue()
  }

  /** Removes what is due, all at once: their syncs share the disk's. */
  async #removeDue(): Promise<void> {
    const remove = async ({ key, places }: DueObject): Promise<void> => {
      await this.#repository.store.remove(key)
      for (const place of places) this.#repository.catalog.forget(place.packId)
    }
    await settleAll(this.#due.splice(0).map(remove))
  }

  /** Records what is condemned now. With this the round is complete. */
  async #finishRound(): Promise<void> {
    const { quarantine } = this.#repository.catalog
    const stays = quarantine.state.condemned.filter(
      (object) => !this.#removed.has(object.key) && !this.#reprieved.has(object.key),
    )
    const condemned = [...stays, ...this.#condemned]
    await quarantine.record(this.#repository.store, { round: this.#round, condemned })
    for (const object of this.#condemned)
      this.#repository.condemnedDuring.note(object.key, this.#repository.pins.newest)
    // Whoever asks for one of them from now on gets the generation that stays, if there is one.
    for (const packId of this.#condemnedPacks) this.#repository.catalog.forget(packId)
  }

  /** Run segments that no chain names and nobody used since the fence. */
  async #sweepRuns(heads: readonly ChainState[]): Promise<void> {
    const named = new Set<string>()
    for (const head of heads)
      for (const segment of segmentsOfChain(head)) named.add(`${head.machine}/${segment.id}`)
    for await (const object of this.#repository.store.list(runsPrefix())) {
      const run = parseRunKey(object.key)
      if (run === undefined || named.has(`${run.machine}/${run.id}`)) continue
      stopIfCancelled(this.#options.signal)
      // The same extents make the same run: a backup may be about to write it again.
      await this.#fence.removeUnused(run.id, () => this.#remove(object.key, object.sizeBytes))
    }
  }

  /** Chain states and records of quarantine below the newest; lowest first, so that none is left out in between. */
  async #sweepStates(heads: readonly ChainState[]): Promise<void> {
    for (const { machine, sequence } of heads)
      await this.#sweepNumbers(
        {
          prefix: chainsPrefix(machine),
          key: (number) => chainKey(machine, number),
          parse: (key) => parseChainKey(key)?.sequence,
        },
        sequence - CHAIN_STATES_KEPT,
      )
    await this.#sweepNumbers(
      { prefix: quarantinePrefix, key: quarantineKey, parse: parseQuarantineKey },
      // A round leaves one record more.
      this.#repository.catalog.quarantine.state.number +
        (this.#options.dryRun === true ? 1 : 0) -
        QUARANTINE_RECORDS_KEPT,
    )
  }

  async #sweepNumbers(numbered: Numbered, end: number): Promise<void> {
    const old = await numbersBelow(this.#repository.store, numbered, end)
    stopIfCancelled(this.#options.signal)
    for (const number of old) await this.#remove(numbered.key(number), 0)
  }

  /**
   * Records of jobs that are over: what their last one replaced, and all of the oldest; each job's last record goes last. They are not
   * counted: a collection that is a job itself would find more than one that is not.
   */
  async #sweepJobs(): Promise<void> {
    if (this.#options.dryRun === true) return
    for (const key of await spentJobRecords(this.#repository.store)) await this.#repository.store.remove(key)
  }

  /** Parts of sessions that are no more. */
  async #sweepSessions(): Promise<void> {
    for (const { key, sizeBytes } of await orphanParts(this.#repository.store))
      await this.#remove(key, sizeBytes)
  }

  async #remove(key: string, sizeBytes: number): Promise<void> {
    if (this.#options.dryRun !== true) await this.#repository.store.remove(key)
    this.#counts.removedObjects++
    this.#counts.removedBytes += sizeBytes
  }

  async #waitingBytes(places: ReadonlyMap<string, readonly PackPlace[]>): Promise<number> {
    const listed = new Map<string, number>()
    for (const { key, sizeBytes } of [...places.values()].flat())
      if (!key.startsWith(bundlesPrefix)) listed.set(key, sizeBytes)
    let waiting = 0
    // In a bucket, each that has to be asked for costs a request.
    for (const { key } of this.#repository.catalog.quarantine.state.condemned)
      waiting += listed.get(key) ?? (await this.#repository.store.size(key)) ?? 0
    return waiting
  }
}

function isBundled(place: PackPlace): boolean {
  return place.key.startsWith(bundlesPrefix)
}

function sumStored(directory: SurveyedPack['directory']): number {
  return (directory.frameOffset[directory.frameCount] ?? 0) - (directory.frameOffset[0] ?? 0)
}

/** Stored bytes of a pack that nothing needs. */
function deadStored({ directory, liveStored }: SurveyedPack): number {
  return sumStored(directory) - liveStored
}

function inverted(bitmap: Uint8Array): Uint8Array {
  return bitmap.map((byte) => ~byte)
}
