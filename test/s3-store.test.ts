import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll } from 'vitest'
import { CachingStore } from '../src/store/caching-store.js'
import { FaultyStore } from '../src/store/faulty-store.js'
import { KnownListings } from '../src/store/known-listings.js'
import { ObjectCache } from '../src/store/object-cache.js'
import { storeContract } from './contracts/store-contract.js'
import { newBucket, newS3Store, useS3Service } from './s3-service.js'

let bucket = ''
let folder = ''
let caches = 0

beforeAll(async () => {
  await useS3Service()
  bucket = await newBucket()
  folder = await mkdtemp(join(tmpdir(), 'everfold-cache-'))
}, 300_000)

afterAll(async () => {
  await rm(folder, { recursive: true })
})

storeContract('S3Store', () => newS3Store(bucket))
storeContract('S3Store at a service without conditional writes', () =>
  newS3Store(bucket, { conditionalPut: false }),
)
storeContract('CachingStore over S3Store', async () => {
  const store = new CachingStore(await newS3Store(bucket))
  store.cache = new ObjectCache(join(folder, String(caches++)), 1024 * 1024)
  store.listings = new KnownListings()
  return store
})
storeContract(
  'FaultyStore without faults over S3Store',
  async () => new FaultyStore(await newS3Store(bucket), () => undefined),
)
