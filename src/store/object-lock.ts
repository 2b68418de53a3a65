/*
 * Object Lock: what the bucket's service lets nobody overwrite or remove for good until a day, whatever credentials they have.
 *
 * Time is cut into periods of P days. What is written or extended in a period is locked until the end of the one after it, and D days more.
 * So when what is there is extended once in each period, everything is locked for D days at least at any time, and one
 * request for each object and period is enough. It is kept up to D + 2 P days after it was last needed.
 */

import type { StoredObject } from './store.js'

export const LOCK_DAYS_MAX = 3650

const DAY_MS = 24 * 3600_000
const PERIOD_DAYS_MAX = 10

/** What a number of days means. */
export interface LockTerms {
  readonly days: number
  /** The period that a time (milliseconds since 1970) is in. */
  period(nowMs: number): number
  /** When a period begins. Milliseconds since 1970. */
  beginOf(period: number): number
  /** Until when something is locked that is written or extended now. */
  until(nowMs: number): Date
  /** Is what was removed at that time locked by us no more? */
  isOver(removedMs: number, nowMs: number): boolean
}

export function lockTerms(days: number): LockTerms {
  const periodMs = Math.max(1, Math.min(PERIOD_DAYS_MAX, Math.ceil(days / 3))) * DAY_MS
  const period = (nowMs: number): number => Math.floor(nowMs / periodMs)
  const until = (nowMs: number): Date => new Date((period(nowMs) + 2) * periodMs + days * DAY_MS)
  const beginOf = (number: number): number => number * periodMs
  return { days, period, beginOf, until, isOver: (removedMs, nowMs) => nowMs > until(removedMs).getTime() }
}

/**
 * Is it needed to restore points? The rest is who is at work, what is under way, and what can be found out or made again: that
 * changes too often.
 */
export function isLockedKind(key: string): boolean {
  return /^(?:everfold\.json$|(?:packs|bundles|runs|chains|machines|settings)\/)/u.test(key)
}

/** How far the locks of what is there are extended, as this machine knows. */
export interface LockState {
  readonly period: number
  /** ISO 8601: everything that is there is locked until then at least, once it is done. */
  readonly until: string
  readonly extendedAt: string
  readonly isDone: boolean
  /** The last key that was extended. */
  readonly after: string
  readonly objects: number
}

/** A removed object of which the service still keeps what it was. */
export interface RemovedObject extends StoredObject {
  /** What the service calls what was there, and the marks of its removal. */
  readonly versions: readonly string[]
  readonly removals: readonly string[]
}

export interface RemovedForGood {
  readonly objects: number
  readonly bytes: number
  /** That the service did not let go of: locked for longer than we knew. */
  readonly refused: number
}

/** What a repository in a bucket with Object Lock can do that others need not. */
export interface ObjectLocks {
  readonly days: number
  readonly state: LockState | undefined
  /**
   * Extends the locks of everything that is there and was not written in this period, unless that was done.
   * @returns how many were extended; undefined if there was nothing to do
   * @throws PERMISSION_MISSING, STORE_FAILED, CANCELLED: what was extended stays, and the next call goes on from there
   */
  extendIfDue(signal?: AbortSignal): Promise<number | undefined>
  /** What was removed so long ago that its lock is over; and bytes of what waits for that. */
  removed(): Promise<{ readonly due: readonly RemovedObject[]; readonly waitingBytes: number }>
  /** Removes for good. */
  removeForGood(objects: readonly RemovedObject[]): Promise<RemovedForGood>
}
