/*
 * Brings a repository in a bucket that keeps versions back to what it was at a time, whatever was removed, written over or added
 * since. Nothing of what anybody wrote is removed for good: marks of removals go, what was written over is copied on top,
 * and what came later gets a mark of removal. So it can be repeated with another time.
 */

import { EverfoldError } from '../errors.js'
import { inOrder } from '../in-order.js'
import { claimsPrefix } from './keys.js'
import { isLockedKind } from './object-lock.js'
import { REQUESTS_IN_FLIGHT_MAX } from './s3-settings.js'
import type { S3Store } from './s3-store.js'
import { type KeyHistory, type KeyVersion, listHistories, rightVersion } from './s3-versions.js'

export interface RecoverResult {
  /** Objects that had been removed, that had been written over, and that came later. */
  readonly brought: number
  readonly rewritten: number
  readonly hidden: number
  /** Objects that are as they should be. */
  readonly right: number
}

type Step =
  | { readonly kind: 'bring'; readonly key: string; readonly removals: readonly KeyVersion[] }
  | { readonly kind: 'rewrite'; readonly key: string; readonly version: KeyVersion }
  | { readonly kind: 'hide'; readonly key: string }
  | { readonly kind: 'right'; readonly key: string }

/**
 * @param toMs  milliseconds since 1970, by the service's clock
 * @param dryRun  only counts
 * @throws PERMISSION_MISSING, STORE_FAILED: what was done stays, and the next call goes on
 */
export async function recoverBucket(store: S3Store, toMs: number, dryRun: boolean): Promise<RecoverResult> {
  const counts = { bring: 0, rewrite: 0, hide: 0, right: 0 }
  const take = async (step: Step): Promise<Step> => {
    if (!dryRun) await carryOut(store, step)
    return step
  }
  for await (const { kind } of inOrder(stepsFor(store, toMs), REQUESTS_IN_FLIGHT_MAX, take)) counts[kind]++
  const { bring: brought, rewrite: rewritten, hide: hidden, right } = counts
  return { brought, rewritten, hidden, right }
}

async function* stepsFor(store: S3Store, toMs: number): AsyncGenerator<Step, void, undefined> {
  for await (const history of listHistories(store)) {
    // The business of whoever has the repository.
    if (history.key.startsWith(claimsPrefix)) continue
    const step = stepFor(history, toMs)
    if (step !== undefined) yield step
  }
}

/** @returns undefined for what was not there at the time, and is not there now */
export function stepFor({ key, versions }: KeyHistory, toMs: number): Step | undefined {
  const newest = versions.findIndex(({ modifiedMs }) => modifiedMs <= toMs)
  const past = newest < 0 ? [] : versions.slice(newest)
  const wasThere = past[0]?.isRemoval === false
  const isThere = versions[0]?.isRemoval === false
  if (!wasThere) return isThere ? { kind: 'hide', key } : undefined
  const version = rightVersion(past)
  if (version === undefined) return undefined
  const later = versions.slice(0, versions.indexOf(version))
  if (later.length === 0) return { kind: 'right', key }
  if (later.every(({ isRemoval }) => isRemoval)) return { kind: 'bring', key, removals: later }
  return { kind: 'rewrite', key, version }
}

async function carryOut(store: S3Store, step: Step): Promise<void> {
  const { client, sdk } = store.connection
  const { key } = step
  if (step.kind === 'hide') await store.removeRaw(key)
  if (step.kind === 'bring')
    for (const { id } of step.removals)
      await store.requests.run({
        kind: 'delete',
        what: `bring back ${key} (which takes s3:DeleteObjectVersion)`,
        send: (abortSignal) =>
          client.send(new sdk.DeleteObjectCommand({ ...store.named(key), VersionId: id }), { abortSignal }),
      })
  if (step.kind === 'rewrite') await copyOnTop(store, key, step.version)
}

