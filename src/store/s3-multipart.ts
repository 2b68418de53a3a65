import type { CreateMultipartUploadCommandInput } from '@aws-sdk/client-s3'
import { EverfoldError } from '../errors.js'
import { Gate } from '../gate.js'
import { settleAll } from '../settle-all.js'
import { gather, md5Of } from './s3-body.js'
import { sdkErrorOf } from './s3-errors.js'
import { PART_BYTES, PARTS_IN_FLIGHT } from './s3-settings.js'
import type { S3Store } from './s3-store.js'

/** An object that is to be written. */
export interface PutTarget {
  readonly key: string
  /** In the metadata of what is written. */
  readonly writeId: string
  readonly input: CreateMultipartUploadCommandInput & { readonly Bucket: string; readonly Key: string }
}

/**
 * Writes a large object in parts, several at once. Nothing is there under the key until all of it is. Whoever calls has seen that
 * the key is free: a service that honours `If-None-Match` here looks again, but not all do.
 */
export async function putInParts(
  store: S3Store,
  target: PutTarget,
  parts: readonly Uint8Array[],
  bytes: number,
): Promise<'created' | 'exists'> {
  const { client, sdk } = store.connection
  const { requests } = store
  const what = `write ${target.key}`
  const upload = await requests.run({
    kind: 'put',
    what,
    harmlessLate: true,
    send: (abortSignal) => client.send(new sdk.CreateMultipartUploadCommand(target.input), { abortSignal }),
  })
  const id = { ...store.named(target.key), UploadId: upload.UploadId }
  try {
    const gate = new Gate(PARTS_IN_FLIGHT)
    const sendPart = async (index: number): Promise<{ PartNumber: number; ETag: string | undefined }> => {
      await gate.enter()
      try {
        const body = gather(parts, index * PART_BYTES, Math.min(bytes, (index + 1) * PART_BYTES))
        const part = { ...id, PartNumber: index + 1, ContentLength: body.length, ContentMD5: md5Of(body) }
        const { ETag } = await requests.run({
          kind: 'put',
          what,
          bytes: body.length,
          harmlessLate: true,
          send: (abortSignal) => {
            store.traffic.add({ bytesOut: body.length })
            return client.send(new sdk.UploadPartCommand({ ...part, Body: body }), { abortSignal })
          },
        })
        return { PartNumber: part.PartNumber, ETag }
      } finally {
        gate.leave()
      }
    }
    const count = Math.ceil(bytes / PART_BYTES)
    const sent = await settleAll(Array.from({ length: count }, (_, index) => sendPart(index)))
    const complete = {
      ...id,
      MultipartUpload: { Parts: sent },
      ...(store.conditionalPut && { IfNoneMatch: '*' }),
    }
    const answer = await requests.run({
      kind: 'put',
      what,
      send: async (abortSignal, earlier) => {
        try {
          await client.send(new sdk.CompleteMultipartUploadCommand(complete), { abortSignal })
          return 'created'
        } catch (error) {
          const { name, status } = sdkErrorOf(error)
          if (status === 412) return 'taken'
          if (name === 'NoSuchUpload' && earlier.length > 0) return 'gone'
          throw error
        }
      },
    })
    if (answer === 'created') return answer
    // An earlier attempt, whose answer was lost, may have completed it.
    if ((await store.isWrittenBy(target.key, target.writeId)) === true) return 'created'
    if (answer === 'gone')
      throw new EverfoldError('STORE_FAILED', `Cannot ${what} in ${store.location}: its parts are gone.`)
    await abandon(store, id)
    return 'exists'
  } catch (error) {
    await abandon(store, id)
    throw error
  }
}

/** Frees what the parts take. One that fails leaves them to the bucket's rule for unfinished uploads. */
async function abandon(
  store: S3Store,
  id: { readonly Bucket: string; readonly Key: string; readonly UploadId: string | undefined },
): Promise<void> {
  const { client, sdk } = store.connection
  await client
    .send(new sdk.AbortMultipartUploadCommand(id), { abortSignal: AbortSignal.timeout(10_000) })
    .catch(() => undefined)
  store.traffic.add({ delete: 1 })
}
