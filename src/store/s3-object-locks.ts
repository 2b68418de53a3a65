import { stopIfCancelled } from '../cancellation.js'
import { EverfoldError } from '../errors.js'
import { inOrder } from '../in-order.js'
import { KeyedMutex } from '../mutex.js'
import { claimsPrefix } from './keys.js'
import {
  isLockedKind,
  type LockState,
  type LockTerms,
  type ObjectLocks,
  type RemovedForGood,
  type RemovedObject,
} from './object-lock.js'
import { extendLock } from './s3-retention.js'
import { REQUESTS_IN_FLIGHT_MAX } from './s3-settings.js'
import type { S3Store } from './s3-store.js'
import { type KeyHistory, type KeyVersion, listHistories, rightVersion } from './s3-versions.js'

/** Extended between two notes of how far it came. */
const NOTED_AFTER_OBJECTS = 1000
/** Versions that one request may name: https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html */
const REMOVED_AT_ONCE = 1000
/** How far the service's clock may be from ours, and more: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html (RequestTimeTooSkewed) */
const CLOCKS_APART_MS = 3600_000
/** What claims were before they were renewed is kept for so long. */
const CLAIMS_KEPT_MS = 3600_000
/** When so many are refused and none is not, it is not worth going on. */
const REFUSED_MAX = 100

interface LockedObject {
  readonly key: string
  /** Of the version that counts. */
  readonly id: string
}

/** The locks of a repository in a bucket that is this process's own. */
export class S3ObjectLocks implements ObjectLocks {
  readonly #store: S3Store
  readonly #terms: LockTerms
  readonly #note: (state: LockState) => Promise<void>
  readonly #now: () => number
  readonly #extending = new KeyedMutex()
  #state: LockState | undefined

  /**
   * @param state  what is known of earlier extensions
   * @param note  keeps what is known from now on
   */
  constructor(
    store: S3Store,
    terms: LockTerms,
    state: LockState | undefined,
    note: (state: LockState) => Promise<void>,
    now: () => number = Date.now,
  ) {
    this.#store = store
    this.#terms = terms
    this.#state = state
    this.#note = note
    this.#now = now
  }

  get days(): number {
    return this.#terms.days
  }

  get state(): LockState | undefined {
    return this.#state
  }

  extendIfDue(signal?: AbortSignal): Promise<number | undefined> {
    return this.#extending.run('', () => this.#extendIfDue(signal))
  }

