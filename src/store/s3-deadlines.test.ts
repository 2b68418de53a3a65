import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import type { S3Connection } from './s3-client.js'
import { CHANGE_MS_MAX, s3SettingsFrom } from './s3-settings.js'
import { S3Store } from './s3-store.js'

/** Longer than a holder that says nothing keeps the repository. */
const PATIENT = { EVERFOLD_S3_REQUEST_SECONDS: '600', EVERFOLD_S3_GIVE_UP_SECONDS: '0.001' }

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
})
afterEach(() => {
  vi.useRealTimers()
})

/** A bucket that never answers. @returns what has become of the last request */
async function silentBucket(): Promise<{ store: S3Store; signal: () => AbortSignal | undefined }> {
  let last: AbortSignal | undefined
  const client = {
    send: (_: unknown, { abortSignal }: { abortSignal: AbortSignal }) => {
      last = abortSignal
      return new Promise((_, reject) => {
        abortSignal.addEventListener('abort', () => {
          reject(Object.assign(new Error('aborted'), { name: 'AbortError' }))
        })
      })
    },
    destroy: () => undefined,
  }
  const connection = { sdk: await import('@aws-sdk/client-s3'), client } as unknown as S3Connection
  const settings = s3SettingsFrom(PATIENT)
  const store = new S3Store({ bucket: 'silent', prefix: '' }, connection, { settings, conditionalPut: true })
  return { store, signal: () => last }
}

it('a commit has no more time than there is for a change, however long a request may take', async () => {
  const { store, signal } = await silentBucket()
  const committing = store.put('chains/m/000000000001', [Buffer.from('state')])
  committing.catch(() => undefined)
  await vi.advanceTimersByTimeAsync(CHANGE_MS_MAX - 1)
  expect(signal()?.aborted).toBe(false)
  await vi.advanceTimersByTimeAsync(1)
  expect(signal()?.aborted).toBe(true)
  await expect(committing).rejects.toMatchObject({ code: 'STORE_FAILED' })
})

it('what harms nobody when it comes late has all the time that a request may take', async () => {
  const { store, signal } = await silentBucket()
  const writing = store.put(`packs/aa/${'a'.repeat(64)}.0`, [Buffer.from('pack')])
  writing.catch(() => undefined)
  await vi.advanceTimersByTimeAsync(CHANGE_MS_MAX)
  expect(signal()?.aborted).toBe(false)
  await vi.advanceTimersByTimeAsync(600_000)
  expect(signal()?.aborted).toBe(true)
  await expect(writing).rejects.toMatchObject({ code: 'STORE_FAILED' })
})
