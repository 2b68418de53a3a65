import type { ByteRange } from '../byte-range.js'
import { EverfoldError, isEverfoldError } from '../errors.js'
import type { BackedUp, NewSession, OpenSession, SessionState, StreamedBytes } from './answers.js'
import { HASH_BYTES } from './chunk-names.js'
import type { Encoding } from './cut-batch.js'
import { STREAM_TYPE } from './framed-stream.js'
import type { Http, HttpRequest } from './http.js'
import { PATIENCE_MS_DEFAULT, type Patience } from './patience.js'

const HASHES_TYPE = 'application/vnd.everfold.hashes'
/** Hashes of one request. */
const OFFERS_MAX = 65_536

/** Uploads to a service. */
export class Sessions {
  readonly #http: Http

  constructor(http: Http) {
    this.#http = http
  }

  /** Those that the token may see. */
  async list(): Promise<readonly OpenSession[]> {
    const answer = (await this.#http.json({ path: '/v1/sessions' })) as { sessions: readonly OpenSession[] }
    return answer.sessions
  }

  /**
   * Begins a point of a machine. Asked again, it gives the same session and not another one.
   * @throws CONFLICT, FEED_WITHOUT_BASE, FEED_BASE_UNSURE, TOO_MANY_REQUESTS, and as all requests
   */
  async create(machine: string, request: NewSession, options: SessionOptions = {}): Promise<UploadSession> {
    const state = (await this.#http.json({
      method: 'POST',
      path: `/v1/machines/${encodeURIComponent(machine)}/sessions`,
      headers: { 'Idempotency-Key': randomKey() },
      json: request,
      repeatable: true,
      patience: patienceOf(this.#http, options),
    })) as SessionState
    return new UploadSession(this.#http, options, state)
  }

  /** A session that was begun before. @throws SESSION_UNKNOWN, and as all requests */
  async open(id: string, options: SessionOptions = {}): Promise<UploadSession> {
    const path = `/v1/sessions/${encodeURIComponent(id)}`
    const patience = patienceOf(this.#http, options)
    return new UploadSession(this.#http, options, (await this.#http.json({ path, patience })) as SessionState)
  }
}

export interface SessionOptions {
  /** How long each request is tried again without success. Milliseconds; default: 10 minutes. */
  readonly patienceMs?: number
  readonly signal?: AbortSignal
}

function patienceOf(http: Http, { patienceMs, signal }: SessionOptions): Patience {
  return http.patience(patienceMs ?? PATIENCE_MS_DEFAULT, signal)
}

/** A point on its way to the service. What is answered is durable there. */
export class UploadSession {
  readonly #http: Http
  readonly #options: SessionOptions
  readonly #path: string
  /** As it was when it was begun or opened. */
  readonly begun: SessionState

  constructor(http: Http, options: SessionOptions, begun: SessionState) {
    this.#http = http
    this.#options = options
    this.begun = begun
    this.#path = `/v1/sessions/${encodeURIComponent(begun.session)}`
  }

  get id(): string {
    return this.begun.session
  }

  get chunkSize(): number {
    return this.begun.chunkSize
  }

  /** How the service likes chunks to be compressed. */
  get encoding(): Encoding {
    const { frameSize, level } = this.begun
    return { frameSize, level }
  }

  /** What has arrived by now, and what is missing. */
  async state(): Promise<SessionState> {
    return this.#ask({ path: this.#path })
  }

  /** All ranges of a disk that have arrived. */
  async received(disk: string): Promise<readonly ByteRange[]> {
    return this.#ask({ path: `${this.#diskPath(disk)}/received` })
  }

  /**
   * Asks which chunks the service lacks. Those that it has may be named in streams of this session from now on.
   * @param hashes  n × 32 bytes
   * @returns bitmap, least significant bit first
   */
  async offers(hashes: Uint8Array): Promise<Uint8Array> {
    const lacks = new Uint8Array(Math.ceil(hashes.length / HASH_BYTES / 8))
    for (let at = 0; at < hashes.length; at += OFFERS_MAX * HASH_BYTES) {
      const body = hashes.subarray(at, at + OFFERS_MAX * HASH_BYTES)
      const bitmap = await this.#bytes({
        method: 'POST',
        path: `${this.#path}/offers`,
        headers: { 'Content-Type': HASHES_TYPE },
        body,
        repeatable: true,
      })
      if (bitmap.length !== Math.ceil(body.length / HASH_BYTES / 8))
        throw new EverfoldError('SERVICE_FAILED', `${this.#http.url} does not answer offers as it should.`)
      lacks.set(bitmap, at / HASH_BYTES / 8)
    }
    return lacks
  }

  /**
   * Sends a framed stream: once. What fails may have left a part of it.
   * @throws CHUNK_UNKNOWN, HASH_MISMATCH, SESSION_UNKNOWN, STORE_FULL, SERVICE_FAILED if it is not known what became of it
   */
  async stream(
    disk: string,
    body: Uint8Array | readonly Uint8Array[],
    patience?: Patience,
  ): Promise<StreamedBytes> {
    return this.#ask({
      method: 'POST',
      path: `${this.#diskPath(disk)}/stream`,
      headers: { 'Content-Type': STREAM_TYPE },
      body,
      repeatable: 'by its sender',
      ...(patience === undefined ? {} : { patience }),
    })
  }

  /** Sends raw bytes of a disk from `offset` on. */
  async data(disk: string, offset: number, body: Uint8Array): Promise<{ readonly receivedBytes: number }> {
    return this.#ask({
      method: 'PUT',
      path: `${this.#diskPath(disk)}/data`,
      query: { offset },
      headers: { 'Content-Type': 'application/octet-stream' },
      body,
      repeatable: true,
    })
  }

  /**
   * Makes the point. Asked again, also after a restart of the service, it gives the same point.
   * @param waits  until the machine's saved retention policy was applied, to be told what it did
   * @throws DISK_INCOMPLETE, CONFLICT, and as all requests
   */
  async commit(waits: { readonly forRetention?: boolean } = {}): Promise<BackedUp> {
    const patience = patienceOf(this.#http, this.#options)
    const request: HttpRequest = {
      method: 'POST',
      path: `${this.#path}/commit`,
      query: { retention: waits.forRetention === true ? 'wait' : undefined },
      repeatable: true,
      patience,
    }
    for (;;) {
      try {
        return await this.#ask(request)
      } catch (error) {
        // The service has not yet noticed that a connection of ours broke.
        if (!isEverfoldError(error, 'SESSION_BUSY')) throw error
        await patience.wait(error)
      }
    }
  }

  /** Gives the session up, and its space back. */
  async drop(): Promise<void> {
    // Whoever gives up has had enough of waiting.
    const patience = this.#http.patience(0)
    const request: HttpRequest = { method: 'DELETE', path: this.#path, repeatable: true, patience }
    await (await this.#http.send(request)).arrayBuffer()
  }

  #diskPath(disk: string): string {
    return `${this.#path}/disks/${encodeURIComponent(disk)}`
  }

  async #ask<T>(request: HttpRequest): Promise<T> {
    return (await this.#http.json({ patience: patienceOf(this.#http, this.#options), ...request })) as T
  }

  async #bytes(request: HttpRequest): Promise<Uint8Array> {
    return this.#http.bytes({ patience: patienceOf(this.#http, this.#options), ...request })
  }
}

function randomKey(): string {
  const random = crypto.getRandomValues(new Uint8Array(16))
  return Array.from(random, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
