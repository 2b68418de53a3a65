import { isEqualHash } from '../checksum.js'
import type { HashResult } from '../chunker/batch-jobs.js'
import { isZeroChunk } from '../chunker/hash.js'
import { HASH_BYTES, type LookupResult } from '../index/chunk-index.js'
import type { IngestIndex } from '../index/index-to-come.js'
import type { PackCatalog } from '../pack/catalog.js'
import type { PackDirectory } from '../pack/pack-format.js'
import { ZEROS } from './extent-list.js'
import type { Batch } from './ingest.js'
import type { PackTable } from './pack-table.js'
import type { PendingChunks } from './pending-chunks.js'
import type { WorkPins } from './pins.js'

/** In place of a pack slot: the chunk is new, its serial says where it will be. */
export const NEW = -2
/** In place of a pack slot: the previous point has the same bytes there. */
export const UNCHANGED = -3
const UNDECIDED = -4

/** Directories that are looked at together: chunks of a batch may lie in as many packs, and more than memory holds. */
const DIRECTORIES_AT_ONCE = 64

/** What is to be done with each chunk of a batch. Arrays are parallel. */
export class Decision {
  readonly plain: ArrayBufferLike
  readonly hashes: Uint8Array
  readonly count: number
  /** Offset on the disk, offset in `plain`, and length. Bytes. */
  readonly offset: Float64Array
  readonly from: Uint32Array
  readonly length: Uint32Array
  /** Slot of the pack in the session's table, or ZEROS, NEW, UNCHANGED. */
  readonly pack: Int32Array
  readonly chunk: Uint32Array
  readonly serial: Float64Array
  /** Serials from here on are new with this batch. */
  readonly firstSerial: number
  readonly #introduces: Uint8Array

  constructor(batch: Batch, result: HashResult, firstSerial: number) {
    const count = result.lengths.length
    this.plain = result.plain
    this.hashes = result.hashes
    this.count = count
    this.length = result.lengths
    this.offset = new Float64Array(count)
    this.from = new Uint32Array(count)
    this.pack = new Int32Array(count).fill(UNDECIDED)
    this.chunk = new Uint32Array(count)
    this.serial = new Float64Array(count)
    this.firstSerial = firstSerial
    this.#introduces = new Uint8Array(count)
    let from = batch.start ?? 0
    let piece = 0
    let within = 0
    for (let i = 0; i < count; i++) {
      while (within === batch.pieces[piece]?.length) {
        piece++
        within = 0
      }
      this.offset[i] = (batch.pieces[piece]?.offset ?? 0) + within
      this.from[i] = from
      from += this.length[i] ?? 0
      within += this.length[i] ?? 0
    }
  }

  /** Does this chunk repeat one that is on its way already (so that its bytes are not stored again)? */
  isRepeat(i: number): boolean {
    return this.#introduces[i] === 0
  }

  setNew(i: number, serial: number, introduces: boolean): void {
    this.pack[i] = NEW
    this.serial[i] = serial
    this.#introduces[i] = introduces ? 1 : 0
  }

  setAddress(i: number, pack: number, chunk: number): void {
    this.pack[i] = pack
    this.chunk[i] = chunk
  }

  /** Chunks that are nowhere: only where no new ones are taken. */
  undecided(): number[] {
    const found: number[] = []
    for (let i = 0; i < this.count; i++) if (this.pack[i] === UNDECIDED) found.push(i)
    return found
  }

  /** Hashes of the chunks that this batch introduces, in order. */
  newHashes(): Uint8Array {
    const parts: Uint8Array[] = []
    for (let i = 0; i < this.count; i++)
      if (this.#introduces[i] === 1) parts.push(this.hashes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES))
    return Buffer.concat(parts)
  }
}

/** Decides for each chunk whether it is known, where, or new. Batches come one at a time, in order. */
export class Decider {
  readonly #catalog: PackCatalog
  readonly #index: IngestIndex
  readonly #packs: PackTable
  readonly #pending: PendingChunks
  readonly #pins: WorkPins
  /** The chunk after the last hit: the next chunk is most often this one. */
  #expectedPack: PackDirectory | undefined
  #expectedChunk = 0

  constructor(
    catalog: PackCatalog,
    index: IngestIndex,
    packs: PackTable,
    pending: PendingChunks,
    pins: WorkPins,
  ) {
    this.#catalog = catalog
    this.#index = index
    this.#packs = packs
    this.#pending = pending
    this.#pins = pins
  }

