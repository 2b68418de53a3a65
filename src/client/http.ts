import { EverfoldError, isEverfoldError } from '../errors.js'
import { connectionFailed, failureOf, isUnsent } from './failure.js'
import { Patience, type RetryNotice } from './patience.js'

export interface HttpOptions {
  /** Where the service listens, such as `https://backup.example:7070`. */
  readonly url: string
  readonly token?: string
  /** How requests are sent, if not by the global `fetch`. */
  readonly fetch?: typeof fetch
  /** How bodies that lie in several pieces are sent, if not put together, by `fetch`. Answers as `fetch` does, and follows no redirect. */
  readonly sendPieces?: (url: URL, request: PiecesRequest) => Promise<Response>
  /** How long a request is tried again without success. Milliseconds; uploads and reads of disks have their own. */
  readonly patienceMs?: number
  readonly onRetry?: (notice: RetryNotice) => void
  readonly signal?: AbortSignal
}

/** A request whose body lies in several pieces. They must not change before it is answered. */
export interface PiecesRequest {
  readonly method: string
  readonly headers: Headers
  readonly body: readonly Uint8Array[]
  readonly signal?: AbortSignal
}

export interface HttpRequest {
  readonly method?: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE'
  /** With its leading slash, encoded. */
  readonly path: string
  readonly query?: Readonly<Record<string, string | number | undefined>>
  readonly headers?: Readonly<Record<string, string>>
  readonly json?: unknown
  /** In one piece or several. */
  readonly body?: Uint8Array | readonly Uint8Array[]
  /** May it be asked again when nobody knows whether it was done? Default: for GET and HEAD. Or whoever sends it sees to that. */
  readonly repeatable?: boolean | 'by its sender'
  readonly patience?: Patience
  readonly signal?: AbortSignal
}

const PATIENCE_MS = 20_000
/** How long the very first answer may take. */
const MEET_MS = 5000

/** Requests to one service: with its token, tried again where that is safe, failures as the errors that they say. */
export class Http {
  readonly #base: string
  readonly #options: HttpOptions
  #hasMet: boolean

  /** @throws ARGUMENT_INVALID if the address is none */
  constructor(options: HttpOptions) {
    this.#base = baseOf(options.url)
    this.#options = options
    this.#hasMet = options.fetch !== undefined || !('Buffer' in globalThis)
  }

  get url(): string {
    return this.#base
  }

