/**
 * A store in a bucket of an S3-compatible service: each object of the store is one of the bucket, and its key is that after
 * the prefix.
 *
 * A put is one request, with `If-None-Match: *` where the service honours it. Each carries a random write id in the object's
 * metadata: when the answer to a put is lost, and its repetition is told that the key is taken, the id says by whom.
 */

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import type { Readable } from 'node:stream'
import type { GetObjectCommandOutput } from '@aws-sdk/client-s3'
import { EverfoldError } from '../errors.js'
import { KeyedMutex } from '../mutex.js'
import { objectArchived } from './archive.js'
import type { Tagged, TaggedStore } from './caching-store.js'
import {
  assertKey,
  assertPrefix,
  bundlesPrefix,
  chainsPrefix,
  isKey,
  packsPrefix,
  runsPrefix,
} from './keys.js'
import { objectNotFound, objectTooShort } from './local-errors.js'
import { isLockedKind, type LockTerms } from './object-lock.js'
import { BodyCut, collectBody, gather, md5Of, parseContentRange } from './s3-body.js'
import type { S3Connection } from './s3-client.js'
import { hadNoEffect, sdkErrorOf } from './s3-errors.js'
import { locationName, type S3Location } from './s3-location.js'
import { type PutTarget, putInParts } from './s3-multipart.js'
import { type Request, Requests } from './s3-requests.js'
import { extendLock } from './s3-retention.js'
import { type S3Settings, SINGLE_PUT_BYTES_MAX } from './s3-settings.js'
import type { StoredObject } from './store.js'
import { Traffic } from './traffic.js'

type Bytes = Uint8Array<ArrayBuffer>

/** What was read of an object: bytes from `start` on, of `sizeBytes` altogether. */
type Body = Tagged<{ readonly bytes: Bytes; readonly start: number; readonly sizeBytes: number }>

export interface S3StoreOptions {
  readonly settings: S3Settings
  /** Does the service honour `If-None-Match: *`? Without it a put looks first, and a lease keeps others away: see s3-lease.ts. */
  readonly conditionalPut?: boolean
}

/** Name of the metadata that tells one write of an object from another. */
export const WRITE_ID = 'everfold-write'

export class S3Store implements TaggedStore {
  readonly location: string
  readonly place: S3Location
  readonly traffic = new Traffic()
  readonly requests: Requests
  /** Set by whoever probes the service. */
  conditionalPut: boolean
  /** Set where the repository wants what is written to be locked. */
  lockTerms: LockTerms | undefined
  readonly connection: S3Connection
  readonly #settings: S3Settings
  readonly #putting = new KeyedMutex()
  #closed = false

  constructor(place: S3Location, connection: S3Connection, options: S3StoreOptions) {
    this.location = locationName(place)
    this.place = place
    this.connection = connection
    this.#settings = options.settings
    this.conditionalPut = options.conditionalPut ?? true
    this.requests = new Requests(this.location, options.settings, this.traffic)
  }

  async read(key: string, offset: number, length: number): Promise<Bytes> {
    assertRange(offset, length)
    const end = offset + length
    if (length === 0) {
      const sizeBytes = await this.#sizeOrThrow(key)
      if (sizeBytes < offset) throw objectTooShort(key, this.location, end)
      return new Uint8Array(0)
    }
    const found = await this.#get(key, `bytes=${offset}-${end - 1}`, length)
    if (found === 'unsatisfiable') throw objectTooShort(key, this.location, end)
    const { bytes, start, sizeBytes } = found
    if (sizeBytes < end) throw objectTooShort(key, this.location, end)
    return start === offset && bytes.length === length ? bytes : bytes.slice(offset - start, end - start)
  }

  async readAll(key: string): Promise<Bytes> {
    return (await this.readAllTagged(key)).bytes
  }

  async readAllTagged(key: string): Promise<Tagged<{ readonly bytes: Bytes }>> {
    const found = await this.#get(key, undefined, 0)
    assert(found !== 'unsatisfiable', 'no range was asked for')
    return { bytes: found.bytes, tag: found.tag }
  }

  async readTail(key: string, length: number): Promise<{ bytes: Bytes; sizeBytes: number }> {
    const { bytes, sizeBytes } = await this.readTailTagged(key, length)
    return { bytes, sizeBytes }
  }

