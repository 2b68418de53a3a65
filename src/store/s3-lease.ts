/*
 * One process per repository in a bucket, as the kernel's lock sees to in a folder. Objects below `lock/`:
 *
 *   lock/<epoch>            a claim: who has the repository, written anew every HEARTBEAT_MS; epochs count up from 0
 *   lock/<epoch>.<random>   the same where the service does not honour `If-None-Match: *`
 *   <claim>.free            its holder is done
 *
 * The repository is taken with the epoch after the highest, once every claim below is free or stale. With `If-None-Match: *`
 * exactly one gets an epoch. Without, each first writes its claim and then looks at all: whoever finds another claim
 * that is not free gives way, so of two that start at once at most one goes on (as in Dekker's algorithm, it needs a service
 * that lists what was written; all of today's do).
 *
 * A claim is stale when it did not change for STALE_MS by the clock of whoever waits for it: no two clocks are ever compared. Its
 * holder lets no change begin later than FRESH_MS after a renewal began, and each request for one ends in time. It asks again
 * after each commit, before it acknowledges it. A holder on this machine whose process is gone need not be waited for.
 */

import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { EverfoldError } from '../errors.js'
import { KeyedMutex } from '../mutex.js'
import { md5Of } from './s3-body.js'
import { type ClaimBody, decodeClaim, encodeClaim, isDead, thisProcess } from './s3-claim.js'
import { sdkErrorOf } from './s3-errors.js'
import { type S3Store, WRITE_ID } from './s3-store.js'

export interface LeaseTimes {
  readonly heartbeatMs: number
  /** After a renewal began. */
  readonly freshMs: number
  /** More than freshMs and the time of a request for a change together. */
  readonly staleMs: number
  readonly pollMs: number
}

export const LEASE_TIMES: LeaseTimes = {
  heartbeatMs: 20_000,
  freshMs: 60_000,
  staleMs: 120_000,
  pollMs: 3000,
}

const PREFIX = 'lock/'
/** Claims that are left for whoever gets a listing that is not up to date; the first of all is kept for ever. */
const CLAIMS_KEPT = 100
const CLAIMS_MAX = 400

interface Claim {
  readonly epoch: number
  readonly key: string
  readonly tag: string
}

interface Claims {
  /** Highest epoch of any claim; -1 if there is none. */
  readonly highest: number
  /** Those of the highest epoch, free or not. */
  readonly newest: readonly Claim[]
  /** Of these, those that are not free. */
  readonly live: readonly Claim[]
  readonly keys: readonly string[]
}

/** A repository in a bucket that is this process's own. */
export class S3Lease {
  /** The claim before ours: whoever wrote it was the last to change anything. */
  readonly previousKey: string | undefined
  readonly key: string
  readonly epoch: number
  readonly #store: S3Store
  readonly #body: ClaimBody
  readonly #times: LeaseTimes
  readonly #renewing = new KeyedMutex()
  readonly #olderKeys: readonly string[]
  #timer: NodeJS.Timeout | undefined
  #beats = 0
  #renewed: Moment
  #lost: EverfoldError | undefined

  private constructor(
    store: S3Store,
    claims: Claims,
    key: string,
    body: ClaimBody,
    began: Moment,
    times: LeaseTimes,
  ) {
    this.#store = store
    this.key = key
    this.#body = body
    this.#times = times
    this.#renewed = began
    this.#olderKeys = claims.keys
    const [last, other] = claims.newest
    this.previousKey = other === undefined ? last?.key : undefined
    this.epoch = claims.highest + 1
  }

  /**
   * Takes the repository.
   * @param command  what this process does, shown to others
   * @throws REPOSITORY_LOCKED with the holder; STORE_FAILED and what else the store throws
   */
  static async acquire(store: S3Store, command: string, times: LeaseTimes = LEASE_TIMES): Promise<S3Lease> {
    const body = await thisProcess(command)
    const claims = await waitForOthers(store, times)
    const epoch = claims.highest + 1
    const key = keyOf(epoch) + (store.conditionalPut ? '' : `.${randomBytes(8).toString('hex')}`)
    const began = thisMoment()
    if (!(await writeClaim(store, key, body, store.conditionalPut))) throw await lockedBy(store, key)
    if (!store.conditionalPut) await giveWay(store, key, times)
    if (claims.live.length > 0) await checkStillStale(store, key, claims)
    const lease = new S3Lease(store, claims, key, body, began, times)
    lease.#start()
    return lease
  }

