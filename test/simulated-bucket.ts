/** A bucket of an S3-compatible service, as far as leases and small objects go, whose answers are slow, lost, or errors. */

import { Readable } from 'node:stream'
import type { S3Connection, S3Sdk } from '../src/store/s3-client.js'
import type { VirtualProcess, VirtualWorld } from './virtual-time.js'

interface StoredObject {
  readonly body: Buffer
  readonly tag: string
  readonly metadata: Record<string, string>
}

interface Input {
  readonly Key: string
  readonly Body?: Uint8Array
  readonly IfNoneMatch?: string
  readonly Metadata?: Record<string, string>
  readonly Prefix?: string
  readonly StartAfter?: string
  readonly Range?: string
}

/** No request has its effect so long after its connection was given up. */
const LATE_MS_MAX = 14_000
/** A request that its sender does not give up may take so long. */
const SLOW_MS_MAX = 50_000

export interface BucketOptions {
  readonly conditionalPut: boolean
  /** Of requests that are slow, fail, or lose their answers. */
  readonly trouble: number
  readonly slowMsMax?: number
}

export class SimulatedBucket {
  readonly objects = new Map<string, StoredObject>()
  /** Keys of objects that were written over with something else. */
  readonly overwritten: string[] = []
  readonly #world: VirtualWorld
  readonly #options: BucketOptions
  #writes = 0

  constructor(world: VirtualWorld, options: BucketOptions) {
    this.#world = world
    this.#options = options
  }

  connect(sdk: S3Sdk, process: VirtualProcess): S3Connection {
    const client = {
      send: (command: { input: Input }, { abortSignal }: { abortSignal: AbortSignal }) =>
        this.#send(command.constructor.name, command.input, abortSignal, process),
      destroy: () => undefined,
    }
    return { sdk, client: client as unknown as S3Connection['client'] }
  }

  #send(name: string, input: Input, signal: AbortSignal, process: VirtualProcess): Promise<unknown> {
    const world = this.#world
    const { trouble, slowMsMax = SLOW_MS_MAX } = this.#options
    const chance = (share: number): boolean => world.random() < share
    const duration = (): number => (chance(trouble) ? world.random() * slowMsMax : 1 + world.random() * 80)
    return new Promise((resolve, reject) => {
      let abortedAtMs = Infinity
      signal.addEventListener('abort', () => {
        abortedAtMs = world.nowMs
        reject(Object.assign(new Error('aborted'), { name: 'AbortError' }))
      })
      world.after(duration(), undefined, () => {
        if (world.nowMs > abortedAtMs + LATE_MS_MAX) return
        const isRefused = chance(trouble)
        const isLost = chance(trouble)
        let settle: () => void
        try {
          if (isRefused) throw failure('ServiceUnavailable', 503)
          const answer = this.#answer(name, input)
          settle = () => {
            resolve(answer)
          }
        } catch (error) {
          const refusal = error instanceof Error ? error : new Error(String(error))
          settle = () => {
            reject(refusal)
          }
        }
        const cut = (): void => {
          reject(Object.assign(new Error('the connection broke'), { code: 'ECONNRESET' }))
        }
        world.after(duration(), process, isLost ? cut : settle)
      })
    })
  }

  #answer(name: string, input: Input): unknown {
    const found = this.objects.get(input.Key)
    switch (name) {
      case 'PutObjectCommand': {
        if (input.IfNoneMatch === '*' && this.#options.conditionalPut && found !== undefined)
          throw failure('PreconditionFailed', 412)
        const body = Buffer.from(input.Body ?? [])
        if (found?.body.equals(body) === false) this.overwritten.push(input.Key)
        const tag = `"${++this.#writes}"`
        this.objects.set(input.Key, { body, tag, metadata: input.Metadata ?? {} })
        return { ETag: tag }
      }
      case 'GetObjectCommand':
      case 'HeadObjectCommand': {
        if (found === undefined) throw failure(name === 'HeadObjectCommand' ? 'NotFound' : 'NoSuchKey', 404)
        const { body, tag, metadata } = found
        const part = input.Range === undefined ? body : body.subarray(0, 1)
        const stream = Object.assign(Readable.from([part]), {
          transformToString: () => Promise.resolve(body.toString()),
        })
        return {
          Body: stream,
          ContentLength: part.length,
          ...(input.Range !== undefined && { ContentRange: `bytes 0-0/${body.length}` }),
          ETag: tag,
          Metadata: metadata,
        }
      }
      case 'DeleteObjectCommand':
        this.objects.delete(input.Key)
        return {}
      case 'ListObjectsV2Command': {
        const keys = [...this.objects.keys()].filter(
          (key) => key.startsWith(input.Prefix ?? '') && key > (input.StartAfter ?? ''),
        )
        return {
          Contents: keys.sort().map((key) => {
            const { body, tag } = this.objects.get(key) ?? fail()
            return { Key: key, Size: body.length, ETag: tag }
          }),
        }
      }
      default:
        throw new Error(`the simulated bucket knows no ${name}`)
    }
  }
}

function failure(name: string, status: number): Error {
  return Object.assign(new Error(name), { name, $metadata: { httpStatusCode: status } })
}

function fail(): never {
  throw new RangeError('no such object')
}
