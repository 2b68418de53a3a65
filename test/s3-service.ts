import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { S3ClientConfig } from '@aws-sdk/client-s3'
import { inject } from 'vitest'
import { connectS3, type S3Connection } from '../src/store/s3-client.js'
import { type S3Settings, s3SettingsFrom } from '../src/store/s3-settings.js'
import { S3Store, type S3StoreOptions } from '../src/store/s3-store.js'

declare module 'vitest' {
  interface ProvidedContext {
    /** Where the S3-compatible server of this test run lies, if a test has asked for it. */
    readonly s3Folder: string
  }
}

const run = promisify(execFile)
const script = join(import.meta.dirname, '../scripts/s3-server')

/** The variables that lead to a real S3-compatible server on loopback, which is started if no test has done so. */
export async function s3Service(): Promise<Readonly<Record<string, string>>> {
  const folder = inject('s3Folder')
  const { stdout } = await run('flock', ['-o', `${folder}.lock`, script, 'start', folder], {
    timeout: 300_000,
  })
  const lines = [...stdout.matchAll(/^export (\w+)=(.*)$/gmu)]
  return Object.fromEntries(lines.map(([, name = '', value = '']) => [name, value]))
}

/** Makes the service this process's own, as its environment would. */
export async function useS3Service(): Promise<void> {
  Object.assign(process.env, await s3Service(), {
    AWS_CONFIG_FILE: '/dev/null',
    AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
  })
}

/** A bucket of its own; to be called after {@link useS3Service}. */
export async function newBucket(options: { readonly objectLock?: true } = {}): Promise<string> {
  const { sdk, client } = await connect()
  const bucket = `test-${randomUUID()}`
  await client.send(
    new sdk.CreateBucketCommand({
      Bucket: bucket,
      ...(options.objectLock && { ObjectLockEnabledForBucket: true }),
    }),
  )
  client.destroy()
  return bucket
}

export async function connect(
  changes: Partial<S3Settings> = {},
  overrides: S3ClientConfig = {},
): Promise<S3Connection> {
  return connectS3({ ...s3SettingsFrom(process.env), ...changes }, overrides)
}

/** A store in a bucket (and prefix) that nobody else has. */
export async function newS3Store(
  bucket: string,
  options: Partial<S3StoreOptions> = {},
  prefix = `${randomUUID()}/`,
  overrides: S3ClientConfig = {},
): Promise<S3Store> {
  const settings = options.settings ?? s3SettingsFrom(process.env)
  return new S3Store({ bucket, prefix }, await connectS3(settings, overrides), { ...options, settings })
}
