import type { ByteRange } from '../../byte-range.js'
import { EverfoldError } from '../../errors.js'
import { KeyedMutex } from '../../mutex.js'
import { sessionPartKey, sessionPrefix } from '../../store/keys.js'
import type { BaseDisk } from '../base-disk.js'
import { ExtentList, ZEROS } from '../extent-list.js'
import { overlay } from '../overlay.js'
import { PackTable } from '../pack-table.js'
import type { WorkPins } from '../pins.js'
import type { Repository } from '../repository.js'
import { putTogether } from '../run-builder.js'
import { decodePart, encodePart, type PartFigures } from './part-codec.js'
import type { SessionBegin, SessionDisk } from './session-objects.js'
import { type StoredPart, tablesOf } from './session-store.js'

/** Extents of one session, of all its disks: 32 bytes of memory each while it is looked at or committed. */
export const SESSION_EXTENTS_MAX = 2_000_000
/** Parts of one session: each is an object in the store. */
const SESSION_PARTS_MAX = 250_000

/** What the smallest file takes, on most file systems. */
const BLOCK_BYTES = 4096

/** Of the lists of all disks, as {@link Session.arrived} gives them, that of one. */
export function arrivedOf(all: readonly ExtentList[], disk: number): ExtentList {
  const list = all[disk]
  if (list === undefined) throw new RangeError('what arrived is told of every disk')
  return list
}

/** What has arrived of one disk. */
export interface ArrivedDisk {
  readonly about: SessionDisk
  packs: PackTable
  /** Each sorted, oldest first; the newer one wins. See {@link putTogether}. */
  lists: ExtentList[]
  /** The newest point's disk, while it is being compared with. */
  base: LoadedBase | undefined
}

export interface LoadedBase {
  readonly disk: Promise<BaseDisk | undefined>
  users: number
  idleSinceMs: number
}

/** A session that is open in this process. */
export class Session {
  readonly begin: SessionBegin
  readonly disks: readonly ArrivedDisk[]
  /** Holds all packs that its parts name, and those that it was told are there. */
  readonly pins: WorkPins
  lastUsedMs: number
  /** Data requests that are running. */
  running = 0
  /** It belongs to one request, which is still at work and is going to commit it or give it up. */
  held = false
  /** Why nothing more is taken; undefined: it is open. */
  closed: 'committing' | 'gone' | undefined
  readonly #repository: Repository
  readonly #writing = new KeyedMutex()
  readonly #figures = { receivedBytes: 0, changedBytes: 0, newBytes: 0, storedBytes: 0 }
  #nextPart = 0
  #recordBytes = 0
  /** All that was recorded is in `disks`; else it is only in the store. */
  #isHere = true
  /** Of all disks; while they are not here, those that came meanwhile are added without a look at what they write over. */
  #extents = 0

  constructor(repository: Repository, begin: SessionBegin) {
    this.#repository = repository
    this.begin = begin
    this.pins = repository.pins.hold()
    this.lastUsedMs = repository.environment.monotonicMs()
    const tables = tablesOf(begin, repository.config.chunkSize)
    this.disks = begin.disks.map((about, i) => ({
      about,
      packs: tables[i]?.packs ?? fail(),
      lists: [],
      base: undefined,
    }))
  }

  get id(): string {
    return this.begin.session
  }

  get extents(): number {
    return this.#extents
  }

  get extentsInMemory(): number {
    return this.#isHere ? this.#extents : 0
  }

  get figures(): PartFigures {
    return this.#figures
  }

  /** Bytes that its records take in the store, until it is committed or dropped: about, as a file takes whole blocks. */
  get recordBytes(): number {
    return this.#recordBytes
  }

  strideOf(disk: SessionDisk): number {
    return disk.chunker === 'cdc' ? 0 : this.#repository.config.chunkSize
  }

  /** The number of a disk in the session's list. @throws DISK_UNKNOWN */
  diskNumber(id: string): number {
    const number = this.begin.disks.findIndex((disk) => disk.id === id.normalize('NFC'))
    if (number >= 0) return number
    throw new EverfoldError(
      'DISK_UNKNOWN',
      `This session has no disk "${id}"; it has: ${this.begin.disks.map((disk) => disk.id).join(', ')}`,
      { details: { session: this.id, disk: id } },
    )
  }

  disk(number: number): ArrivedDisk {
    return this.disks[number] ?? fail()
  }

  /** Notes a part that was read from the store. Parts come in order. */
  restore({ disk, figures, extents, objectBytes }: StoredPart): void {
    this.#nextPart++
    this.#noteRecord(objectBytes)
    this.#take(disk, figures, extents)
  }

  /** Notes that the next part cannot be read: nothing before it counts, because it may have been written over by it. */
  restoreDamaged(): void {
    this.#nextPart++
    this.#noteRecord(0)
    for (const { lists } of this.disks) lists.length = 0
    this.#extents = 0
  }

