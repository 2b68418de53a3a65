import { EverfoldError, isEverfoldError } from '../errors.js'
import { sdkErrorOf } from './s3-errors.js'
import type { S3Store } from './s3-store.js'

/**
 * Locks an object until a day; one that is locked for longer stays so. One that is gone needs no lock.
 * @returns false if the service refuses it
 * @throws STORE_FAILED, and what else keeps from asking
 */
export async function extendLock(
  store: S3Store,
  key: string,
  until: Date,
  versionId?: string,
): Promise<boolean> {
  const { client, sdk } = store.connection
  const version = { ...store.named(key), ...(versionId !== undefined && { VersionId: versionId }) }
  const Retention = { Mode: 'COMPLIANCE', RetainUntilDate: until } as const
  try {
    await store.requests.run({
      kind: 'lock',
      what: `lock ${key}`,
      send: async (abortSignal) => {
        try {
          await client.send(new sdk.PutObjectRetentionCommand({ ...version, Retention }), { abortSignal })
        } catch (error) {
          if (sdkErrorOf(error).status !== 404) throw error
        }
      },
    })
    return true
  } catch (error) {
    if (!isEverfoldError(error, 'PERMISSION_MISSING')) throw error
    // Also the answer where the lock would be shortened.
    const lockedMs = (await lockedUntil(store, key, versionId).catch(() => undefined))?.getTime() ?? 0
    return lockedMs >= until.getTime()
  }
}

/** Until when an object is locked for certain, for everybody; undefined if it is not. @throws PERMISSION_MISSING, STORE_FAILED */
export async function lockedUntil(
  store: S3Store,
  key: string,
  versionId?: string,
): Promise<Date | undefined> {
  const { client, sdk } = store.connection
  const version = { ...store.named(key), ...(versionId !== undefined && { VersionId: versionId }) }
  return store.requests.run({
    kind: 'other',
    what: `see the lock of ${key} (which takes s3:GetObjectRetention)`,
    send: async (abortSignal) => {
      try {
        const answer = await client.send(new sdk.GetObjectRetentionCommand(version), { abortSignal })
        return answer.Retention?.Mode === 'COMPLIANCE' ? answer.Retention.RetainUntilDate : undefined
      } catch (error) {
        const { name, status } = sdkErrorOf(error)
        // Without a lock; and services that do not know what that is.
        if (/ObjectLockConfiguration|InvalidRequest/u.test(name) || status === 501) return undefined
        throw error
      }
    },
  })
}

/**
 * Can objects of this bucket be locked?
 * @throws OBJECT_LOCK_MISSING, and what keeps from asking
 */
export async function requireObjectLock(store: S3Store): Promise<void> {
  const { client, sdk } = store.connection
  const { bucket } = store.place
  const isEnabled = await store.requests.run({
    kind: 'other',
    what: 'ask for the Object Lock of the bucket (which takes s3:GetBucketObjectLockConfiguration)',
    send: async (abortSignal) => {
      try {
        const { ObjectLockConfiguration: found } = await client.send(
          new sdk.GetObjectLockConfigurationCommand({ Bucket: bucket }),
          { abortSignal },
        )
        return found?.ObjectLockEnabled === 'Enabled'
      } catch (error) {
        const { name, status } = sdkErrorOf(error)
        if (name.startsWith('ObjectLockConfigurationNotFound') || status === 501) return false
        throw error
      }
    },
  })
  if (isEnabled) return
  throw new EverfoldError(
    'OBJECT_LOCK_MISSING',
    `The bucket ${bucket} has no Object Lock, so nothing in it can be locked. Make a bucket with Object Lock (and no default retention), or leave --object-lock out.`,
    { details: { location: store.location } },
  )
}

/** Did the service lock what it was told to lock? If it did not, the object is removed again. @throws OBJECT_LOCK_MISSING */
export async function requireLocked(store: S3Store, key: string): Promise<void> {
  const until = await lockedUntil(store, key)
  if (until !== undefined && until.getTime() > Date.now()) return
  await store.remove(key)
  throw new EverfoldError(
    'OBJECT_LOCK_MISSING',
    `The service took ${key} of ${store.location}, and did not lock it, although it was told to. It does not have Object Lock in compliance mode: leave --object-lock out, or use another service.`,
    { details: { location: store.location, key } },
  )
}
