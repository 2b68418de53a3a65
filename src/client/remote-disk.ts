import type { ByteRange } from '../byte-range.js'
import { EverfoldError, isEverfoldError } from '../errors.js'
import { inOrder } from '../in-order.js'
import type { Extent } from './answers.js'
import { connectionFailed } from './failure.js'
import type { Http } from './http.js'
import { partsOf } from './parts-of.js'
import { PATIENCE_MS_DEFAULT, type Patience } from './patience.js'

export interface ReadOptions {
  /** Requests at once. */
  readonly parallel?: number
  /** How long to go on without a byte. */
  readonly patienceMs?: number
  readonly signal?: AbortSignal
}

/** Bytes that one request asks for at most: what has to be asked again after a broken connection, and what memory holds. */
const RANGE_BYTES_MAX = 4 * 1024 * 1024
/** A gap up to this size is read along: a request of its own costs more. */
const GAP_BYTES_MAX = 128 * 1024
const PARALLEL_DEFAULT = 6
const EXTENTS_OF_A_PAGE = 50_000

/** A disk at a point, as the service has it. What it holds never changes. */
export class RemoteDisk {
  readonly #http: Http
  readonly #path: string
  readonly #etag: string
  readonly sizeBytes: number

  private constructor(http: Http, path: string, etag: string, sizeBytes: number) {
    this.#http = http
    this.#path = path
    this.#etag = etag
    this.sizeBytes = sizeBytes
  }

  /** @throws MACHINE_UNKNOWN, POINT_UNKNOWN, DISK_UNKNOWN, and as all requests */
  static async open(http: Http, machine: string, point: string, disk: string): Promise<RemoteDisk> {
    const path = `/v1/machines/${encodeURIComponent(machine)}/points/${encodeURIComponent(point)}/disks/${encodeURIComponent(disk)}`
    let response: Response
    try {
      // Not HEAD: what is wrong is said in the body of an answer.
      response = await http.send({ path: `${path}/raw`, headers: { Range: 'bytes=0-0' } })
    } catch (error) {
      if (isEverfoldError(error, 'RANGE_UNSATISFIABLE')) return new RemoteDisk(http, path, '', 0)
      throw error
    }
    await response.arrayBuffer()
    const etag = response.headers.get('ETag')
    const whole = /^bytes \d+-\d+\/(\d+)$/.exec(response.headers.get('Content-Range') ?? '')?.[1]
    const sizeBytes = Number(whole ?? response.headers.get('Content-Length') ?? Number.NaN)
    if (etag === null || !Number.isSafeInteger(sizeBytes))
      throw new EverfoldError(
        'SERVICE_FAILED',
        `${http.url} does not send disks as an Everfold service does.`,
      )
    return new RemoteDisk(http, path, etag, sizeBytes)
  }

  /**
   * What holds data and what zeros, without gaps; with `since`, what may differ from that point.
   * @throws POINT_UNKNOWN, and as all requests
   */
  async *extents(since?: string): AsyncGenerator<Extent> {
    for (let offset = 0; ; ) {
      const query = { since, offset, limit: EXTENTS_OF_A_PAGE }
      const page = (await this.#http.json({ path: `${this.#path}/extents`, query })) as readonly Extent[]
      yield* page
      const last = page.at(-1)
      if (last === undefined || page.length < EXTENTS_OF_A_PAGE) return
      offset = last.offset + last.length
    }
  }

  /**
   * Reads ranges side by side and gives what they hold, piece by piece, in order. Memory: about `parallel` × 4 MiB.
   * @param ranges  sorted, apart
   * @throws DATA_DAMAGED, CONFLICT if the disk is no longer the one that was opened, and as all requests
   */
  async *read(
    ranges: Iterable<ByteRange> | AsyncIterable<ByteRange>,
    options: ReadOptions = {},
  ): AsyncGenerator<{ readonly offset: number; readonly bytes: Uint8Array }> {
    const patience = this.#http.patience(options.patienceMs ?? PATIENCE_MS_DEFAULT, options.signal)
    const parallel = options.parallel ?? PARALLEL_DEFAULT
    const requests = inOrder(requestsFor(ranges), parallel, async ({ range, pieces }) => {
      const bytes = new Uint8Array(range.length)
      await this.#readRange(range, bytes, patience)
      return pieces.map(({ offset, length }) => {
        const from = offset - range.offset
        return { offset, bytes: bytes.subarray(from, from + length) }
      })
    })
    for await (const pieces of requests) yield* pieces
  }

  /** Fills `into`; goes on where a broken connection stopped. */
  async #readRange(range: ByteRange, into: Uint8Array, patience: Patience): Promise<void> {
    let done = 0
    while (done < range.length) {
      const response = await this.#ask(range.offset + done, range.length - done, patience)
      try {
        const { body } = response
        if (body === null) continue
        for await (const part of partsOf(body)) {
          if (done + part.length > into.length) throw this.#wrong('more bytes than were asked for')
          into.set(part, done)
          done += part.length
          patience.progress()
        }
        if (done < range.length) throw new Error('the answer ended too early')
      } catch (error) {
        patience.signal?.throwIfAborted()
        if (error instanceof EverfoldError) throw error
        // A damaged disk is cut off in the middle of an answer: the next one, which begins there, says so.
        await patience.wait(connectionFailed(this.#http.url, error))
      }
    }
  }

  async #ask(offset: number, length: number, patience: Patience): Promise<Response> {
    const range = `bytes=${offset}-${offset + length - 1}`
    const headers = { Range: range, 'If-Range': this.#etag }
    const response = await this.#http.send({ path: `${this.#path}/raw`, headers, patience })
    const given = response.headers.get('Content-Range')
    const same = response.headers.get('ETag') === this.#etag
    if (response.status === 206 && same && given === `bytes ${range.slice(6)}/${this.sizeBytes}`)
      return response
    await response.body?.cancel()
    if (!same)
      throw new EverfoldError(
        'CONFLICT',
        'The point is no longer the one that was asked for first. Try again.',
      )
    throw this.#wrong(`the status ${response.status} and the range ${given ?? 'of nothing'} to ${range}`)
  }

  #wrong(what: string): EverfoldError {
    return new EverfoldError('SERVICE_FAILED', `${this.#http.url} answered with ${what}.`)
  }
}

/** Joins neighbours and cuts what is long: one request each, and which of its bytes are wanted. */
async function* requestsFor(
  ranges: Iterable<ByteRange> | AsyncIterable<ByteRange>,
): AsyncGenerator<{ readonly range: ByteRange; readonly pieces: readonly ByteRange[] }> {
  let pieces: ByteRange[] = []
  const request = (): { readonly range: ByteRange; readonly pieces: readonly ByteRange[] } => {
    const offset = pieces[0]?.offset ?? 0
    const last = pieces.at(-1)
    const range = { offset, length: (last?.offset ?? 0) + (last?.length ?? 0) - offset }
    const whole = { range, pieces }
    pieces = []
    return whole
  }
  for await (const { offset, length } of ranges) {
    for (let at = offset; at < offset + length; ) {
      const first = pieces[0]
      const last = pieces.at(-1)
      if (first !== undefined && last !== undefined) {
        const room = first.offset + RANGE_BYTES_MAX - at
        if (at - (last.offset + last.length) > GAP_BYTES_MAX || room <= 0) yield request()
      }
      const start = pieces[0]?.offset ?? at
      const take = Math.min(offset + length - at, start + RANGE_BYTES_MAX - at)
      pieces.push({ offset: at, length: take })
      at += take
    }
  }
  if (pieces.length > 0) yield request()
}
