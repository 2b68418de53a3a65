import { EverfoldError } from '../../errors.js'
import { Gate } from '../../gate.js'
import { KeyedMutex } from '../../mutex.js'
import { sessionDoneKey, sessionPrefix } from '../../store/keys.js'
import type { PointResult } from '../commit-point.js'
import type { ExtentList } from '../extent-list.js'
import { SharedRoom } from '../ingest-room.js'
import type { Repository } from '../repository.js'
import { commitSession, committedAs } from './commit-session.js'
import { loadSession } from './load-session.js'
import { beginSession, type SessionRequest, sessionIdOf } from './new-session.js'
import { type ArrivedDisk, type LoadedBase, type Session, sessionGone } from './session.js'
import { loadBaseOf } from './session-base.js'
import { encodeDone, type SessionBegin, type SessionDone } from './session-objects.js'
import { listSessions, readBegin, readDone, removeSession } from './session-store.js'
import { Upload, type UploadResult } from './upload.js'

/** Data requests that run at once. */
export const UPLOADS_MAX = 512
/** How long a session lives without a request, unless told otherwise. */
export const SESSION_EXPIRY_MS = 24 * 3600 * 1000
/** How long it is remembered what a session became, and of how many. */
const DONE_KEPT_MS = 24 * 3600 * 1000
const DONE_KEPT_MAX = 10_000
/** How long the newest point's disk stays loaded for the next request, and how many extents it may have (32 bytes each). */
const BASE_IDLE_MS = 30_000
const BASE_IDLE_EXTENTS_MAX = 20_000
/** Extents of all sessions that are kept in memory (32 bytes each); what is more is read from the store again when it is needed. */
const SESSIONS_EXTENTS_MAX = 3_000_000
/** A session of more extents is put out of memory when it is idle, and commits beside one other such at most. */
export const LARGE_EXTENTS = 20_000
const IDLE_MS = 60_000
const LARGE_COMMITS_MAX = 2
/** Sessions that are read from the store at once. */
const LOADS_MAX = 4

export interface SessionsOptions {
  /** Milliseconds without a request after which a session is dropped. */
  readonly expiryMs?: number
  /** As {@link UploadParts.partBytes}. */
  readonly partBytes?: number
  /** Extents of all sessions that are kept in memory; default: SESSIONS_EXTENTS_MAX. */
  readonly extentsMax?: number
}

/** A data request that was let in. */
export interface Admitted {
  readonly upload: Upload
  /** Once: makes what came durable. @throws what went wrong */
  finish(): Promise<UploadResult>
  /** Once, instead: lets go of it. */
  abandon(): Promise<void>
}

/** Uploads under way: in memory while they are worked with, and in the store all of the time. */
export class Sessions {
  readonly room: SharedRoom
  readonly #repository: Repository
  readonly #expiryMs: number
  readonly #partBytes: number | undefined
  readonly #extentsMax: number
  readonly #loaded = new Map<string, Session>()
  /** Sessions that are open in the store: whose they are, and since when this process knows of them. */
  readonly #open = new Map<string, { readonly owner: string; readonly sinceMs: number }>()
  /** Likewise what is left of committed ones; oldest first. */
  readonly #doneSinceMs = new Map<string, number>()
  /** Likewise those of which nobody can say any more what they were about. */
  readonly #damagedSinceMs = new Map<string, number>()
  readonly #turn = new KeyedMutex()
  readonly #committing = new Map<string, Promise<PointResult>>()
  readonly #loads = new Gate(LOADS_MAX)
  readonly #largeCommits = new Gate(LARGE_COMMITS_MAX)
  readonly #parking = new AbortController()
  /** What is under way: the end waits for it. */
  readonly #work = new Set<Promise<unknown>>()
  #uploads = 0
  #closed = false
  /** Was something left that nobody looked at yet, or could nobody look? */
  #isSomethingLeft = true

  constructor(repository: Repository, options: SessionsOptions = {}) {
    this.#repository = repository
    this.room = new SharedRoom(repository.crew.size, repository.config.chunkSize)
    this.#expiryMs = options.expiryMs ?? SESSION_EXPIRY_MS
    this.#partBytes = options.partBytes
    this.#extentsMax = options.extentsMax ?? SESSIONS_EXTENTS_MAX
  }

