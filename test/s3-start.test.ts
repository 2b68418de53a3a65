import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { S3Proxy } from '../bench/s3-proxy.js'
import type { S3Connection } from '../src/store/s3-client.js'
import { s3SettingsFrom } from '../src/store/s3-settings.js'
import { S3Store } from '../src/store/s3-store.js'
import { everfold, fail, type Run, type RunOptions, succeed } from './everfold.js'
import { connect, newBucket, useS3Service } from './s3-service.js'

let folder = ''
let connection: S3Connection
let caches = 0

beforeAll(async () => {
  await useS3Service()
  connection = await connect()
  folder = await mkdtemp(join(tmpdir(), 'everfold-start-'))
}, 300_000)

afterAll(async () => {
  connection.client.destroy()
  await rm(folder, { recursive: true })
})

/** Each with an empty cache, as on a machine of its own. */
function elsewhere(env: Readonly<Record<string, string | undefined>> = {}): RunOptions {
  return { cwd: folder, env: { EVERFOLD_CACHE: join(folder, `cache-${++caches}`), ...env } }
}

async function put(bucket: string, key: string): Promise<void> {
  const { client, sdk } = connection
  await client.send(new sdk.PutObjectCommand({ Bucket: bucket, Key: key, Body: 'x' }))
}

async function deny(bucket: string, ...actions: readonly string[]): Promise<void> {
  const { client, sdk } = connection
  const arn = `arn:aws:s3:::${bucket}`
  const statement = { Effect: 'Deny', Principal: '*', Action: actions, Resource: [arn, `${arn}/*`] }
  const Policy = JSON.stringify({ Version: '2012-10-17', Statement: [statement] })
  await client.send(new sdk.PutBucketPolicyCommand({ Bucket: bucket, Policy }))
}

describe('init of a repository in a bucket', () => {
  it('says so when the bucket is missing', async () => {
    const { message } = await fail('BUCKET_NOT_FOUND', ['init', 's3://no-such-bucket-at-all/x'], elsewhere())
    expect(message).toMatch(/make the bucket first/)
  })

  it('says so when the credentials are wrong', async () => {
    const bucket = await newBucket()
    const id = elsewhere({ AWS_ACCESS_KEY_ID: 'nobody' })
    expect((await fail('CREDENTIALS_REJECTED', ['init', `s3://${bucket}`], id)).message).toMatch(
      /AWS_ACCESS_KEY_ID/,
    )
    const secret = elsewhere({ AWS_SECRET_ACCESS_KEY: 'not-the-secret' })
    await fail('CREDENTIALS_REJECTED', ['init', `s3://${bucket}`], secret)
  })

  it('says so when there are no credentials', async () => {
    const none = elsewhere({
      AWS_ACCESS_KEY_ID: undefined,
      AWS_SECRET_ACCESS_KEY: undefined,
      AWS_EC2_METADATA_DISABLED: 'true',
    })
    await fail('CREDENTIALS_REJECTED', ['init', 's3://bucket'], none)
  })

  it.each([
    ['list', ['s3:ListBucket']],
    ['write', ['s3:PutObject']],
    ['delete', ['s3:DeleteObject']],
  ])('says so when the credentials may not %s', async (_, actions) => {
    const bucket = await newBucket()
    await deny(bucket, ...actions)
    const { message } = await fail('PERMISSION_MISSING', ['init', `s3://${bucket}`], elsewhere())
    expect(message).toContain(actions[0])
  })

  it("refuses a bucket, or a prefix, with somebody else's objects, and takes another prefix of it", async () => {
    const bucket = await newBucket()
    await put(bucket, 'photos/cat.jpg')
    const { message } = await fail('ARGUMENT_INVALID', ['init', `s3://${bucket}`], elsewhere())
    expect(message).toContain('photos/cat.jpg')
    await fail('ARGUMENT_INVALID', ['init', `s3://${bucket}/photos`], elsewhere())
    await succeed(['init', `s3://${bucket}/backups/site`], elsewhere())
    await fail('REPOSITORY_EXISTS', ['init', `s3://${bucket}/backups/site`], elsewhere())
  })

  it('warns of a bucket that keeps versions', async () => {
    const bucket = await newBucket()
    const { client, sdk } = connection
    const VersioningConfiguration = { Status: 'Enabled' } as const
    await client.send(new sdk.PutBucketVersioningCommand({ Bucket: bucket, VersioningConfiguration }))
    expectWarning(await everfold(['init', `s3://${bucket}`], elsewhere()), /keeps versions/)
  })

  it('warns of a lifecycle rule that expires objects, and so does the start of the service', async () => {
    const bucket = await newBucket()
    await succeed(['init', `s3://${bucket}/a`], elsewhere())
    const { client, sdk } = connection
    const rule = {
      ID: 'tidy up',
      Status: 'Enabled',
      Filter: { Prefix: '' },
      Expiration: { Days: 30 },
    } as const
    const LifecycleConfiguration = { Rules: [rule] }
    await client.send(
      new sdk.PutBucketLifecycleConfigurationCommand({ Bucket: bucket, LifecycleConfiguration }),
    )
    expectWarning(await everfold(['init', `s3://${bucket}/b`], elsewhere()), /"tidy up".*expires objects/)
    expectWarning(await everfold(['points', '--repo', `s3://${bucket}/a`], elsewhere()), /"tidy up"/)
  })

  it.each([
    ['s3://', /names no bucket/],
    ['s3:///prefix', /names no bucket/],
    ['s3://bucket/../x', /dot parts/],
    ['https://user:hunter2@example.org/bucket', /names no bucket/],
  ])('refuses %s', async (location, complaint) => {
    const { message } = await fail('ARGUMENT_INVALID', ['init', location], elsewhere())
    expect(message).toMatch(complaint)
    expect(message).not.toContain('hunter2')
  })
})

