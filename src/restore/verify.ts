import { stopIfCancelled } from '../cancellation.js'
import type { ChainState, DiskState } from '../chain/chain-state.js'
import { type ChainHead, readChainHead } from '../chain/chains.js'
import { piecesOf, runsOf, segmentsOf, segmentsOfChain } from '../chain/disk-runs.js'
import { type ExtentList, ZEROS } from '../chain/extent-list.js'
import { type Layer, overlayAll } from '../chain/overlay.js'
import { PackTable } from '../chain/pack-table.js'
import type { WorkPins } from '../chain/pins.js'
import type { Repository } from '../chain/repository.js'
import { readSegment, type SegmentRef } from '../chain/run-store.js'
import { isEverfoldError } from '../errors.js'
import { Gate } from '../gate.js'
import { listPacks, type PackPlace, placeOf } from '../pack/catalog.js'
import { settleAll } from '../settle-all.js'
import { chainKey, chainsPrefix, packKey, packsPrefix } from '../store/keys.js'
import { uncached } from '../store/uncached.js'
import { type DamagedRange, DamageMap, LOST, readWhatIsLeft } from './damage.js'
import { quarantineDamage } from './quarantine-damage.js'
import { NOTHING_VERIFIED, type VerifiedPack, verifyPack } from './verify-pack.js'
import { verifyRest } from './verify-rest.js'

export interface VerifyOptions {
  /** Share of the data that is read, 0 < sample ≤ 1. Metadata is always checked whole. */
  readonly sample: number
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void
  /** Ends it early; what was found by then is not recorded. */
  readonly signal?: AbortSignal | undefined
}

export interface VerifyResult {
  readonly ok: boolean
  readonly machines: number
  readonly points: number
  readonly packs: number
  readonly chunks: number
  readonly readBytes: number
  /** What a restore would not get back, by machine, point and disk. */
  readonly damaged: readonly DamagedRange[]
  /** Objects that are not as they were written, with what is wrong; also those that no point needs. */
  readonly objects: readonly { readonly key: string; readonly problem: string }[]
}

/** Packs that are read at once. */
const PACKS_IN_FLIGHT = 2

/**
 * Proves the points from the store alone: chain states, runs, packs, and every chunk against its hash.
 * What is damaged is recorded, so that no new point refers to it and it heals when its chunks come again; nothing is deleted.
 * @throws STORE_FAILED, CANCELLED, never for what is damaged: that is in the result
 */
export async function verifyRepository(
  repository: Repository,
  options: VerifyOptions,
): Promise<VerifyResult> {
  const pins = repository.pins.begin()
  try {
    // What a local copy says proves nothing.
    return await uncached(() => verifyPinned(repository, options, pins))
  } finally {
    pins.end()
  }
}

async function verifyPinned(
  repository: Repository,
  options: VerifyOptions,
  pins: WorkPins,
): Promise<VerifyResult> {
  const damage = new DamageMap()
  const states = await verifyChains(repository, damage, pins)
  const needed = await verifyRuns(repository, states, damage, pins, options.signal)
  const data = await verifyPacks(repository, needed, damage, options)
  await verifyRest(repository, damage, options.signal)
  const damaged = await damage.locate(repository, states)
  // Where one generation of a pack is bad, points rely on another from now on, whoever left it there.
  if (damage.objects.length > 0) await repository.store.settle(packsPrefix)
  await quarantineDamage(repository, damage.damagedPacks(), options.sample < 1)
  return {
    ok: damaged.length === 0 && damage.objects.length === 0,
    machines: states.length,
    points: states.reduce((sum, state) => sum + state.points.length, 0),
    ...data,
    damaged,
    objects: damage.objects,
  }
}

/**
 * The newest state of a chain, of which no run goes from now on.
 * @returns undefined if there is none
 * @throws CHAIN_DAMAGED, STORE_FAILED
 */
async function pinnedHead(
  { store }: Repository,
  machine: string,
  pins: WorkPins,
): Promise<ChainHead | undefined> {
  // Twice, if need be: a listing may be empty for once.
  let head = (await readChainHead(store, machine)) ?? (await readChainHead(store, machine))
  while (head !== undefined) {
    for (const segment of segmentsOfChain(head.state)) pins.pin(segment.id)
    // What was superseded while it was read may have lost runs before they were pinned: that is no damage.
    const now = await readChainHead(store, machine)
    if (now === undefined || now.state.sequence <= head.state.sequence) break
    head = now
  }
  return head
}

async function verifyChains(
  repository: Repository,
  damage: DamageMap,
  pins: WorkPins,
): Promise<ChainState[]> {
  const states: ChainState[] = []
  for (const machine of await repository.chains.allMachines()) {
    try {
      const head = await pinnedHead(repository, machine, pins)
      if (head === undefined) {
        damage.note(chainsPrefix(machine), `all chain states of "${machine}" are missing`)
        continue
      }
      if (head.state.points.length > 0) states.push(head.state)
      for (const sequence of head.damaged)
        damage.note(
          chainKey(machine, sequence),
          `the newest chain state of "${machine}" is damaged: its newest points may be missing from the older one that serves`,
        )
    } catch (error) {
      if (!isEverfoldError(error, 'CHAIN_DAMAGED')) throw error
      damage.note(chainsPrefix(machine), error.message)
    }
  }
  return states
}

