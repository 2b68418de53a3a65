/*
 * The claims on a repository in a bucket, as objects:
 *
 *   lock/<epoch>                a claim: who has the repository; epochs count up from 0
 *   lock/<epoch>.<nonce>        the same where the service does not honour `If-None-Match: *`
 *   lock/<epoch>.<nonce>.free   its holder is done
 *
 * What they are for, and how they are used, stands in s3-lease.ts.
 */

import { randomBytes } from 'node:crypto'
import { EverfoldError } from '../errors.js'
import { claimsPrefix } from './keys.js'
import { md5Of } from './s3-body.js'
import { type ClaimBody, decodeClaim } from './s3-claim.js'
import { hadNoEffect, sdkErrorOf } from './s3-errors.js'
import { type S3Store, WRITE_ID } from './s3-store.js'

export interface Claim {
  readonly epoch: number
  readonly key: string
  /** What the service calls its content: changes when it is written anew. */
  readonly tag: string
}

export interface Claims {
  /** Highest epoch of any claim; -1 if there is none. */
  readonly highest: number
  /** Those of the highest epoch, free or not. */
  readonly newest: readonly Claim[]
  /** Of these, those that are not free. */
  readonly live: readonly Claim[]
  /** Names of those of the highest epoch whose holders are done. */
  readonly done: readonly string[]
  readonly keys: readonly string[]
}

export function claimKey(epoch: number, nonce?: string): string {
  return claimsPrefix + String(epoch).padStart(12, '0') + (nonce === undefined ? '' : `.${nonce}`)
}

/** Of a claim, for good: another one of the same epoch, in a copy of the bucket, has another name. */
export function claimName(epoch: number, nonce: string): string {
  return claimKey(epoch, nonce)
}

export function freeKey(epoch: number, nonce: string): string {
  return `${claimName(epoch, nonce)}.free`
}

/** One listing; below the highest epoch all are done: who took that one has seen to it. @param after  only keys after this one */
export async function readClaims(store: S3Store, after?: string): Promise<Claims> {
  const keys: string[] = []
  const claims: (Claim & { readonly nonce: string | undefined })[] = []
  const free: { readonly epoch: number; readonly nonce: string | undefined }[] = []
  for await (const { key, tag } of store.listTagged(claimsPrefix, after)) {
    const parsed = parseClaimKey(key)
    if (parsed === undefined) continue
    keys.push(key)
    if (parsed.isFree) free.push(parsed)
    else claims.push({ epoch: parsed.epoch, nonce: parsed.nonce, key, tag: tag ?? '' })
  }
  const highest = claims.reduce((max, { epoch }) => Math.max(max, epoch), -1)
  const newest = claims.filter(({ epoch }) => epoch === highest)
  const done = free.filter(({ epoch }) => epoch === highest)
  // Where it has no nonce in its key, it is the only one of its epoch.
  const live = newest.filter(
    ({ nonce }) => !done.some((other) => nonce === undefined || other.nonce === nonce),
  )
  return {
    highest,
    newest,
    live,
    done: done.flatMap(({ epoch, nonce }) => (nonce === undefined ? [] : [claimName(epoch, nonce)])),
    keys,
  }
}

/** @returns undefined for one that is not to be understood */
export async function readClaim(store: S3Store, key: string): Promise<ClaimBody | undefined | 'gone'> {
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
export async function writeClaim(
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
        return earlier.some((failure) => !hadNoEffect(failure)) ? 'ours?' : 'taken'
      }
    },
  })
  return answer === 'written' || (answer === 'ours?' && (await store.isWrittenBy(key, id)) === true)
}

/** Removes many. What fails is left for the next time: nothing depends on it, and some services know no such request. */
export async function removeClaims(store: S3Store, keys: readonly string[]): Promise<void> {
  const { client, sdk } = store.connection
  for (let i = 0; i < keys.length; i += 1000) {
    const Objects = keys.slice(i, i + 1000).map((key) => ({ Key: store.named(key).Key }))
    const command = { Bucket: store.place.bucket, Delete: { Objects, Quiet: true } }
    await store.requests
      .run({
        kind: 'delete',
        what: 'remove old claims',
        unguarded: true,
        send: (abortSignal) => client.send(new sdk.DeleteObjectsCommand(command), { abortSignal }),
      })
      .catch(() => undefined)
  }
}

/** The error for whoever finds this claim in the way. */
export async function lockedBy(store: S3Store, key: string): Promise<EverfoldError> {
  const found = await readClaim(store, key)
  const body = found === 'gone' ? undefined : found
  const who =
    body === undefined
      ? 'by another process'
      : `by process ${body.pid} on ${body.host} (${body.command}) since ${body.since}`
  const holder = body && { pid: body.pid, host: body.host, command: body.command, since: body.since }
  return new EverfoldError(
    'REPOSITORY_LOCKED',
    `The repository ${store.location} is in use ${who}. Wait until it is done, or stop it; nothing needs to be removed by hand.`,
    { details: { location: store.location, ...(holder && { holder }) } },
  )
}

export function parseClaimKey(
  key: string,
): { readonly epoch: number; readonly nonce: string | undefined; readonly isFree: boolean } | undefined {
  const [, digits, nonce, free] = /^lock\/(\d{12})(?:\.([0-9a-f]{16}))?(\.free)?$/u.exec(key) ?? []
  return digits === undefined ? undefined : { epoch: Number(digits), nonce, isFree: free !== undefined }
}