  async readTailTagged(
    key: string,
    length: number,
  ): Promise<Tagged<{ readonly bytes: Bytes; readonly sizeBytes: number }>> {
    assertRange(0, length)
    if (length === 0) return { bytes: new Uint8Array(0), sizeBytes: await this.#sizeOrThrow(key) }
    const found = await this.#get(key, `bytes=-${length}`, length)
    // Of an empty object there is no range.
    if (found === 'unsatisfiable') return { bytes: new Uint8Array(0), sizeBytes: 0 }
    const { bytes, sizeBytes, tag } = found
    return { bytes: bytes.length > length ? bytes.slice(-length) : bytes, sizeBytes, tag }
  }

  async size(key: string): Promise<number | undefined> {
    try {
      return await this.#sizeOrThrow(key)
    } catch (error) {
      if (isNotFound(error)) return undefined
      throw error
    }
  }

  async *list(prefix: string): AsyncGenerator<StoredObject, void, undefined> {
    assertPrefix(prefix)
    for await (const { key, sizeBytes } of this.listTagged(prefix)) if (isKey(key)) yield { key, sizeBytes }
  }

  /** As {@link list}, with what is no object of the store, and each object's ETag. @param after  only keys after this one */
  async *listTagged(prefix: string, after?: string): AsyncGenerator<Tagged<StoredObject>, void, undefined> {
    const { prefix: root, bucket } = this.place
    let token: string | undefined
    do {
      const from = token
      const page = await this.#run({
        kind: 'list',
        what: `list ${prefix === '' ? 'objects' : prefix}`,
        send: (abortSignal) =>
          this.connection.client.send(
            new this.connection.sdk.ListObjectsV2Command({
              Bucket: bucket,
              Prefix: root + prefix,
              ...(after !== undefined && { StartAfter: root + after }),
              ...(from !== undefined && { ContinuationToken: from }),
            }),
            { abortSignal },
          ),
      })
      for (const { Key: key, Size: sizeBytes, ETag: tag } of page.Contents ?? [])
        if (key?.startsWith(root) === true)
          yield { key: key.slice(root.length), sizeBytes: sizeBytes ?? 0, tag }
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined
    } while (token !== undefined)
  }

  async settle(prefix: string): Promise<void> {
    // What the service shows, it keeps.
    assertPrefix(prefix)
  }

  async put(key: string, parts: readonly Uint8Array[]): Promise<'created' | 'exists'> {
    return (await this.putTagged(key, parts)).answer
  }

  async putTagged(
    key: string,
    parts: readonly Uint8Array[],
  ): Promise<Tagged<{ readonly answer: 'created' | 'exists' }>> {
    assertKey(key)
    const bytes = parts.reduce((sum, part) => sum + part.length, 0)
    // In one process, writers of one key take turns: not every service sees to it when an object comes in parts.
    return this.#putting.run(key, async () => {
      const target = this.#target(key)
      const isConditional = this.conditionalPut && bytes <= SINGLE_PUT_BYTES_MAX
      if (!isConditional && (await this.size(key)) !== undefined) return { answer: 'exists' }
      if (bytes > SINGLE_PUT_BYTES_MAX) {
        const answer = await putInParts(this, target, parts, bytes)
        // Not every service locks what comes in parts from the beginning.
        const until = target.input.ObjectLockRetainUntilDate
        if (answer === 'created' && until !== undefined) await this.#lock(key, until)
        return { answer }
      }
      const answer = await this.#putWhole(target, gather(parts, 0, bytes), isConditional)
      // A commit counts only if the repository was ours all the while.
      if (key.startsWith(chainsPrefix())) await this.requests.guard?.check()
      return answer
    })
  }

  async remove(key: string): Promise<void> {
    assertKey(key)
    await this.removeRaw(key)
  }

  /** As {@link remove}, for what is no object of the store either. */
  async removeRaw(key: string): Promise<void> {
    const { client, sdk } = this.connection
    await this.#run({
      kind: 'delete',
      what: `remove ${key}`,
      send: (abortSignal) => client.send(new sdk.DeleteObjectCommand(this.named(key)), { abortSignal }),
    })
  }

  /** Was this object written by the call with this write id? For when its answer was lost. */
  async isWrittenBy(key: string, writeId: string): Promise<boolean | undefined> {
    const { client, sdk } = this.connection
    return this.#run({
      kind: 'get',
      what: `look for ${key}`,
      send: async (abortSignal) => {
        try {
          const head = await client.send(new sdk.HeadObjectCommand(this.named(key)), { abortSignal })
          return head.Metadata?.[WRITE_ID] === writeId
        } catch (error) {
          if (sdkErrorOf(error).status === 404) return undefined
          throw error
        }
      },
    })
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.requests.close()
    this.connection.client.destroy()
  }

  /** What names an object of the store to the service. */
  named(key: string): { readonly Bucket: string; readonly Key: string } {
    return { Bucket: this.place.bucket, Key: this.place.prefix + key }
  }

  async #lock(key: string, until: Date): Promise<void> {
    if (await extendLock(this, key, until)) return
    throw new EverfoldError(
      'PERMISSION_MISSING',
      `${key} was written to ${this.location}, and could not be locked: the credentials need s3:PutObjectRetention.`,
    )
  }

  #target(key: string): PutTarget {
    const storageClass = key.startsWith(packsPrefix) ? this.#settings.storageClass : undefined
    const writeId = randomUUID()
    return {
      key,
      writeId,
      input: {
        ...this.named(key),
        Metadata: { [WRITE_ID]: writeId },
        ...(storageClass !== undefined && { StorageClass: storageClass as 'STANDARD' }),
        ...(this.lockTerms !== undefined &&
          isLockedKind(key) && {
            ObjectLockMode: 'COMPLIANCE',
            ObjectLockRetainUntilDate: this.lockTerms.until(Date.now()),
          }),
      },
    }
  }

  async #putWhole(
    { key, writeId, input }: PutTarget,
    body: Uint8Array,
    isConditional: boolean,
  ): Promise<Tagged<{ readonly answer: 'created' | 'exists' }>> {
    const { client, sdk } = this.connection
    const command = {
      ...input,
      ContentLength: body.length,
      ContentMD5: md5Of(body),
      ...(isConditional && { IfNoneMatch: '*' }),
    }
    const answer = await this.#run({
      kind: 'put',
      what: `write ${key}`,
      bytes: body.length,
      // It means the same whoever writes it, or cannot take anybody else's place: but what a chain state names may be gone by then.
      harmlessLate: isNamedByContent(key) || (isConditional && !key.startsWith(chainsPrefix())),
      send: async (abortSignal, earlier) => {
        this.traffic.add({ bytesOut: body.length })
        try {
          const put = new sdk.PutObjectCommand({ ...command, Body: body })
          return { answer: 'created', tag: (await client.send(put, { abortSignal })).ETag } as const
        } catch (error) {
          const { name, status } = sdkErrorOf(error)
          if (input.StorageClass !== undefined && status === 400 && UNKNOWN_CLASS.has(name))
            throw classUnknown(input.StorageClass, this.location)
          if (status !== 412) throw error
          return earlier.some((failure) => !hadNoEffect(failure)) ? 'ours?' : ({ answer: 'exists' } as const)
        }
      },
    })
    if (answer !== 'ours?') return answer
    // It may be an earlier attempt of ours, whose answer was lost, that took the key.
    return { answer: (await this.isWrittenBy(key, writeId)) === true ? 'created' : 'exists' }
  }

  async #sizeOrThrow(key: string): Promise<number> {
    // Not HEAD: its answers have no body, so a missing bucket would look like a missing object.
    const found = await this.#get(key, 'bytes=0-0', 1)
    return found === 'unsatisfiable' ? 0 : found.sizeBytes
  }

  /** @param bytes  how many are expected, at most; 0 if that is not known */
  async #get(key: string, range: string | undefined, bytes: number): Promise<Body | 'unsatisfiable'> {
    assertKey(key)
    const { client, sdk } = this.connection
    const input = { ...this.named(key), ...(range !== undefined && { Range: range }) }
    return this.#run({
      kind: 'get',
      what: `read ${key}`,
      bytes: bytes === 0 ? SINGLE_PUT_BYTES_MAX : bytes,
      send: async (signal) => {
        try {
          return await this.#body(
            await client.send(new sdk.GetObjectCommand(input), { abortSignal: signal }),
            signal,
          )
        } catch (error) {
          const { name, status } = sdkErrorOf(error)
          if (name === 'NoSuchKey') throw objectNotFound(key, this.location)
          if (name === 'InvalidObjectState') throw objectArchived(key, this.location)
          if (status === 416) return 'unsatisfiable'
          throw error
        }
      },
    })
  }

  async #body(output: GetObjectCommandOutput, signal: AbortSignal): Promise<Body> {
    const { Body: body, ContentLength: length, ContentRange, ETag: tag } = output
    if (body === undefined || length === undefined) throw new BodyCut('the answer has no body, or no length')
    const bytes = await collectBody(body as Readable, length, this.#settings.idleMs, signal)
    this.traffic.add({ bytesIn: bytes.length })
    const range = parseContentRange(ContentRange)
    if (range === undefined) return { bytes, start: 0, sizeBytes: bytes.length, tag }
    if (range.end - range.start !== bytes.length)
      throw new BodyCut('the body is not the range that it is said to be')
    return { bytes, start: range.start, sizeBytes: range.sizeBytes, tag }
  }

  async #run<T>(request: Request<T>): Promise<T> {
    assert(!this.#closed, 'the store is closed')
    return this.requests.run(request)
  }
}

/** As Amazon S3 and Ceph answer. */
const UNKNOWN_CLASS = new Set(['InvalidStorageClass', 'InvalidArgument'])

function classUnknown(storageClass: string, location: string): EverfoldError {
  return new EverfoldError(
    'ARGUMENT_INVALID',
    `The service of ${location} does not take the storage class "${storageClass}". Use one that it has, or none: --storage-class, s3.storageClass or EVERFOLD_S3_STORAGE_CLASS.`,
  )
}

function isNamedByContent(key: string): boolean {
  return [packsPrefix, bundlesPrefix, runsPrefix()].some((prefix) => key.startsWith(prefix))
}

function isNotFound(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'OBJECT_NOT_FOUND'
}

function assertRange(offset: number, length: number): void {
  assert(Number.isSafeInteger(offset) && offset >= 0, `not an offset: ${offset}`)
  assert(Number.isSafeInteger(length) && length >= 0, `not a length: ${length}`)
}
