import { EverfoldError, isEverfoldError } from '../errors.js'
import { connectionFailed, failureOf, isUnsent } from './failure.js'
import { Patience, type RetryNotice } from './patience.js'

export interface HttpOptions {
  /** Where the service listens, such as `https://backup.example:7070`. */
  readonly url: string
  readonly token?: string
  /** How requests are sent, if not by the global `fetch`. */
  readonly fetch?: typeof fetch
  /** How long a request is tried again without success. Milliseconds; uploads and reads of disks have their own. */
  readonly patienceMs?: number
  readonly onRetry?: (notice: RetryNotice) => void
  readonly signal?: AbortSignal
}

export interface HttpRequest {
  readonly method?: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE'
  /** With its leading slash, encoded. */
  readonly path: string
  readonly query?: Readonly<Record<string, string | number | undefined>>
  readonly headers?: Readonly<Record<string, string>>
  readonly json?: unknown
  readonly body?: Uint8Array
  /** May it be asked again when nobody knows whether it was done? Default: for GET and HEAD. */
  readonly repeatable?: boolean
  readonly patience?: Patience
  readonly signal?: AbortSignal
}

const PATIENCE_MS = 20_000

/** Requests to one service: with its token, tried again where that is safe, failures as the errors that they say. */
export class Http {
  readonly #base: string
  readonly #options: HttpOptions

  /** @throws ARGUMENT_INVALID if the address is none */
  constructor(options: HttpOptions) {
    this.#base = baseOf(options.url)
    this.#options = options
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
    const patience = request.patience ?? this.patience(this.#options.patienceMs ?? PATIENCE_MS)
    for (;;) {
      const response = await this.send({ ...request, patience })
      try {
        const text = await response.text()
        patience.progress()
        return JSON.parse(text)
      } catch (error) {
        if (error instanceof SyntaxError)
          throw new EverfoldError(
            'SERVICE_FAILED',
            `${this.#base} does not answer as an Everfold service does.`,
            { cause: error },
          )
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

  /** The connection failed: waits, if the request may be sent again. @throws what it failed with, if not */
  async #again(request: HttpRequest, error: unknown, unsent: boolean, patience: Patience): Promise<void> {
    request.signal?.throwIfAborted()
    patience.signal?.throwIfAborted()
    if (isEverfoldError(error)) throw error
    const failed = connectionFailed(this.#base, error)
    if (unsent || isRepeatable(request)) return patience.wait(failed)
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
    const content = json === undefined ? body : JSON.stringify(json)
    const signal = request.signal ?? patience.signal
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

function isRepeatable({ method = 'GET', repeatable }: HttpRequest): boolean {
  return repeatable ?? (method === 'GET' || method === 'HEAD')
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
