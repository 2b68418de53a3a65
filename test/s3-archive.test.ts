import { access, chmod, writeFile } from 'node:fs/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type ProxiedRequest, S3Proxy } from '../bench/s3-proxy.js'
import { SeededBytes } from '../bench/seeded-bytes.js'
import type { S3Connection } from '../src/store/s3-client.js'
import { connect, newBucket, useS3Service } from './s3-service.js'
import { Served } from './server-process.js'
import { Workspace } from './workspace.js'

const MIB = 1024 * 1024
const random = new SeededBytes('s3-archive')
let service: S3Connection
let bucket = ''
let prefixes = 0

beforeAll(async () => {
  await useS3Service()
  service = await connect()
  bucket = await newBucket()
}, 300_000)

afterAll(() => service.client.destroy())

async function classes(prefix: string): Promise<Map<string, string>> {
  const { sdk, client } = service
  const { Contents = [] } = await client.send(
    new sdk.ListObjectsV2Command({ Bucket: bucket, Prefix: prefix }),
  )
  return new Map(Contents.map(({ Key = '', StorageClass = '' }) => [Key.slice(prefix.length), StorageClass]))
}

it('gives packs the storage class that is wanted, and nothing else', async () => {
  const at = await Workspace.make([], { EVERFOLD_REPO: `s3://${bucket}/class` })
  await at.write('vda.raw', random.next(3 * MIB))
  await at.ok('backup', 'web', 'vda=vda.raw', '--storage-class', 'STANDARD_IA')
  await at.write('vdb.raw', random.next(MIB))
  await at.ok('backup', 'db', 'vdb=vdb.raw')
  const found = await classes('class/')
  const packs = [...found].filter(([key]) => key.startsWith('packs/')).map(([, name]) => name)
  expect(packs.sort()).toEqual(['STANDARD', 'STANDARD_IA'])
  for (const [key, name] of found) if (!key.startsWith('packs/')) expect(name, key).toBe('STANDARD')
  await at.write('vdc.raw', random.next(MIB))
  const wrong = ['backup', 'x', 'vdc=vdc.raw', '--storage-class', 'NO_SUCH_CLASS']
  const { message } = await at.fails('ARGUMENT_INVALID', ...wrong)
  expect(message).toMatch(/does not take the storage class "NO_SUCH_CLASS"/)
  await at.remove()
})