  async #extendIfDue(signal: AbortSignal | undefined): Promise<number | undefined> {
    const now = this.#now()
    const period = this.#terms.period(now)
    const begun = this.#state?.period === period ? this.#state : undefined
    if (begun?.isDone === true) return undefined
    const until = this.#terms.until(now)
    const note = async (after: string, objects: number, isDone: boolean): Promise<void> => {
      const extendedAt = new Date(this.#now()).toISOString()
      this.#state = { period, until: until.toISOString(), extendedAt, isDone, after, objects }
      await this.#note(this.#state)
    }
    let after = begun?.after ?? ''
    let objects = begun?.objects ?? 0
    const before = objects
    const refused: string[] = []
    const found = listHistories(this.#store, '', after === '' ? undefined : after)
    const extend = async ({ key, id }: LockedObject): Promise<readonly [string, boolean]> => [
      key,
      await extendLock(this.#store, key, until, id),
    ]
    const older = olderThan(this.#terms.beginOf(period) + CLOCKS_APART_MS, found)
    for await (const [key, isLocked] of inOrder(older, REQUESTS_IN_FLIGHT_MAX, extend)) {
      after = key
      if (!isLocked && refused.push(key) >= REFUSED_MAX && refused.length > objects) break
      if (++objects % NOTED_AFTER_OBJECTS !== 0) continue
      if (refused.length === 0) await note(after, objects, false)
      stopIfCancelled(signal)
    }
    if (refused.length > 0) throw lockRefused(this.#store.location, refused)
    await note('', objects, true)
    return objects - before
  }

  async removed(): Promise<{ readonly due: readonly RemovedObject[]; readonly waitingBytes: number }> {
    const due: RemovedObject[] = []
    const now = this.#now()
    let waitingBytes = 0
    for await (const { key, versions } of listHistories(this.#store)) {
      const [newest, ...older] = versions
      if (newest === undefined) continue
      // Of claims, only the newest state of each counts.
      if (key.startsWith(claimsPrefix)) {
        const old = older.filter(({ modifiedMs }) => now - modifiedMs > CLAIMS_KEPT_MS)
        const isWhole = newest.isRemoval && old.length === older.length
        if (old.length > 0) due.push(removedObject(key, isWhole ? versions : old))
      } else if (!newest.isRemoval) continue
      else if (this.#terms.isOver(newest.modifiedMs, now)) due.push(removedObject(key, versions))
      else waitingBytes += older.reduce((sum, version) => sum + version.sizeBytes, 0)
    }
    return { due, waitingBytes }
  }

  async removeForGood(objects: readonly RemovedObject[]): Promise<RemovedForGood> {
    let done = 0
    let bytes = 0
    let refused = 0
    for (const batch of batchesOf(objects)) {
      const kept = await this.#removeVersions(batch, ({ versions }) => versions)
      const gone = batch.filter(({ key }) => !kept.has(key))
      // The marks of removal go last: without them, what is still locked would be there again.
      await this.#removeVersions(gone, ({ removals }) => removals)
      refused += kept.size
      done += gone.length
      bytes += gone.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
    }
    return { objects: done, bytes, refused }
  }

  /** @returns keys of which something stayed */
  async #removeVersions(
    objects: readonly RemovedObject[],
    which: (object: RemovedObject) => readonly string[],
  ): Promise<Set<string>> {
    const { client, sdk } = this.#store.connection
    const { bucket, prefix } = this.#store.place
    const Objects = objects.flatMap((object) =>
      which(object).map((VersionId) => ({ Key: prefix + object.key, VersionId })),
    )
    if (Objects.length === 0) return new Set()
    const answer = await this.#store.requests.run({
      kind: 'delete',
      what: 'remove old versions (which takes s3:DeleteObjectVersion)',
      send: (abortSignal) =>
        client.send(new sdk.DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects, Quiet: true } }), {
          abortSignal,
        }),
    })
    return new Set((answer.Errors ?? []).map(({ Key = '' }) => Key.slice(prefix.length)))
  }
}

/** Those that are there, have to be locked, and were written before a time. */
async function* olderThan(
  timeMs: number,
  histories: AsyncIterable<KeyHistory>,
): AsyncGenerator<LockedObject, void, undefined> {
  for await (const { key, versions } of histories) {
    if (!isLockedKind(key) || versions[0]?.isRemoval !== false) continue
    const right = rightVersion(versions)
    if (right !== undefined && right.modifiedMs < timeMs) yield { key, id: right.id }
  }
}

function* batchesOf(objects: readonly RemovedObject[]): Generator<readonly RemovedObject[]> {
  let batch: RemovedObject[] = []
  let versions = 0
  for (const object of objects) {
    if (versions + object.versions.length > REMOVED_AT_ONCE && batch.length > 0) {
      yield batch
      batch = []
      versions = 0
    }
    // One with more versions than a request takes is done when the last of them is gone.
    const [some, isSome] = [
      object.versions.slice(0, REMOVED_AT_ONCE),
      object.versions.length > REMOVED_AT_ONCE,
    ]
    batch.push(isSome ? { ...object, versions: some, removals: [] } : object)
    versions += some.length
  }
  if (batch.length > 0) yield batch
}

function removedObject(key: string, all: readonly KeyVersion[]): RemovedObject {
  const versions = all.filter(({ isRemoval }) => !isRemoval)
  const removals = all.filter(({ isRemoval }) => isRemoval)
  const sizeBytes = versions.reduce((sum, version) => sum + version.sizeBytes, 0)
  return { key, sizeBytes, versions: versions.map(({ id }) => id), removals: removals.map(({ id }) => id) }
}

function lockRefused(location: string, refused: readonly string[]): EverfoldError {
  const [first = ''] = refused
  return new EverfoldError(
    'PERMISSION_MISSING',
    `The service refuses to lock ${counted(refused.length)} of ${location}, such as ${first}. The credentials need s3:PutObjectRetention, and s3:GetObjectRetention; what somebody else put there and locked in another way has to go.`,
    { details: { location, objects: refused.slice(0, 10) } },
  )
}

function counted(objects: number): string {
  return objects === 1 ? 'an object' : `${objects} objects`
}