/** Large enough for every pack: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html */
async function copyOnTop(store: S3Store, key: string, version: KeyVersion): Promise<void> {
  const { client, sdk } = store.connection
  const { Bucket, Key } = store.named(key)
  const source = [Bucket, ...Key.split('/')].map(encodeURIComponent).join('/')
  const terms = isLockedKind(key) ? store.lockTerms : undefined
  await store.requests.run({
    kind: 'put',
    what: `bring back ${key} (which takes s3:GetObjectVersion)`,
    bytes: version.sizeBytes,
    send: (abortSignal) =>
      client.send(
        new sdk.CopyObjectCommand({
          Bucket,
          Key,
          CopySource: `${source}?versionId=${encodeURIComponent(version.id)}`,
          ...(terms && { ObjectLockMode: 'COMPLIANCE', ObjectLockRetainUntilDate: terms.until(Date.now()) }),
        }),
        { abortSignal },
      ),
  })
}

/** What an object held at a time; undefined if it was not there. @throws PERMISSION_MISSING, STORE_FAILED */
export async function readAsOf(store: S3Store, key: string, toMs: number): Promise<Uint8Array | undefined> {
  const { client, sdk } = store.connection
  for await (const history of listHistories(store, key)) {
    if (history.key !== key) continue
    const past = history.versions.filter(({ modifiedMs }) => modifiedMs <= toMs)
    const version = past[0]?.isRemoval === false ? rightVersion(past) : undefined
    if (version === undefined) return undefined
    return store.requests.run({
      kind: 'get',
      what: `read ${key} as it was (which takes s3:GetObjectVersion)`,
      send: async (abortSignal) => {
        const named = { ...store.named(key), VersionId: version.id }
        const { Body } = await client.send(new sdk.GetObjectCommand(named), { abortSignal })
        return Body?.transformToByteArray()
      },
    })
  }
  return undefined
}

/** What happened in an hour to objects that were not below `lock/`. */
export interface HourOfHistory {
  /** ISO 8601. */
  readonly hour: string
  readonly added: number
  readonly removed: number
  /** Never by Everfold. */
  readonly overwritten: number
}

const HOUR_MS = 3600_000

/** For whoever looks for the time when something began: hours in which anything changed, oldest first. @throws PERMISSION_MISSING, STORE_FAILED */
export async function historyOf(store: S3Store): Promise<HourOfHistory[]> {
  const hours = new Map<number, { added: number; removed: number; overwritten: number }>()
  for await (const { key, versions } of listHistories(store)) {
    if (key.startsWith(claimsPrefix)) continue
    for (const [i, { modifiedMs, isRemoval }] of versions.entries()) {
      const hour = Math.floor(modifiedMs / HOUR_MS)
      const counts = hours.get(hour) ?? { added: 0, removed: 0, overwritten: 0 }
      hours.set(hour, counts)
      const before = versions[i + 1]
      if (isRemoval) counts.removed++
      else if (before?.isRemoval === false) counts.overwritten++
      else counts.added++
    }
  }
  return [...hours]
    .sort(([a], [b]) => a - b)
    .map(([hour, counts]) => ({ hour: new Date(hour * HOUR_MS).toISOString(), ...counts }))
}

/** @throws ARGUMENT_INVALID if the bucket does not keep what it had */
export async function requireVersions(store: S3Store): Promise<void> {
  const { client, sdk } = store.connection
  const { bucket } = store.place
  const { Status } = await store.requests.run({
    kind: 'other',
    what: 'ask for versioning (which takes s3:GetBucketVersioning)',
    send: (abortSignal) =>
      client.send(new sdk.GetBucketVersioningCommand({ Bucket: bucket }), { abortSignal }),
  })
  if (Status !== undefined) return
  throw new EverfoldError(
    'ARGUMENT_INVALID',
    `The bucket ${bucket} keeps no versions, so there is nothing to bring back: put objects back from a copy.`,
  )
}
