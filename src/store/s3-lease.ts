/*
 * One process per repository in a bucket, as the kernel's lock sees to in a folder. Claims lie below `lock/`, see s3-claims.ts.
 *
 * The repository is taken with the epoch after the highest, once every claim below is free or stale. With `If-None-Match: *`
 * exactly one gets an epoch. Without, each first writes its claim and then looks at all: whoever finds another claim
 * that is not free gives way, so of two that start at once at most one goes on (as in Dekker's algorithm, it needs a service
 * that lists what was written; all of today's do).
 *
 * A claim is stale when it did not change for STALE_MS by the clock of whoever waits for it: no two clocks are ever compared. Its
 * holder lets no change begin later than FRESH_MS after a renewal began, and each request for one ends in time. It asks again
 * after each commit, before it acknowledges it. A holder on this machine is asked for
 * at the kernel: it need not be waited for.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { EverfoldError, isEverfoldError } from '../errors.js'
import { KeyedMutex } from '../mutex.js'
import { claimsPrefix } from './keys.js'
import { type ClaimBody, encodeClaim, stateOf, thisProcess } from './s3-claim.js'
import {
  type Claim,
  type Claims,
  claimKey,
  claimName,
  freeKey,
  lockedBy,
  parseClaimKey,
  readClaim,
  readClaims,
  removeClaims,
  writeClaim,
} from './s3-claims.js'
import type { S3Store } from './s3-store.js'

export interface LeaseTimes {
  readonly heartbeatMs: number
  /** After a renewal began. */
  readonly freshMs: number
  /** More than freshMs and the time of a request for a change (CHANGE_MS_MAX in s3-settings.ts) together. */
  readonly staleMs: number
  readonly pollMs: number
}

export const LEASE_TIMES: LeaseTimes = {
  heartbeatMs: 20_000,
  freshMs: 60_000,
  staleMs: 120_000,
  pollMs: 3000,
}

/** Claims that are left for whoever gets a listing that is not up to date; the first of all is kept for ever. */
const CLAIMS_KEPT = 100
const CLAIMS_MAX = 400
/** Of so many beats, one is sent while nothing is changed. */
const IDLE_BEATS = 2
/** How often the first of two that wait for each other looks again. */
const GIVE_WAY_TRIES = 5

/** A repository in a bucket that is this process's own. */
export class S3Lease {
  /** The claim before ours: whoever wrote it was the last to change anything. Undefined if that is not certain. */
  readonly previous: string | undefined
  /** Of our claim: see claimName(). */
  readonly name: string
  readonly #key: string
  readonly #epoch: number
  readonly #store: S3Store
  readonly #body: ClaimBody
  readonly #times: LeaseTimes
  readonly #renewing = new KeyedMutex()
  readonly #olderKeys: readonly string[]
  #timer: NodeJS.Timeout | undefined
  #beats = 0
  #idleBeats = 0
  /** Since the last beat: did anybody want to change anything? */
  #wasAsked = true
  #renewed: Moment
  #hasRenewed = false
  #lost: EverfoldError | undefined

  private constructor(
    store: S3Store,
    ours: { readonly epoch: number; readonly key: string; readonly body: ClaimBody; readonly began: Moment },
    others: { readonly keys: readonly string[]; readonly previous: string | undefined },
    times: LeaseTimes,
  ) {
    this.#store = store
    this.#key = ours.key
    this.#epoch = ours.epoch
    this.#body = ours.body
    this.#renewed = ours.began
    this.#times = times
    this.#olderKeys = others.keys
    this.name = claimName(ours.epoch, ours.body.nonce)
    this.previous = others.previous
  }

  /**
   * Takes the repository.
   * @param command  what this process does, shown to others
   * @throws REPOSITORY_LOCKED with the holder; STORE_FAILED and what else the store throws
   */
  static async acquire(store: S3Store, command: string, times: LeaseTimes = LEASE_TIMES): Promise<S3Lease> {
    const body = await thisProcess(command)
    const { claims, previous } = await waitForOthers(store, times)
    const epoch = claims.highest + 1
    const key = store.conditionalPut ? claimKey(epoch) : claimKey(epoch, body.nonce)
    const began = thisMoment()
    if (!(await writeClaim(store, key, encodeClaim(body), store.conditionalPut)))
      throw await lockedBy(store, key)
    if (!store.conditionalPut) await giveWay(store, key, times)
    if (claims.live.length > 0) await checkStillStale(store, key, claims)
    const lease = new S3Lease(store, { epoch, key, body, began }, { keys: claims.keys, previous }, times)
    lease.#start()
    return lease
  }

