import { beforeAll } from 'vitest'
import { storeContract } from './contracts/store-contract.js'
import { newBucket, newS3Store, useS3Service } from './s3-service.js'

let bucket = ''

beforeAll(async () => {
  await useS3Service()
  bucket = await newBucket()
}, 300_000)

storeContract('S3Store', () => newS3Store(bucket))
storeContract('S3Store at a service without conditional writes', () =>
  newS3Store(bucket, { conditionalPut: false }),
)