describe('a repository in a bucket', () => {
  it('says so when there is none', async () => {
    const bucket = await newBucket()
    await fail('REPOSITORY_NOT_FOUND', ['points', '--repo', `s3://${bucket}/none`], elsewhere())
    await fail('BUCKET_NOT_FOUND', ['points', '--repo', 's3://no-such-bucket-at-all/x'], elsewhere())
  })

  it('says so when the service wants another region, or another clock', async () => {
    const proxy = await S3Proxy.start(process.env['AWS_ENDPOINT_URL_S3']!)
    try {
      const options = elsewhere({ AWS_ENDPOINT_URL_S3: proxy.url })
      // As Amazon S3 answers: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
      const answers = [
        [301, 'PermanentRedirect', 'REGION_WRONG', /AWS_REGION/],
        [400, 'IllegalLocationConstraintException', 'REGION_WRONG', /AWS_REGION/],
        [400, 'AuthorizationHeaderMalformed', 'REGION_WRONG', /AWS_REGION/],
        [403, 'RequestTimeTooSkewed', 'CLOCK_WRONG', /NTP/],
        [403, 'ExpiredToken', 'CREDENTIALS_REJECTED', /profile or role/],
      ] as const
      for (const [status, code, expected, fix] of answers) {
        const message = "the region 'us-east-1' is wrong; expecting 'eu-west-1'"
        proxy.fault = () => ({ kind: 'status', status, code, message })
        expect((await fail(expected, ['points', '--repo', 's3://bucket/x'], options)).message).toMatch(fix)
      }
    } finally {
      await proxy.stop()
    }
  })

  it('says so when the clock is off by an hour', async () => {
    const clock = await connect({}, { systemClockOffset: 3_600_000 })
    const store = new S3Store({ bucket: await newBucket(), prefix: '' }, clock, {
      settings: s3SettingsFrom({}),
    })
    await expect(store.readAll('everfold.json')).rejects.toMatchObject({ code: 'CLOCK_WRONG' })
    await store.close()
  })

  it('fails soon, and says why, when nobody listens at the endpoint', async () => {
    const options = elsewhere({ AWS_ENDPOINT_URL_S3: 'http://127.0.0.1:9', EVERFOLD_S3_GIVE_UP_SECONDS: '2' })
    const { message } = await fail('STORE_FAILED', ['points', '--repo', 's3://bucket/x'], options)
    expect(message).toMatch(/nobody listens at the endpoint.*Check that the service is up/)
  })

  it('warns when something else removed an object of it, and verify names what is lost', async () => {
    const bucket = await newBucket()
    const options = elsewhere({ EVERFOLD_REPO: `s3://${bucket}/r` })
    await succeed(['init', `s3://${bucket}/r`], options)
    await writeFile(join(folder, 'd.raw'), Buffer.alloc(300_000, 'data'))
    await succeed(['backup', 'web', 'vda=d.raw'], options)
    const { client, sdk } = connection
    const { Contents } = await client.send(
      new sdk.ListObjectsV2Command({ Bucket: bucket, Prefix: 'r/packs/' }),
    )
    await client.send(new sdk.DeleteObjectCommand({ Bucket: bucket, Key: Contents?.[0]?.Key }))
    await forgetLook(join(folder, `cache-${caches}`))
    const run = await everfold(['points', '--fast'], options)
    expectWarning(run, /r\/packs\/|packs\/.* of s3:\/\/.* went missing, and Everfold did not remove it/)
    const verified = await everfold(['verify', '--json'], options)
    expect(verified.status).toBe(5)
    expect(JSON.parse(verified.stdout).damaged).toMatchObject([{ machine: 'web', disk: 'vda' }])
    // The same data again: what the cache remembers of the pack does not stand in for it.
    await succeed(['backup', 'web', 'vda=d.raw'], options)
    await succeed(['restore', 'web', 'latest', 'vda=out.raw'], options)
  })

  it('shows credentials nowhere: not in errors, not in its output, not in the bucket, not in the cache', async () => {
    const bucket = await newBucket()
    const secret = process.env['AWS_SECRET_ACCESS_KEY']!
    const id = process.env['AWS_ACCESS_KEY_ID']!
    const options = elsewhere({ EVERFOLD_REPO: `s3://${bucket}`, EVERFOLD_DEBUG: '1' })
    const runs = [await everfold(['init', `s3://${bucket}`, '--json'], options)]
    runs.push(await everfold(['backup', 'web', `vda=${import.meta.filename}`, '--json'], options))
    await deny(bucket, 's3:GetObject')
    runs.push(await everfold(['points'], options), await everfold(['points', '--json'], options))
    const { client, sdk } = connection
    await client.send(new sdk.DeleteBucketPolicyCommand({ Bucket: bucket }))
    const { Contents } = await client.send(new sdk.ListObjectsV2Command({ Bucket: bucket }))
    const shown = [JSON.stringify(runs)]
    for (const { Key } of Contents ?? []) {
      const { Body, Metadata } = await client.send(new sdk.GetObjectCommand({ Bucket: bucket, Key }))
      shown.push(Key ?? '', JSON.stringify(Metadata), (await Body?.transformToString('latin1')) ?? '')
    }
    const cache = join(folder, `cache-${caches}`)
    for (const entry of await readdir(cache, { recursive: true, withFileTypes: true }))
      if (entry.isFile()) shown.push(await readFile(join(entry.parentPath, entry.name), 'latin1'))
    expect(shown.length).toBeGreaterThan(10)
    for (const text of shown) {
      expect(text).not.toContain(secret)
      expect(text).not.toContain(id)
    }
  })
})

function expectWarning(run: Run, what: RegExp): void {
  expect(run.status, JSON.stringify(run)).toBe(0)
  expect(run.stderr).toMatch(/^everfold: warning: /)
  expect(run.stderr).toMatch(what)
}

/** As if a day had passed since the bucket was looked at. */
async function forgetLook(cache: string): Promise<void> {
  for (const name of await readdir(cache)) {
    const path = join(cache, name, 'state.json')
    const state = JSON.parse(await readFile(path, 'utf8'))
    await writeFile(path, JSON.stringify({ ...state, lookedAt: '2020-01-01T00:00:00Z' }))
  }
}