  /**
   * Records durably what came of a disk.
   * @param isWanted  asked before anything is written: does it still count?
   * @throws SESSION_UNKNOWN if it was dropped meanwhile; SESSION_TOO_LARGE, STORE_FULL, STORE_FAILED
   */
  async addPart(
    disk: number,
    figures: PartFigures,
    extents: ExtentList,
    isWanted: () => boolean,
  ): Promise<void> {
    if (this.closed === 'gone') throw sessionGone(this.id)
    for (let i = 0; i < extents.length; i++) {
      const slot = extents.pack[i] ?? ZEROS
      if (slot >= 0) this.pins.pin(extents.packs.idOf(slot))
    }
    await this.#writing.run('parts', async () => {
      for (;;) {
        if (this.closed === 'gone') throw sessionGone(this.id)
        if (!isWanted()) return
        if (this.#extents + extents.length > SESSION_EXTENTS_MAX || this.#nextPart >= SESSION_PARTS_MAX)
          throw this.#tooLarge()
        const { series } = this.begin
        const header = { series, number: this.#nextPart }
        const bytes = encodePart(header, { disk, figures, extents })
        const again = decodePart(bytes, header, (number) => this.#tableOf(number))
        if (again.extents.length !== extents.length || again.extents.totalBytes !== extents.totalBytes)
          throw new Error('a part did not decode to what was encoded')
        const answer = await this.#repository.store.put(sessionPartKey(this.id, series, header.number), [
          bytes,
        ])
        this.#nextPart++
        this.#noteRecord(bytes.length)
        if (answer === 'exists') {
          // One whose answer got lost has the number: it came before this one. From now on it has to stay.
          await this.#repository.store.settle(sessionPrefix(this.id))
          continue
        }
        this.#take(disk, figures, again.extents)
        return
      }
    })
  }

  /** Waits until no part is being written. */
  async settled(): Promise<void> {
    await this.#writing.run('parts', async () => undefined)
  }

  /**
   * All that has arrived, one list for each disk.
   * @param load  reads the session from the store, where it is not in memory
   */
  async arrived(load: () => Promise<Session>): Promise<readonly ExtentList[]> {
    return this.#writing.run('parts', async () => {
      if (!this.#isHere) this.#adopt(await load())
      return this.together()
    })
  }

  /** Likewise, of one that is here. */
  together(): readonly ExtentList[] {
    const all = this.disks.map((disk) => {
      const { lists, packs, about } = disk
      const one = lists.reduce<ExtentList | undefined>(
        (older, newer) => (older === undefined ? newer : overlay(older, newer)),
        undefined,
      )
      disk.lists = one === undefined ? [] : [one]
      return one ?? new ExtentList(this.strideOf(about), packs)
    })
    this.#count()
    return all
  }

  /** Lets go of what is in the store as well; it is read again when it is asked for. */
  shed(): void {
    this.#isHere = false
    for (const disk of this.disks) {
      disk.lists = []
      disk.packs = new PackTable()
    }
  }

  /** Takes over what was read from the store. What it names is held by this session since it was recorded or loaded. */
  #adopt(read: Session): void {
    for (const [number, disk] of this.disks.entries()) {
      disk.lists = read.disk(number).lists
      disk.packs = read.disk(number).packs
    }
    this.#isHere = true
    this.#count()
    read.pins.end()
  }

  #count(): void {
    this.#extents = 0
    for (const { lists } of this.disks) for (const { length } of lists) this.#extents += length
  }

  #take(disk: number, figures: PartFigures, extents: ExtentList): void {
    if (this.#isHere) {
      const { lists } = this.disk(disk)
      lists.push(extents)
      putTogether(lists)
      this.#count()
    } else this.#extents += extents.length
    this.#figures.receivedBytes += figures.receivedBytes
    this.#figures.changedBytes += figures.changedBytes
    this.#figures.newBytes += figures.newBytes
    this.#figures.storedBytes += figures.storedBytes
  }

  #noteRecord(objectBytes: number): void {
    this.#recordBytes += Math.max(1, Math.ceil(objectBytes / BLOCK_BYTES)) * BLOCK_BYTES
  }

  #tableOf(number: number): { readonly packs: PackTable; readonly stride: number } | undefined {
    const disk = this.disks[number]
    if (disk === undefined) return undefined
    return { packs: this.#isHere ? disk.packs : new PackTable(), stride: this.strideOf(disk.about) }
  }

  #tooLarge(): EverfoldError {
    return new EverfoldError(
      'SESSION_TOO_LARGE',
      `What came in this session lies in too many pieces: a session may have ${SESSION_EXTENTS_MAX} of them, in ${SESSION_PARTS_MAX} records. ` +
        'Begin a new one, and send fewer disks in it, or larger ranges.',
      { details: { session: this.id, extents: this.#extents, parts: this.#nextPart } },
    )
  }
}

/** Neighbouring extents as one range each. */
export function* rangesOf(list: ExtentList): Generator<ByteRange> {
  for (let i = 0; i < list.length; ) {
    const offset = list.startOf(i)
    let end = list.endOf(i)
    for (i++; list.startOf(i) === end; i++) end = list.endOf(i)
    yield { offset, length: end - offset }
  }
}

/** What has to come of a disk, and has not. */
export function* missingOf(about: SessionDisk, arrived: ExtentList): Generator<ByteRange> {
  let at = about.knownBytes
  for (const { offset, length } of rangesOf(arrived)) {
    if (offset > at) yield { offset: at, length: offset - at }
    at = Math.max(at, offset + length)
  }
  if (at < about.sizeBytes) yield { offset: at, length: about.sizeBytes - at }
}

export function sessionGone(id: string): EverfoldError {
  return new EverfoldError(
    'SESSION_UNKNOWN',
    'There is no such session: it was never begun, or was dropped, or expired. Begin a new one.',
    { details: { session: id } },
  )
}

function fail(): never {
  throw new RangeError('the session has no disk of this number')
}