describe('a repository whose packs are archived', { timeout: 200_000 }, () => {
  let proxy: S3Proxy
  let at: Workspace
  let disk: Buffer
  /** Keys that were recalled, as the archive was told. */
  const recalls: string[] = []
  let isArchived = true

  beforeEach(async () => {
    proxy = await S3Proxy.start(process.env['AWS_ENDPOINT_URL_S3']!)
    const prefix = `archive-${++prefixes}`
    at = await Workspace.make([], {
      EVERFOLD_REPO: `s3://${bucket}/${prefix}`,
      AWS_ENDPOINT_URL_S3: proxy.url,
    })
    // Three packs.
    disk = random.next(56 * MIB)
    await at.write('vda.raw', disk)
    await at.ok('backup', 'web', 'vda=vda.raw')
    recalls.length = 0
    isArchived = true
    proxy.fault = archive
  })

  afterEach(async () => {
    await proxy.stop()
    await at.remove()
  })

  /** As Amazon S3 answers: https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html, …/API_RestoreObject.html */
  const archive = ({ method, url, key }: ProxiedRequest): ReturnType<NonNullable<S3Proxy['fault']>> => {
    if (!key.includes('/packs/')) return undefined
    if (method === 'POST' && /[?&]restore/.test(url)) {
      const known = recalls.includes(key)
      if (!known) recalls.push(key)
      return known
        ? { kind: 'status', status: 409, code: 'RestoreAlreadyInProgress' }
        : { kind: 'status', status: 202, code: '' }
    }
    return method === 'GET' && isArchived
      ? {
          kind: 'status',
          status: 403,
          code: 'InvalidObjectState',
          message: "not valid for the object's storage class",
        }
      : undefined
  }

  it('says which objects a restore needs, asks for them, and restores when they have come', async () => {
    const { details } = await at.fails('OBJECT_ARCHIVED', 'restore', 'web', 'latest', 'vda=out.raw')
    const { archived } = details as { archived: string[] }
    expect(archived.length).toBeGreaterThan(2)
    await expect(access(at.path('out.raw'))).rejects.toThrow()
    expect(recalls).toEqual([])
    const restore = ['restore', 'web', 'latest', 'vda=out.raw', '--recall', '3', '--recall-tier', 'bulk']
    expect((await at.fails('OBJECT_ARCHIVED', ...restore)).details).toMatchObject({ asked: archived.length })
    expect(recalls.map((key) => key.replace(/^[^/]*\//u, '')).sort()).toEqual([...archived].sort())
    expect((await at.fails('OBJECT_ARCHIVED', ...restore)).details).toMatchObject({ asked: 0 })
    isArchived = false
    await at.ok(...restore)
    await at.expectDisk('web', 'latest', disk)
  })

  it('takes backups, folds and collects, here and on a new machine', async () => {
    const elsewhere = await Workspace.make('no repository', at.options.env as Record<string, string>)
    for (const place of [at, elsewhere]) {
      disk.fill(place === at ? 1 : 2, 0, MIB)
      await place.write('vda.raw', disk)
      await place.ok('backup', 'web', 'vda=vda.raw')
    }
    // The data of the second machine is its own: it cannot see what is in the archive.
    await at.ok('fold', 'web', '--keep', '1')
    await at.ok('gc', '--rounds', '3')
    expect((await at.fails('OBJECT_ARCHIVED', 'restore', 'web', 'latest', 'vda=x.raw')).message).toMatch(
      /Have them recalled/,
    )
    isArchived = false
    await at.expectDisk('web', 'latest', disk)
    expect(await at.ok('verify')).toMatchObject({ ok: true })
    await elsewhere.remove()
  })
})

describe('the configuration of the service', () => {
  it('says how the bucket is reached, as whom, and where the cache is', async () => {
    const at = await Workspace.make([], { EVERFOLD_REPO: `s3://${bucket}/config` })
    const {
      AWS_ENDPOINT_URL_S3: endpoint,
      AWS_ACCESS_KEY_ID: id,
      AWS_SECRET_ACCESS_KEY: secret,
    } = process.env
    await writeFile(
      at.path('credentials'),
      `[vault]\naws_access_key_id = ${id}\naws_secret_access_key = ${secret}\n`,
    )
    await chmod(at.path('credentials'), 0o600)
    await at.write(
      'everfold.yaml',
      `repository: s3://${bucket}/config
s3:
  endpoint: ${endpoint}
  region: us-east-1
  pathStyle: true
  credentialsFile: credentials
  profile: vault
  storageClass: STANDARD_IA
  requestTimeout: 20s
  giveUpAfter: 1min
  cache: its-cache
  cacheSize: 1MiB
`,
    )
    const nothing = {
      AWS_ENDPOINT_URL_S3: 'http://127.0.0.1:9',
      AWS_REGION: undefined,
      EVERFOLD_REPO: undefined,
    }
    const wrong = { AWS_ACCESS_KEY_ID: 'wrong', AWS_SECRET_ACCESS_KEY: 'wrong', EVERFOLD_CACHE: undefined }
    const env = { ...at.options.env, ...nothing, ...wrong, HOME: at.folder }
    const served = await Served.start({ options: { cwd: at.folder, env } }, '--config', 'everfold.yaml')
    const put = await fetch(`${served.url}/v1/machines/web/disks/vda/image`, {
      method: 'PUT',
      body: random.next(MIB),
      headers: { authorization: `Bearer ${served.adminToken}` },
    })
    expect(put.status, await put.text()).toBe(201)
    await access(at.path('its-cache'))
    const found = await classes('config/packs/')
    expect([...found.values()]).toEqual(['STANDARD_IA'])
    await served.stop()
    await at.remove()
  })
})