  /** Lets go. What cannot be told to the bucket is seen by others when the claim is stale. */
  async release(): Promise<void> {
    clearInterval(this.#timer)
    this.#store.requests.guard = undefined
    if (this.#lost !== undefined) return
    this.#lost = lostError(this.#store.location)
    this.#store.requests.beBrief()
    try {
      await writeClaim(this.#store, freeKey(this.#epoch, this.#body.nonce), Buffer.from('{}'), false)
      await this.#tidy()
    } catch (error) {
      if (!isEverfoldError(error)) throw error
    }
  }

  #start(): void {
    this.#timer = setInterval(() => {
      // Whoever wants to change something asks again, and is told.
      this.#beat().catch(() => undefined)
    }, this.#times.heartbeatMs)
    this.#timer.unref()
    this.#store.requests.guard = { isFresh: () => this.#isFresh(), check: () => this.#check() }
  }

  /** While nothing is changed, it is enough that others see that we live: seldom, and without looking for them. */
  async #beat(): Promise<void> {
    const isIdle = !this.#wasAsked
    this.#wasAsked = false
    if (!isIdle) {
      this.#idleBeats = 0
      await this.#renew()
    } else if (++this.#idleBeats % IDLE_BEATS === 0)
      await this.#renewing.run('', async () => {
        if (this.#lost === undefined) await this.#write()
      })
  }

  #isFresh(): boolean {
    this.#wasAsked = true
    return this.#lost === undefined && elapsedMs(this.#renewed) < this.#times.freshMs
  }

  /** @throws LOCK_LOST, or why the bucket cannot be asked */
  async #check(): Promise<void> {
    if (!this.#isFresh()) await this.#renew()
  }

  async #renew(): Promise<void> {
    await this.#renewing.run('', async () => {
      if (this.#lost !== undefined) throw this.#lost
      // Another may have renewed it while we waited.
      if (this.#hasRenewed && elapsedMs(this.#renewed) < this.#times.heartbeatMs / 2) return
      const began = thisMoment()
      await this.#write()
      const { highest } = await readClaims(this.#store, claimKey(this.#epoch))
      if (highest > this.#epoch) {
        clearInterval(this.#timer)
        this.#lost = lostError(this.#store.location)
        throw this.#lost
      }
      this.#renewed = began
      this.#hasRenewed = true
    })
  }

  async #write(): Promise<void> {
    await writeClaim(this.#store, this.#key, encodeClaim({ ...this.#body, beat: ++this.#beats }), false)
  }

  /** Old claims go, many at a time and seldom. */
  async #tidy(): Promise<void> {
    if (this.#olderKeys.length < CLAIMS_MAX) return
    const old = this.#olderKeys.filter((key) => {
      const epoch = parseClaimKey(key)?.epoch ?? 0
      return epoch > 0 && epoch < this.#epoch - CLAIMS_KEPT
    })
    await removeClaims(this.#store, old)
  }
}

interface Waited {
  readonly claims: Claims
  readonly previous: string | undefined
}

/** Waits until nobody holds the repository, as long as it takes to see whether its holder lives. */
async function waitForOthers(store: S3Store, times: LeaseTimes): Promise<Waited> {
  const seen = new Map<string, { readonly tag: string; readonly since: Moment }>()
  const dead = new Set<string>()
  for (;;) {
    const claims = await readClaims(store)
    const alive: Claim[] = []
    for (const claim of claims.live) {
      const before = seen.get(claim.key)
      if (before === undefined) {
        const body = await readClaim(store, claim.key)
        if (body === 'gone') continue
        if (body !== undefined) {
          dead.add(claimName(claim.epoch, body.nonce))
          const state = await stateOf(body)
          if (state === 'dead') continue
          if (state === 'alive') throw await lockedBy(store, claim.key)
        }
        seen.set(claim.key, { tag: claim.tag, since: thisMoment() })
      } else if (before.tag !== claim.tag) throw await lockedBy(store, claim.key)
      else if (elapsedMs(before.since) >= times.staleMs) continue
      alive.push(claim)
    }
    if (alive.length === 0) {
      const names = new Set([...claims.done, ...dead])
      const [last] = names
      return { claims, previous: names.size === 1 && claims.newest.length === 1 ? last : undefined }
    }
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
    if (!isFirst || tries >= GIVE_WAY_TRIES) await retreat(store, key, others[0]?.key ?? key)
    await sleep(times.pollMs)
  }
}

/** A holder that was silent for long may have come back before it could see our claim: then it stays the holder. */
async function checkStillStale(store: S3Store, key: string, before: Claims): Promise<void> {
  const tags = new Map<string, string>()
  for await (const { key: other, tag } of store.listTagged(claimsPrefix)) tags.set(other, tag ?? '')
  for (const claim of before.live) if (tags.get(claim.key) !== claim.tag) await retreat(store, key, claim.key)
}

async function retreat(store: S3Store, key: string, holder: string): Promise<never> {
  const error = await lockedBy(store, holder)
  await store.removeRaw(key)
  throw error
}

function lostError(location: string): EverfoldError {
  return new EverfoldError(
    'LOCK_LOST',
    `The repository ${location} was taken over by another process, since nothing was heard of this one for minutes. What was committed is safe; start again.`,
    { details: { location } },
  )
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