  /**
   * Finds what an earlier process left, and finishes commits that it did not get to write down. Sessions can be used before that: each is
   * looked for when it is asked for. Where it fails, {@link sweep} does it again.
   * @throws STORE_FAILED
   */
  async recover(): Promise<void> {
    // Noted first: what is left behind meanwhile is for the next time.
    this.#isSomethingLeft = false
    try {
      for (const [id, kinds] of await listSessions(this.#repository.store))
        if (kinds.has('done')) {
          if (!this.#doneSinceMs.has(id)) this.#doneSinceMs.set(id, this.#nowMs)
          if (kinds.size > 1) await this.#turn.run(id, () => this.#clearUp(id))
        } else if (kinds.has('begin')) await this.#turn.run(id, () => this.#takeUp(id))
    } catch (error) {
      this.#isSomethingLeft = true
      throw error
    }
  }

  async #takeUp(id: string): Promise<void> {
    if (this.#loaded.has(id)) return
    const begin = await readBegin(this.#repository.store, id)
    if (begin === undefined && !this.#damagedSinceMs.has(id)) this.#damagedSinceMs.set(id, this.#nowMs)
    if (begin === undefined || (await this.#recall(begin)) !== undefined) return
    if (!this.#open.has(id)) this.#open.set(id, { owner: begin.owner, sinceMs: this.#nowMs })
    // Nobody can go on with what one request was to bring.
    if (begin.single === true) await this.#drop(id)
  }

  /** Aborted when the service is about to stop: whoever reads from a client finishes with what it has. */
  get parking(): AbortSignal {
    return this.#parking.signal
  }

  /**
   * Begins a session, durably.
   * @param key    makes it the same one for whoever repeats it
   * @param limit  how many may be open, in all and of this owner
   * @returns what there is of it, and whether it is new
   * @throws NAME_INVALID, ARGUMENT_INVALID, CONFLICT, FEED_WITHOUT_BASE, FEED_BASE_UNSURE, TOO_MANY_REQUESTS, STORE_FULL,
   *         STORE_FAILED, SERVICE_STOPPING
   */
  async create(
    owner: string,
    request: SessionRequest,
    limit: { readonly all: number; readonly own: number },
    key?: string,
  ): Promise<{ readonly session: Session | SessionDone; readonly created: boolean }> {
    this.#refuseWhileParking()
    const id = sessionIdOf(this.#repository, owner, request.machine, key)
    return this.#turn.run(id, async () => {
      if (key !== undefined) {
        const known = await this.#find(id)
        if (known !== undefined && !(isOpen(known) && known.begin.single === true))
          return { session: known, created: false }
        if (known !== undefined && isOpen(known)) {
          // One that a single request was to bring, and did not, is begun anew.
          if (known.held || known.running > 0 || this.#committing.has(id)) throw busy(id)
          const done = await this.#recall(known.begin)
          if (done !== undefined) return { session: done, created: false }
          await this.#drop(id)
        }
      }
      this.#checkPlaces(owner, limit)
      this.#open.set(id, { owner, sinceMs: this.#nowMs })
      try {
        const session = await beginSession(this.#repository, id, owner, request)
        session.held = request.single === true
        this.#loaded.set(id, session)
        return { session, created: true }
      } catch (error) {
        this.#open.delete(id)
        throw error
      }
    })
  }

  /** Extents that are in memory, of all sessions. */
  get extentsInMemory(): number {
    let extents = 0
    for (const session of this.#loaded.values()) extents += session.extentsInMemory
    return extents
  }

  /** Stored bytes that the open sessions of a machine brought, with their records, as far as this process has them. */
  broughtBytes(machine: string): number {
    let bytes = 0
    for (const { begin, figures, recordBytes } of this.#loaded.values())
      if (begin.machine === machine) bytes += figures.storedBytes + recordBytes
    return bytes
  }

  /** @throws SESSION_UNKNOWN, STORE_FAILED */
  async get(id: string): Promise<Session | SessionDone> {
    const loaded = this.#loaded.get(id)
    // One that is just being dropped is waited for.
    const isHere = loaded !== undefined && loaded.closed !== 'gone'
    const found = isHere ? loaded : await this.#turn.run(id, () => this.#find(id))
    if (found === undefined) throw sessionGone(id)
    if (isOpen(found)) this.#touch(found)
    return found
  }

  /** What all open sessions are about. @throws STORE_FAILED */
  async list(): Promise<SessionBegin[]> {
    const open: SessionBegin[] = []
    for (const id of [...this.#open.keys()]) {
      const begin = this.#loaded.get(id)?.begin ?? (await readBegin(this.#repository.store, id))
      if (begin !== undefined && begin.single !== true) open.push(begin)
    }
    return open.sort((a, b) => (a.createdAt < b.createdAt ? -1 : 1))
  }

  /** What has arrived of each disk of a session. @throws STORE_FAILED */
  async arrived(session: Session): Promise<readonly ExtentList[]> {
    const lists = await session.arrived(() => this.#load(session.begin))
    this.#makeRoom(session)
    return lists
  }

  /** When it is dropped if nobody asks for it, in milliseconds since 1970. */
  expiresMs(session: Session): number {
    const { environment } = this.#repository
    return environment.now() + session.lastUsedMs + this.#expiryMs - environment.monotonicMs()
  }

  /** Drops a session with all that came. @throws STORE_FAILED */
  async drop(id: string): Promise<void> {
    if (this.#committing.has(id)) throw busy(id)
    await this.#turn.run(id, () => this.#drop(id))
  }

  /**
   * Lets a data request in.
   * @throws SESSION_BUSY, SESSION_UNKNOWN, CONFLICT, TOO_MANY_REQUESTS, SERVICE_STOPPING, STORE_FAILED
   */
  async upload(session: Session, number: number): Promise<Admitted> {
    this.#refuseWhileParking()
    this.#refuseClosed(session)
    if (this.#uploads >= UPLOADS_MAX)
      throw new EverfoldError(
        'TOO_MANY_REQUESTS',
        `${UPLOADS_MAX} uploads are running: try again in a moment.`,
      )
    this.#uploads++
    session.running++
    const pins = this.#repository.pins.begin()
    const disk = session.disk(number)
    let base: LoadedBase | undefined
    const over = this.#begin()
    let ended = false
    const end = (): void => {
      if (ended) return
      ended = true
      over()
      this.#uploads--
      session.running--
      this.#touch(session)
      if (base !== undefined) this.#leaveBase(disk, base)
      pins.end()
    }
    try {
      const index = await this.#repository.index()
      if (disk.about.content === 'whole' && session.begin.base !== null) base = this.#useBase(session, disk)
      const compared = await base?.disk
      this.#refuseClosed(session)
      const { room } = this
      const about = { session, disk: number, base: compared }
      const partBytes = this.#partBytes
      const onRecorded = (): void => this.#makeRoom(session)
      const parts = { repository: this.#repository, index, room, ...about, pins, partBytes, onRecorded }
      const upload = new Upload(parts)
      return {
        upload,
        finish: () => upload.finish().finally(end),
        abandon: () => upload.abandon().finally(end),
      }
    } catch (error) {
      end()
      throw error
    }
  }

  /**
   * Makes the point, or tells which one was made.
   * @param sizes  sizes of disks that were not known when it began, by number
   * @returns once the point is durable, and that this session made it: a repeated commit knows that, whatever becomes of the point
   * @throws SESSION_BUSY, DISK_INCOMPLETE, CONFLICT, and as commitPoint: it is open as before then. After STORE_FAILED and STORE_FULL
   *         the point may have been made: a repeated commit tells
   */
  async commit(
    session: Session,
    sizes?: ReadonlyMap<number, number>,
  ): Promise<{ readonly result: PointResult; readonly created: boolean }> {
    const running = this.#committing.get(session.id)
    if (running !== undefined) return { result: await running, created: false }
    if (session.closed === 'gone') {
      const done = await this.get(session.id)
      if (!isOpen(done)) return { result: done.result, created: false }
    }
    if (this.#closed) throw stopping()
    this.#refuseClosed(session)
    if (session.running > 0) throw busy(session.id)
    session.closed = 'committing'
    const committing = this.#commit(session, sizes)
    this.#committing.set(session.id, committing)
    const over = this.#begin()
    try {
      return { result: await committing, created: true }
    } catch (error) {
      session.closed = undefined
      throw error
    } finally {
      this.#committing.delete(session.id)
      this.#touch(session)
      over()
    }
  }

  /** Drops a session that one request was to bring and did not, unless its point was made all the same. */
  async giveUp(session: Session): Promise<void> {
    try {
      await this.#turn.run(session.id, async () => {
        // A later one of the same key is none of our business.
        if (this.#loaded.get(session.id) !== session) return
        if ((await this.#recall(session.begin)) === undefined) await this.#drop(session.id)
      })
    } catch {
      // It is dropped when it has expired, or its key comes again.
    } finally {
      session.held = false
    }
  }

  /** From now on nothing is begun; whoever reads from a client is told to finish. */
  park(): void {
    this.#parking.abort()
  }

  /** Drops what was not asked for in time, and looks for what is left. To be called every few seconds. @throws STORE_FAILED */
  async sweep(): Promise<void> {
    if (this.#isSomethingLeft) await this.recover()
    const nowMs = this.#nowMs
    for (const session of this.#loaded.values())
      for (const disk of session.disks)
        if (disk.base?.users === 0 && nowMs - disk.base.idleSinceMs > BASE_IDLE_MS) disk.base = undefined
    for (const session of this.#loaded.values()) {
      const isIdle = session.running === 0 && nowMs - session.lastUsedMs > IDLE_MS
      if (isIdle && session.extentsInMemory > LARGE_EXTENTS) session.shed()
    }
    for (const [id, { sinceMs }] of [...this.#open]) {
      const isIdle = (): boolean => {
        const session = this.#loaded.get(id)
        if (session !== undefined && (session.running > 0 || session.closed !== undefined)) return false
        return nowMs - (session?.lastUsedMs ?? sinceMs) > this.#expiryMs
      }
      if (isIdle()) await this.#turn.run(id, async () => (isIdle() ? this.#drop(id) : undefined))
    }
    for (const [id, sinceMs] of [...this.#damagedSinceMs]) {
      if (nowMs - sinceMs <= this.#expiryMs) continue
      await this.#turn.run(id, async () => {
        // It may have been put back from a copy, or begun anew.
        if ((await readBegin(this.#repository.store, id)) === undefined)
          await removeSession(this.#repository.store, id, true)
        this.#damagedSinceMs.delete(id)
      })
    }
    // Oldest first.
    for (const [id, sinceMs] of [...this.#doneSinceMs]) {
      if (nowMs - sinceMs <= DONE_KEPT_MS && this.#doneSinceMs.size <= DONE_KEPT_MAX) break
      await this.#turn.run(id, () => removeSession(this.#repository.store, id, false))
      this.#doneSinceMs.delete(id)
    }
  }

  /** Once no request is running any more, lets go of all sessions; they stay in the store. */
  async close(): Promise<void> {
    this.park()
    while (this.#work.size > 0) await Promise.allSettled(this.#work)
    this.#closed = true
    for (const session of this.#loaded.values()) session.pins.end()
    this.#loaded.clear()
  }

  async #find(id: string): Promise<Session | SessionDone | undefined> {
    const loaded = this.#loaded.get(id)
    if (loaded !== undefined) return loaded
    const { store } = this.#repository
    const done = await readDone(store, id)
    if (done !== undefined) {
      // A process that was killed may have left it: see StoreReader.settle.
      await store.settle(sessionPrefix(id))
      return done
    }
    const begin = await readBegin(store, id)
    if (begin === undefined) return undefined
    const recalled = await this.#recall(begin)
    if (recalled !== undefined) return recalled
    const session = await this.#load(begin)
    this.#loaded.set(id, session)
    this.#open.set(id, { owner: begin.owner, sinceMs: this.#nowMs })
    this.#makeRoom(session)
    return session
  }

  /** Was it committed by a process that did not get to write that down? Then that is done now. */
  async #recall(begin: SessionBegin): Promise<SessionDone | undefined> {
    const result = await committedAs(this.#repository, begin)
    return result === undefined ? undefined : this.#record(begin, result)
  }

  async #commit(session: Session, sizes?: ReadonlyMap<number, number>): Promise<PointResult> {
    await session.settled()
    const isLarge = session.extents > LARGE_EXTENTS
    if (isLarge) await this.#largeCommits.enter()
    try {
      const result = await commitSession(this.#repository, session, await this.arrived(session), sizes)
      await this.#record(session.begin, result)
      return result
    } finally {
      if (isLarge) this.#largeCommits.leave()
    }
  }

  async #load(begin: SessionBegin): Promise<Session> {
    await this.#loads.enter()
    try {
      return await loadSession(this.#repository, begin)
    } finally {
      this.#loads.leave()
    }
  }

  /** Keeps memory to its limit: what was used longest ago goes first, and what is used now stays. */
  #makeRoom(now: Session): void {
    let extents = this.extentsInMemory
    if (extents <= this.#extentsMax) return
    for (const session of [...this.#loaded.values()].sort((a, b) => a.lastUsedMs - b.lastUsedMs)) {
      if (session === now) continue
      extents -= session.extentsInMemory
      session.shed()
      if (extents <= this.#extentsMax) return
    }
  }

  /**
   * Writes down what a session became, before anybody is told: the point may be folded away before somebody asks again. Nobody waits until
   * what it was made of is removed.
   */
  async #record(begin: SessionBegin, result: PointResult): Promise<SessionDone> {
    const { environment, store } = this.#repository
    const committedAt = new Date(environment.now()).toISOString()
    const { session: id, owner } = begin
    const done = {
      everfold: 'committed session',
      format: 1,
      session: id,
      owner,
      committedAt,
      result,
    } as const
    const isFirst = (await store.put(sessionDoneKey(id), [encodeDone(done)])) === 'created'
    // One that a killed process left need not be durable.
    if (!isFirst) await store.settle(sessionPrefix(id))
    this.#doneSinceMs.set(id, this.#nowMs)
    this.#forget(id)
    const over = this.#begin()
    const cleared = isFirst ? removeSession(store, id, true) : this.#clearUp(id)
    cleared.finally(over).catch(() => {
      this.#isSomethingLeft = true
    })
    return done
  }

  /** Removes what a committed session was made of, where that was cut short. */
  async #clearUp(id: string): Promise<void> {
    const { store } = this.#repository
    if ((await readDone(store, id)) === undefined) return
    await store.settle(sessionPrefix(id))
    await removeSession(store, id, true)
  }

  /** Something is under way until the function is called. */
  #begin(): () => void {
    let over = (): void => undefined
    const work = new Promise<void>((resolve) => {
      over = () => {
        this.#work.delete(work)
        resolve()
      }
    })
    this.#work.add(work)
    return over
  }

  async #drop(id: string): Promise<void> {
    const session = this.#loaded.get(id)
    if (session !== undefined) {
      session.closed = 'gone'
      await session.settled()
    }
    try {
      await removeSession(this.#repository.store, id, true)
    } finally {
      this.#unload(id)
    }
    this.#open.delete(id)
  }

  #forget(id: string): void {
    this.#unload(id)
    this.#open.delete(id)
  }

  #unload(id: string): void {
    const session = this.#loaded.get(id)
    if (session === undefined) return
    session.closed = 'gone'
    session.pins.end()
    this.#loaded.delete(id)
  }

  get #nowMs(): number {
    return this.#repository.environment.monotonicMs()
  }

  #touch(session: Session): void {
    session.lastUsedMs = this.#nowMs
  }

  /** @throws TOO_MANY_REQUESTS */
  #checkPlaces(owner: string, { all, own }: { readonly all: number; readonly own: number }): void {
    const tooMany = (text: string): EverfoldError =>
      new EverfoldError('TOO_MANY_REQUESTS', `${text} sessions open already: commit or drop some, or wait.`)
    if (this.#open.size >= all) throw tooMany(`There are ${this.#open.size}`)
    let mine = 0
    for (const open of this.#open.values()) if (open.owner === owner) mine++
    if (mine >= own) throw tooMany(`This token has ${mine}`)
  }

  #refuseWhileParking(): void {
    if (this.#parking.signal.aborted) throw stopping()
  }

  #refuseClosed(session: Session): void {
    if (session.closed === 'gone') throw sessionGone(session.id)
    if (session.closed === 'committing') throw busy(session.id)
  }

  #useBase(session: Session, disk: ArrivedDisk): LoadedBase {
    disk.base ??= { disk: loadBaseOf(this.#repository, session.begin, disk.about), users: 0, idleSinceMs: 0 }
    const { base } = disk
    base.users++
    // One that could not be loaded is tried anew by the next request.
    base.disk.catch(() => {
      if (disk.base === base) disk.base = undefined
    })
    return base
  }

  #leaveBase(disk: ArrivedDisk, base: LoadedBase): void {
    if (--base.users > 0) return
    base.idleSinceMs = this.#repository.environment.monotonicMs()
    base.disk
      .then((loaded) => {
        if ((loaded?.extents ?? 0) > BASE_IDLE_EXTENTS_MAX && base.users === 0 && disk.base === base)
          disk.base = undefined
      })
      .catch(() => undefined)
  }
}

export function isOpen(session: Session | SessionDone): session is Session {
  return !('result' in session)
}

/** What had arrived is kept. */
export function stopping(): EverfoldError {
  return new EverfoldError('SERVICE_STOPPING', 'The service is being stopped: go on once it is back.')
}

function busy(id: string): EverfoldError {
  return new EverfoldError(
    'SESSION_BUSY',
    'A data request or a commit of this session is running: wait for its end, and try again.',
    { details: { session: id } },
  )
}