  /** Lets go. What cannot be told to the bucket is seen by others when the claim is stale. */
  async release(): Promise<void> {
    clearInterval(this.#timer)
    this.#store.requests.guard = undefined
    if (this.#lost !== undefined) return
    this.#lost = lostError(this.#store.location)
    await putRaw(this.#store, `${this.key}.free`, Buffer.from('{}'), false)
    await this.#tidy()
  }

  #start(): void {
    this.#timer = setInterval(() => {
      // Whoever wants to change something asks again, and is told.
      this.#renew().catch(() => undefined)
    }, this.#times.heartbeatMs)
    this.#timer.unref()
    this.#store.requests.guard = () => this.#check()
  }

  /** @throws LOCK_LOST, or why the bucket cannot be asked */
  async #check(): Promise<void> {
    if (this.#lost !== undefined) throw this.#lost
    if (elapsedMs(this.#renewed) < this.#times.freshMs) return
    await this.#renew()
  }

  async #renew(): Promise<void> {
    await this.#renewing.run('', async () => {
      if (this.#lost !== undefined) throw this.#lost
      // Another may have renewed it while we waited.
      if (this.#beats > 0 && elapsedMs(this.#renewed) < this.#times.heartbeatMs / 2) return
      const began = thisMoment()
      await writeClaim(this.#store, this.key, { ...this.#body, beat: ++this.#beats }, false)
      const { highest } = await readClaims(this.#store, keyOf(this.epoch))
      if (highest > this.epoch) {
        clearInterval(this.#timer)
        this.#lost = lostError(this.#store.location)
        throw this.#lost
      }
      this.#renewed = began
    })
  }

  /** Old claims go, many at a time and seldom. */
  async #tidy(): Promise<void> {
    if (this.#olderKeys.length < CLAIMS_MAX) return
    const { client, sdk } = this.#store.connection
    const old = this.#olderKeys.filter((key) => {
      const epoch = parseKey(key)?.epoch ?? 0
      return epoch > 0 && epoch < this.epoch - CLAIMS_KEPT
    })
    for (let i = 0; i < old.length; i += 1000) {
      const Objects = old.slice(i, i + 1000).map((key) => ({ Key: this.#store.named(key).Key }))
      await this.#store.requests
        .run({
          kind: 'delete',
          what: 'remove old claims',
          unguarded: true,
          send: (abortSignal) =>
            client.send(
              new sdk.DeleteObjectsCommand({
                Bucket: this.#store.place.bucket,
                Delete: { Objects, Quiet: true },
              }),
              { abortSignal },
            ),
        })
        // Some services know no such request, and nothing depends on it.
        .catch(() => undefined)
    }
  }
}

/** Waits until nobody holds the repository, as long as it takes to see whether its holder lives. */
async function waitForOthers(store: S3Store, times: LeaseTimes): Promise<Claims> {
  const seen = new Map<string, { readonly tag: string; readonly since: Moment }>()
  for (;;) {
    const claims = await readClaims(store)
    const alive: Claim[] = []
    for (const claim of claims.live) {
      const before = seen.get(claim.key)
      if (before === undefined) {
        const body = await readClaim(store, claim.key)
        if (body === 'gone' || (body !== undefined && (await isDead(body)))) continue
        seen.set(claim.key, { tag: claim.tag, since: thisMoment() })
      } else if (before.tag !== claim.tag) throw await lockedBy(store, claim.key)
      else if (elapsedMs(before.since) >= times.staleMs) continue
      alive.push(claim)
    }
    if (alive.length === 0) return claims
    await sleep(times.pollMs)
  }
}

/** Where two may write a claim at once: whoever sees the other's gives way, the later one for good. */
async function giveWay(store: S3Store, key: string, times: LeaseTimes): Promise<void> {
  for (let tries = 0; ; tries++) {
    const { newest, live } = await readClaims(store)
    const others = newest.filter((claim) => claim.key !== key)
    if (others.length === 0) return
    const isFirst = others.every((other) => other.key > key && live.includes(other))
    if (!isFirst || tries >= 5) await retreat(store, key, others[0]?.key ?? key)
    await sleep(times.pollMs)
  }
}

/** A holder that was silent for long may have come back before it could see our claim: then it stays the holder. */
async function checkStillStale(store: S3Store, key: string, before: Claims): Promise<void> {
  const tags = new Map<string, string>()
  for await (const { key: other, tag } of store.listTagged(PREFIX)) tags.set(other, tag ?? '')
  for (const claim of before.live) if (tags.get(claim.key) !== claim.tag) await retreat(store, key, claim.key)
}

async function retreat(store: S3Store, key: string, holder: string): Promise<never> {
  const error = await lockedBy(store, holder)
  await store.removeRaw(key)
  throw error
}

async function readClaims(store: S3Store, after?: string): Promise<Claims> {
  const keys: string[] = []
  const claims: Claim[] = []
  const free = new Set<string>()
  for await (const { key, tag } of store.listTagged(PREFIX, after)) {
    const parsed = parseKey(key)
    if (parsed === undefined) continue
    keys.push(key)
    if (parsed.isFree) free.add(key.slice(0, -'.free'.length))
    else claims.push({ epoch: parsed.epoch, key, tag: tag ?? '' })
  }
  const highest = claims.reduce((max, { epoch }) => Math.max(max, epoch), -1)
  // Below the highest all are done: who took that one has seen to it.
  const newest = claims.filter(({ epoch }) => epoch === highest)
  return { highest, newest, live: newest.filter(({ key }) => !free.has(key)), keys }
}

async function readClaim(store: S3Store, key: string): Promise<ClaimBody | undefined | 'gone'> {
  const { client, sdk } = store.connection
  return store.requests.run({
    kind: 'get',
    what: `read ${key}`,
    send: async (abortSignal) => {
      try {
        const { Body: body } = await client.send(new sdk.GetObjectCommand(store.named(key)), { abortSignal })
        return decodeClaim((await body?.transformToString()) ?? '')
      } catch (error) {
        if (sdkErrorOf(error).name === 'NoSuchKey') return 'gone'
        throw error
      }
    },
  })
}

/** @returns false if the key was taken */
async function writeClaim(
  store: S3Store,
  key: string,
  body: ClaimBody,
  isConditional: boolean,
): Promise<boolean> {
  return putRaw(store, key, encodeClaim(body), isConditional)
}

async function putRaw(
  store: S3Store,
  key: string,
  body: Uint8Array,
  isConditional: boolean,
): Promise<boolean> {
  const { client, sdk } = store.connection
  const id = randomBytes(16).toString('hex')
  const answer = await store.requests.run({
    kind: 'put',
    what: `write ${key}`,
    unguarded: true,
    send: async (abortSignal, earlier) => {
      try {
        await client.send(
          new sdk.PutObjectCommand({
            ...store.named(key),
            Body: body,
            ContentLength: body.length,
            ContentMD5: md5Of(body),
            Metadata: { [WRITE_ID]: id },
            ...(isConditional && { IfNoneMatch: '*' }),
          }),
          { abortSignal },
        )
        return 'written'
      } catch (error) {
        if (sdkErrorOf(error).status !== 412) throw error
        return earlier.length > 0 ? 'ours?' : 'taken'
      }
    },
  })
  return answer === 'written' || (answer === 'ours?' && (await store.isWrittenBy(key, id)) === true)
}

async function lockedBy(store: S3Store, key: string): Promise<EverfoldError> {
  const found = await readClaim(store, key)
  const body = found === 'gone' ? undefined : found
  const who =
    body === undefined
      ? 'by another process'
      : `by process ${body.pid} on ${body.host} (${body.command}) since ${body.since}`
  return new EverfoldError(
    'REPOSITORY_LOCKED',
    `The repository ${store.location} is in use ${who}. Wait until it is done, or stop it; nothing needs to be removed by hand.`,
    {
      details: {
        location: store.location,
        ...(body && { holder: { pid: body.pid, host: body.host, command: body.command, since: body.since } }),
      },
    },
  )
}

function lostError(location: string): EverfoldError {
  return new EverfoldError(
    'LOCK_LOST',
    `The repository ${location} was taken over by another process, since nothing was heard of this one for minutes. What was committed is safe; start again.`,
    { details: { location } },
  )
}

function keyOf(epoch: number): string {
  return PREFIX + String(epoch).padStart(12, '0')
}

function parseKey(key: string): { readonly epoch: number; readonly isFree: boolean } | undefined {
  const [, digits, free] = /^lock\/(\d{12})(?:\.[0-9a-f]{16})?(\.free)?$/u.exec(key) ?? []
  return digits === undefined ? undefined : { epoch: Number(digits), isFree: free !== undefined }
}

/** Two clocks: the steady one stops while a machine sleeps, the other may be set. */
interface Moment {
  readonly steadyMs: number
  readonly wallMs: number
}

function thisMoment(): Moment {
  return { steadyMs: performance.now(), wallMs: Date.now() }
}

function elapsedMs(since: Moment): number {
  return Math.max(performance.now() - since.steadyMs, Date.now() - since.wallMs)
}