  /** @param knownOnly  chunks that are nowhere stay undecided, instead of being new */
  async decide(batch: Batch, result: HashResult, knownOnly = false): Promise<Decision> {
    const decision = new Decision(batch, result, this.#pending.nextSerial)
    if (batch.disk.base !== undefined) await this.#compare(batch, decision, result.zeros)
    for (let i = 0; i < decision.count; i++)
      if (decision.pack[i] === UNDECIDED && isZeroChunk(result.zeros, i)) decision.pack[i] = ZEROS
    // What a pack on its way holds is looked up before we wait: it leaves that list once the index has it.
    const onTheirWay = new Map<number, number>()
    let firstUnknown = decision.count
    for (let i = 0; i < decision.count; i++) {
      if (
        decision.pack[i] !== UNDECIDED ||
        (firstUnknown === decision.count && this.#asExpected(decision, i))
      )
        continue
      const serial = this.#pending.find(decision.hashes, i, decision.length[i] ?? 0)
      if (serial !== undefined) onTheirWay.set(i, serial)
      else firstUnknown = Math.min(firstUnknown, i)
    }
    if (firstUnknown < decision.count) await this.#lookUp(decision, firstUnknown, onTheirWay, knownOnly)
    for (const [i, serial] of onTheirWay)
      if (decision.pack[i] === UNDECIDED) decision.setNew(i, serial, false)
    return decision
  }

  /** Marks what is equal to the previous point. */
  async #compare(batch: Batch, decision: Decision, zeros: Uint8Array): Promise<void> {
    const base = batch.disk.base
    if (base === undefined) return
    const directories = new Map<number, PackDirectory>()
    for (const { offset, length } of batch.pieces) await base.prepare(offset, offset + length, directories)
    for (let i = 0; i < decision.count; i++) {
      const offset = decision.offset[i] ?? 0
      const length = decision.length[i] ?? 0
      const part = { ...base.cellAt(offset, length, directories), offset, length }
      if (await base.isSame(part, { hashes: decision.hashes, zeros }, i)) decision.pack[i] = UNCHANGED
    }
  }

  /** Is chunk i the one that follows the last hit? Then no index needs to be asked. */
  #asExpected(decision: Decision, i: number): boolean {
    const pack = this.#expectedPack
    const chunk = this.#expectedChunk
    if (pack === undefined || chunk >= pack.chunkCount || !sameHash(pack, chunk, decision, i)) return false
    if (!this.#catalog.mayReference(pack, chunk)) return false
    this.#hit(decision, i, pack, chunk)
    return true
  }

  #hit(decision: Decision, i: number, pack: PackDirectory, chunk: number): void {
    this.#pins.pin(pack.id)
    decision.setAddress(i, this.#packs.slotOf(pack.id), chunk)
    this.#expectedPack = pack
    this.#expectedChunk = chunk + 1
  }

  async #lookUp(
    decision: Decision,
    from: number,
    onTheirWay: ReadonlyMap<number, number>,
    knownOnly: boolean,
  ): Promise<void> {
    const unknown: number[] = []
    for (let i = from; i < decision.count; i++)
      if (decision.pack[i] === UNDECIDED && !onTheirWay.has(i)) unknown.push(i)
    const hashes = new Uint8Array(unknown.length * HASH_BYTES)
    for (const [n, i] of unknown.entries())
      hashes.set(decision.hashes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES), n * HASH_BYTES)
    const found = await this.#index.lookup(hashes)
    for (let first = 0; first < unknown.length; ) {
      const end = endWithPacks(found, first, unknown.length)
      const directories = await this.#directoriesOf(found, first, end)
      for (let n = first; n < end; n++) {
        const i = unknown[n] ?? 0
        const pack = directories.get(found.packOf[n] ?? -1)
        if (this.#asExpected(decision, i) || this.#isIn(pack, found.position[n] ?? 0, decision, i)) continue
        const length = decision.length[i] ?? 0
        const repeat = this.#pending.find(decision.hashes, i, length)
        if (repeat !== undefined) decision.setNew(i, repeat, false)
        else if (!knownOnly) decision.setNew(i, this.#pending.add(decision.hashes, i, length), true)
      }
      first = end
    }
  }

  /** The index is never believed: the pack's own directory has the say (invariant 4). */
  #isIn(pack: PackDirectory | undefined, chunk: number, decision: Decision, i: number): boolean {
    if (pack === undefined || chunk >= pack.chunkCount || !sameHash(pack, chunk, decision, i)) return false
    if (!this.#catalog.mayReference(pack, chunk)) return false
    this.#hit(decision, i, pack, chunk)
    return true
  }

  /** The directories of packs where hashes `first` to before `end` were found, by number; without those that cannot be read. */
  async #directoriesOf(
    { packs, packOf }: LookupResult,
    first: number,
    end: number,
  ): Promise<ReadonlyMap<number, PackDirectory | undefined>> {
    const numbers = new Set(packOf.subarray(first, end))
    numbers.delete(-1)
    return new Map(
      await Promise.all(
        Array.from(
          numbers,
          async (number) => [number, await this.#catalog.directoryIfWhole(packs[number] ?? '')] as const,
        ),
      ),
    )
  }
}

/** The first hash from `first` on with which there are more packs than are looked at together. */
function endWithPacks({ packOf }: LookupResult, first: number, count: number): number {
  const packs = new Set<number>()
  for (let n = first; n < count; n++) if (packs.add(packOf[n] ?? -1).size > DIRECTORIES_AT_ONCE) return n
  return count
}

function sameHash(pack: PackDirectory, chunk: number, decision: Decision, i: number): boolean {
  // A length that somebody claims is checked as well: extents count by it.
  return pack.chunkLength[chunk] === decision.length[i] && isEqualHash(pack.hashes, chunk, decision.hashes, i)
}
