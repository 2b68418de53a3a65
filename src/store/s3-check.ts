import { randomBytes } from 'node:crypto'
import { EverfoldError, isEverfoldError } from '../errors.js'
import { isOwnKey, repositoryKey } from './keys.js'
import { md5Of } from './s3-body.js'
import { sdkErrorOf } from './s3-errors.js'
import type { S3Store } from './s3-store.js'

const PROBE = Buffer.from('Everfold looks what this service can do.\n')

/**
 * Does the service honour `If-None-Match: *`: takes it for a key that is free, and refuses it for one that is not? Removes what it
 * writes, so it also shows whether these credentials may write and remove.
 * @throws PERMISSION_MISSING, and what else keeps from writing
 */
export async function probeConditionalPut(store: S3Store): Promise<boolean> {
  for (;;) {
    const key = `lock/probe-${randomBytes(8).toString('hex')}`
    const first = await putConditionally(store, key)
    const second = await putConditionally(store, key)
    await store.removeRaw(key)
    // Else the answer to the first was lost, and its repetition refused: that says nothing.
    if (first !== 'exists') return first === 'taken' && second === 'exists'
  }
}

async function putConditionally(store: S3Store, key: string): Promise<'taken' | 'exists' | 'unknown'> {
  const { client, sdk } = store.connection
  const input = { ...store.named(key), Body: PROBE, ContentLength: PROBE.length, ContentMD5: md5Of(PROBE) }
  return store.requests.run({
    kind: 'put',
    what: 'write',
    unguarded: true,
    send: async (abortSignal) => {
      try {
        await client.send(new sdk.PutObjectCommand({ ...input, IfNoneMatch: '*' }), { abortSignal })
        return 'taken'
      } catch (error) {
        const { status } = sdkErrorOf(error)
        if (status === 412) return 'exists'
        // Such as OpenStack Swift, which knows no conditions on writes.
        if (status === 501 || status === 400) return 'unknown'
        throw error
      }
    },
  })
}

/**
 * Objects that we did not make do not become part of a repository: a typing error would mix it with somebody's data.
 * @throws ARGUMENT_INVALID; and what else keeps from listing
 */
export async function refuseForeignObjects(store: S3Store): Promise<void> {
  const foreign: string[] = []
  let seen = 0
  for await (const { key } of store.listTagged('')) {
    if (key === repositoryKey) return
    if (!isOwnKey(key)) foreign.push(key)
    // What is ours, without the file that says so, is left from a repository; a few pages show what is there.
    if (++seen >= 3000 || foreign.length > 3) break
  }
  if (foreign.length === 0) return
  const shown = foreign.slice(0, 3).join(', ')
  throw new EverfoldError(
    'ARGUMENT_INVALID',
    `${store.location} is not empty (it has ${shown}${foreign.length > 3 ? ', …' : ''}). Name an empty bucket, or a prefix of its own: s3://BUCKET/PREFIX.`,
    { details: { location: store.location } },
  )
}

/**
 * What the bucket does on its own account that a repository should not meet unawares. Asks what these credentials may ask, and
 * is silent about the rest.
 */
export async function bucketWarnings(store: S3Store): Promise<string[]> {
  const versions = store.lockTerms === undefined ? versioningWarning : defaultRetentionWarning
  return [...(await versions(store)), ...(await lifecycleWarnings(store))]
}

async function versioningWarning(store: S3Store): Promise<string[]> {
  const { client, sdk } = store.connection
  const versioning = await ask(store, 'ask for versioning', (abortSignal) =>
    client.send(new sdk.GetBucketVersioningCommand({ Bucket: store.place.bucket }), { abortSignal }),
  )
  if (versioning?.Status !== 'Enabled') return []
  return [
    `The bucket ${store.place.bucket} keeps versions: what garbage collection removes goes on taking space (and money) until a lifecycle rule expires noncurrent versions. Add one, unless you want them for --object-lock; see docs/s3.md.`,
  ]
}

/** It would lock claims, too, which are written anew all the time. */
async function defaultRetentionWarning(store: S3Store): Promise<string[]> {
  const { client, sdk } = store.connection
  const { bucket } = store.place
  const found = await ask(store, 'ask for the Object Lock of the bucket', (abortSignal) =>
    client.send(new sdk.GetObjectLockConfigurationCommand({ Bucket: bucket }), { abortSignal }),
  )
  if (found?.ObjectLockConfiguration?.Rule?.DefaultRetention === undefined) return []
  return [
    `The bucket ${bucket} has a default retention, which also locks what need not be: several thousand tiny objects each day. Remove the default retention (but keep Object Lock): Everfold locks what has to be locked.`,
  ]
}

async function lifecycleWarnings(store: S3Store): Promise<string[]> {
  const { client, sdk } = store.connection
  const { bucket, prefix } = store.place
  const lifecycle = await ask(store, 'ask for lifecycle rules', (abortSignal) =>
    client.send(new sdk.GetBucketLifecycleConfigurationCommand({ Bucket: bucket }), { abortSignal }),
  )
  const warnings: string[] = []
  for (const rule of lifecycle?.Rules ?? []) {
    // The older of two places for the same thing, and services that only know that.
    const { Prefix: older } = rule as { Prefix?: string }
    const of = rule.Filter?.Prefix ?? rule.Filter?.And?.Prefix ?? older ?? ''
    if (rule.Status !== 'Enabled' || !(of.startsWith(prefix) || prefix.startsWith(of))) continue
    const name = rule.ID === undefined ? 'A lifecycle rule' : `The lifecycle rule "${rule.ID}"`
    if (rule.Expiration?.Days !== undefined || rule.Expiration?.Date !== undefined)
      warnings.push(
        `${name} of the bucket ${bucket} expires objects of this repository: that destroys recovery points. Remove the rule, or keep it off ${store.location}.`,
      )
    const archives = (rule.Transitions ?? []).flatMap(({ StorageClass }) => StorageClass ?? [])
    if (archives.some((name) => name === 'GLACIER' || name === 'DEEP_ARCHIVE'))
      warnings.push(
        `${name} of the bucket ${bucket} archives objects of this repository: they can be restored only after they were recalled, and nothing works without runs/ and chains/. Limit the rule to ${store.place.prefix}packs/.`,
      )
  }
  return warnings
}

/** Undefined where we may not ask, or the service does not know the question. */
async function ask<T>(
  store: S3Store,
  what: string,
  send: (signal: AbortSignal) => Promise<T>,
): Promise<T | undefined> {
  try {
    return await store.requests.run({ kind: 'other', what, send })
  } catch (error) {
    if (isEverfoldError(error)) return undefined
    throw error
  }
}