/** @returns ids of all packs that points need */
async function verifyRuns(
  repository: Repository,
  states: readonly ChainState[],
  damage: DamageMap,
  pins: WorkPins,
  signal: AbortSignal | undefined,
): Promise<Set<string>> {
  const needed = new Set<string>()
  for (const state of states) {
    const verifier = new RunVerifier(repository, state.machine, damage, signal)
    for (const disk of state.points.flatMap((point) => point.disks))
      for (const packId of await verifier.packsOf(disk)) {
        needed.add(packId)
        pins.pin(packId)
      }
  }
  return needed
}

/** Reads the runs of one machine. */
class RunVerifier {
  readonly #repository: Repository
  readonly #machine: string
  readonly #damage: DamageMap
  readonly #signal: AbortSignal | undefined
  /** Segments of plain runs, which need all that they name. */
  readonly #plain = new Set<string>()

  constructor(repository: Repository, machine: string, damage: DamageMap, signal: AbortSignal | undefined) {
    this.#repository = repository
    this.#machine = machine
    this.#damage = damage
    this.#signal = signal
  }

  /** Those that are not known yet to be needed, as far as the runs of the disk can be read. */
  async packsOf(disk: DiskState): Promise<readonly string[]> {
    const named = new PackTable()
    let isWhole = true
    for (const segment of segmentsOf(disk)) {
      if (disk.folded === undefined && this.#plain.has(segment.id)) continue
      if (disk.folded === undefined) this.#plain.add(segment.id)
      stopIfCancelled(this.#signal)
      isWhole = (await this.#read(segment, named)) && isWhole
    }
    if (disk.folded === undefined) return Array.from({ length: named.size }, (_, slot) => named.idOf(slot))
    // What is hidden there needs nothing.
    return isWhole ? this.#packsShowing(disk) : this.#packsLeft(disk)
  }

  /** @returns false if it is lost */
  async #read(segment: SegmentRef, named: PackTable): Promise<boolean> {
    try {
      await readSegment(this.#repository.store, this.#machine, segment, named)
      return true
    } catch (error) {
      if (!isEverfoldError(error, 'OBJECT_NOT_FOUND', 'DATA_DAMAGED')) throw error
      this.#damage.loseSegment(this.#machine, segment.id, error.message)
      return false
    }
  }

  async #packsShowing(disk: DiskState): Promise<readonly string[]> {
    const packs = new PackTable()
    const showing = new Set<string>()
    for (const read of piecesOf(this.#repository.store, this.#machine, disk, packs)) {
      stopIfCancelled(this.#signal)
      for (const packId of packsIn(await read())) showing.add(packId)
    }
    return [...showing]
  }

  /** The same where a run is lost: what it would say is not known, and all else is. */
  async #packsLeft(disk: DiskState): Promise<readonly string[]> {
    const packs = new PackTable()
    const layers: Layer[] = []
    for (const layer of runsOf(disk))
      layers.push({
        extents: await readWhatIsLeft(this.#repository, this.#machine, layer, packs),
        sizeBytes: layer.sizeBytes,
      })
    return packsIn(overlayAll(layers)).filter((packId) => packId !== LOST)
  }
}

function packsIn({ packs, pack, length }: ExtentList): string[] {
  const slots = new Set(pack.subarray(0, length))
  slots.delete(ZEROS)
  return Array.from(slots, (slot) => packs.idOf(slot))
}

async function verifyPacks(
  repository: Repository,
  needed: ReadonlySet<string>,
  damage: DamageMap,
  options: VerifyOptions,
): Promise<Pick<VerifyResult, 'packs' | 'chunks' | 'readBytes'>> {
  const found: PackPlace[] = []
  const places = listPacks(repository.store, undefined, (key, problem) => {
    damage.note(key, problem)
  })
  for await (const place of places) found.push(place)
  const totalBytes = found.reduce((sum, object) => sum + object.sizeBytes, 0)
  const gate = new Gate(PACKS_IN_FLIGHT)
  let chunks = 0
  let readBytes = 0
  let done = 0
  // One that fails ends the others too, and they are waited for: nothing goes on reading behind its back.
  const failed = new AbortController()
  let first: { readonly error: unknown } | undefined
  const signal =
    options.signal === undefined ? failed.signal : AbortSignal.any([options.signal, failed.signal])
  await settleAll(
    found.map(async (object) => {
      await gate.enter()
      try {
        const read = await verifyPack(repository, object, options.sample, damage, signal)
        chunks += read.chunks
        readBytes += read.bytes
        done += object.sizeBytes
        options.onProgress?.(done, totalBytes)
      } catch (error) {
        first ??= { error }
        failed.abort()
      } finally {
        gate.leave()
      }
    }),
  )
  if (first !== undefined) throw first.error
  for (const packId of needed) {
    if (damage.knows(packId)) continue
    const read = await verifyUnlisted(repository, packId, options.sample, damage, options.signal)
    chunks += read.chunks
    readBytes += read.bytes
  }
  return { packs: found.length, chunks, readBytes }
}

/** A pack that is needed and was not found: the listing may have been short, or it lies elsewhere since. */
async function verifyUnlisted(
  repository: Repository,
  packId: string,
  sample: number,
  damage: DamageMap,
  signal: AbortSignal | undefined,
): Promise<VerifiedPack> {
  repository.catalog.forget(packId)
  try {
    const place = placeOf(await repository.catalog.directory(packId))
    return await verifyPack(repository, place, sample, damage, signal)
  } catch (error) {
    if (!isEverfoldError(error, 'OBJECT_NOT_FOUND', 'DATA_DAMAGED')) throw error
    const missing = error.code === 'OBJECT_NOT_FOUND'
    damage.losePack(missing ? 'the pack is missing' : error.message, packKey(packId, 0))
    return NOTHING_VERIFIED
  }
}