  /** How long work goes on without progress: waits are told to whoever made the client. */
  patience(patienceMs: number, signal?: AbortSignal): Patience {
    return new Patience(patienceMs, this.#options.onRetry, signal ?? this.#options.signal)
  }

  /** @returns the JSON of the answer @throws as {@link send} */
  async json(request: HttpRequest): Promise<unknown> {
    const text = new TextDecoder().decode(await this.bytes(request))
    try {
      return JSON.parse(text)
    } catch (error) {
      throw new EverfoldError(
        'SERVICE_FAILED',
        `${this.#base} does not answer as an Everfold service does.`,
        {
          cause: error,
        },
      )
    }
  }

  /** @returns all of the answer @throws as {@link send} */
  async bytes(request: HttpRequest): Promise<Uint8Array> {
    const patience = request.patience ?? this.patience(this.#options.patienceMs ?? PATIENCE_MS)
    for (;;) {
      const response = await this.send({ ...request, patience })
      try {
        const bytes = new Uint8Array(await response.arrayBuffer())
        patience.progress()
        return bytes
      } catch (error) {
        await this.#again(request, error, false, patience)
      }
    }
  }

  /**
   * Sends a request until it is answered with success.
   * @throws the error that the service answers with, once it is not worth asking again; SERVICE_FAILED if it cannot be reached
   *         for too long
   */
  async send(request: HttpRequest): Promise<Response> {
    const patience = request.patience ?? this.patience(this.#options.patienceMs ?? PATIENCE_MS)
    for (;;) {
      let response: Response
      try {
        await this.#meet(patience.signal)
      } catch (error) {
        await this.#again(request, error, true, patience)
        continue
      }
      try {
        response = await this.#fetch(request, patience)
      } catch (error) {
        await this.#again(request, error, isUnsent(error), patience)
        continue
      }
      if (response.ok) return response
      const failure = await failureOf(response)
      if (failure.again === 'no' || (failure.again === 'unsure' && !isRepeatable(request)))
        throw failure.error
      await patience.wait(failure.error, failure.waitMs)
    }
  }

  /**
   * Node.js 20 (its undici 6.24) never settles the first fetch of a process whose connection is accepted and closed at once, as a tunnel does
   * whose other end is gone: nothing would be left to wait for, and the process would end. So the first is one that can be given up.
   */
  async #meet(signal: AbortSignal | undefined): Promise<void> {
    if (this.#hasMet) return
    const limit = new AbortController()
    const timer = setTimeout(() => limit.abort(new Error(`no answer for ${MEET_MS / 1000} s`)), MEET_MS)
    try {
      const signals = signal === undefined ? [limit.signal] : [limit.signal, signal]
      const response = await fetch(`${this.#base}/healthz`, { signal: AbortSignal.any(signals) })
      await response.arrayBuffer()
      this.#hasMet = true
    } finally {
      clearTimeout(timer)
    }
  }

  /** The connection failed: waits, if the request may be sent again. @throws what it failed with, if not */
  async #again(request: HttpRequest, error: unknown, unsent: boolean, patience: Patience): Promise<void> {
    request.signal?.throwIfAborted()
    patience.signal?.throwIfAborted()
    if (isEverfoldError(error)) throw error
    const failed = connectionFailed(this.#base, error)
    if (unsent || isRepeatable(request)) return patience.wait(failed)
    if (request.repeatable === 'by its sender') throw failed
    throw new EverfoldError(
      'SERVICE_FAILED',
      `${failed.message} Whether it was done is not known: look before you try again.`,
      { cause: error, details: failed.details },
    )
  }

  #fetch(request: HttpRequest, patience: Patience): Promise<Response> {
    const { method = 'GET', path, query = {}, json, body } = request
    const url = new URL(this.#base + path)
    for (const [name, value] of Object.entries(query))
      if (value !== undefined) url.searchParams.set(name, String(value))
    const headers = new Headers(request.headers)
    if (this.#options.token !== undefined) headers.set('Authorization', `Bearer ${this.#options.token}`)
    if (json !== undefined) headers.set('Content-Type', 'application/json')
    const signal = request.signal ?? patience.signal
    const { sendPieces } = this.#options
    if (sendPieces !== undefined && isInPieces(body))
      return sendPieces(url, { method, headers, body, ...(signal === undefined ? {} : { signal }) })
    const content = json === undefined ? (isInPieces(body) ? joined(body) : body) : JSON.stringify(json)
    const send = this.#options.fetch ?? fetch
    return send(url, {
      method,
      headers,
      redirect: 'error',
      ...(content === undefined ? {} : { body: content as Uint8Array<ArrayBuffer> | string }),
      ...(signal === undefined ? {} : { signal }),
    })
  }
}

function isInPieces(body: HttpRequest['body']): body is readonly Uint8Array[] {
  return body !== undefined && !(body instanceof Uint8Array)
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0))
  let at = 0
  for (const piece of pieces) {
    all.set(piece, at)
    at += piece.length
  }
  return all
}

function isRepeatable({ method = 'GET', repeatable }: HttpRequest): boolean {
  return repeatable === undefined ? method === 'GET' || method === 'HEAD' : repeatable === true
}

function baseOf(text: string): string {
  if (URL.canParse(text)) {
    const url = new URL(text)
    if (
      ['http:', 'https:'].includes(url.protocol) &&
      url.search === '' &&
      url.hash === '' &&
      url.username === ''
    )
      return url.href.replace(/\/+$/, '')
  }
  throw new EverfoldError(
    'ARGUMENT_INVALID',
    `"${text}" is no address of a service. Write it like https://backup.example:7070.`,
  )
}
