/*
 * A proxy on loopback between a client and a real S3-compatible server: as slow as a line that is to be tried, and with faults at
 * chosen requests. What it hands on, it hands on as it is (`Host` too, which is signed).
 */

import { once } from 'node:events'
import {
  createServer,
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Readable, Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { KiB } from './image.js'

/** What a request is answered with instead of what the server says. */
export type Fault =
  /** The server never sees it. Without a code: an answer without a body, such as 202. */
  | { readonly kind: 'status'; readonly status: number; readonly code: string; readonly message?: string }
  /** The connection breaks: before the server sees anything, in the middle of the request's body, after the effect, in the answer's body. */
  | { readonly kind: 'reset'; readonly when: 'before' | 'request-body' | 'after-effect' | 'answer-body' }
  /** The connection ends in order, in the middle of the answer's body. */
  | { readonly kind: 'cut' }
  /** Half of the answer's body, with a length that fits. */
  | { readonly kind: 'short' }
  /** A wrong bit in each KiB of the answer's body: whatever range is asked for, nothing that is longer gets through. */
  | { readonly kind: 'flip' }
  /** Nothing comes any more: before the server sees anything, or in the answer's body. */
  | { readonly kind: 'stall'; readonly when: 'before' | 'answer-body' }
  /** Another body. */
  | { readonly kind: 'rewrite'; readonly rewrite: (body: string) => string }

export interface ProxiedRequest {
  readonly method: string
  /** With the query, as it came. */
  readonly url: string
  /** The object's key, with its prefix; empty for the bucket. */
  readonly key: string
  readonly headers: IncomingHttpHeaders
}

export interface Line {
  /** There and back. */
  readonly roundTripMs: number
  /** In each direction, over all connections together. */
  readonly bytesPerSecond: number
}

/** A fault for this request, or undefined. Asked when its head has come. */
export type ChooseFault = (request: ProxiedRequest) => Fault | undefined

const PIECE_BYTES = 16 * 1024

export interface ProxyFigures {
  readonly get: number
  readonly put: number
  readonly list: number
  readonly delete: number
  readonly other: number
  readonly bytesUp: number
  readonly bytesDown: number
}

function kindOf({ method, url }: ProxiedRequest): 'get' | 'put' | 'list' | 'delete' | 'other' {
  if (method === 'DELETE' || /[?&]delete\b/.test(url)) return 'delete'
  if (method === 'PUT' || method === 'POST') return 'put'
  if (url.includes('list-type=2')) return 'list'
  return /\?(?:versioning|lifecycle|object-lock)/.test(url) ? 'other' : 'get'
}

export class S3Proxy {
  readonly url: string
  /** May be changed at any time. */
  fault: ChooseFault | undefined
  line: Line | undefined
  /** What came so far, and bytes of bodies that were handed on: see {@link takeFigures}. */
  readonly requests: ProxiedRequest[] = []
  readonly #server: Server
  readonly #target: URL
  readonly #up = new Lane()
  readonly #down = new Lane()

  private constructor(server: Server, target: URL) {
    this.#server = server
    this.#target = target
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  /** @param target  the real server's endpoint */
  static async start(target: string): Promise<S3Proxy> {
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const proxy = new S3Proxy(server, new URL(target))
    const take = (request: IncomingMessage, answer: ServerResponse): void => {
      proxy.#serve(request, answer).catch(() => answer.socket?.destroy())
    }
    server.on('request', take)
    server.on('checkContinue', (request: IncomingMessage, answer: ServerResponse) => {
      setTimeout(() => {
        answer.writeContinue()
        take(request, answer)
      }, proxy.line?.roundTripMs ?? 0)
    })
    return proxy
  }

  /** Requests and bytes since the last call, as services charge for them. */
  takeFigures(): ProxyFigures {
    const figures = { get: 0, put: 0, list: 0, delete: 0, other: 0 }
    for (const request of this.requests.splice(0)) figures[kindOf(request)]++
    return { ...figures, bytesUp: this.#up.takeBytes(), bytesDown: this.#down.takeBytes() }
  }

  async stop(): Promise<void> {
    this.#server.close()
    this.#server.closeAllConnections()
  }

  async #serve(request: IncomingMessage, answer: ServerResponse): Promise<void> {
    const { method = '', url = '', headers } = request
    const [, , key = ''] = /^\/([^/?]*)\/?([^?]*)/u.exec(url) ?? []
    const seen = { method, url, key: decodeURIComponent(key), headers }
    this.requests.push(seen)
    const fault = this.fault?.(seen)
    if (fault?.kind === 'reset' && fault.when === 'before') {
      request.socket.resetAndDestroy()
      return
    }
    if (fault?.kind === 'stall' && fault.when === 'before') return
    if (fault?.kind === 'status') {
      await drain(request)
      sayStatus(answer, fault)
      return
    }
    const upstream = httpRequest(this.#target, {
      method,
      path: url,
      headers: rawHeaders(request),
      setHost: false,
    })
    const answered = once(upstream, 'response') as Promise<[IncomingMessage]>
    answered.catch(() => undefined)
    if (fault?.kind === 'reset' && fault.when === 'request-body') {
      await passHalf(request, upstream, Number(headers['content-length'] ?? 0))
      upstream.destroy()
      request.socket.resetAndDestroy()
      return
    }
    await this.#pass(request, upstream, this.#up)
    upstream.end()
    const [response] = await answered
    if (fault?.kind === 'reset' && fault.when === 'after-effect') {
      await drain(response)
      request.socket.resetAndDestroy()
      return
    }
    if (fault !== undefined) {
      await spoil(fault, response, request, answer)
      return
    }
    answer.writeHead(response.statusCode ?? 502, response.rawHeaders)
    await this.#pass(response, answer, this.#down)
    answer.end()
  }

  /** Hands bytes on at the line's pace, and in order. */
  async #pass(from: Readable, to: Writable, lane: Lane): Promise<void> {
    const { line } = this
    const halfMs = (line?.roundTripMs ?? 0) / 2
    // A head alone takes its time, too.
    let last = line === undefined ? Promise.resolve() : sleep(halfMs)
    for await (const chunk of from as AsyncIterable<Buffer>) {
      lane.count(chunk.length)
      if (line === undefined) {
        if (!to.write(chunk)) await drained(to)
        continue
      }
      for (let at = 0; at < chunk.length; at += PIECE_BYTES) {
        const piece = chunk.subarray(at, at + PIECE_BYTES)
        await lane.pass(piece.length, line.bytesPerSecond)
        last = sleep(halfMs).then(() => {
          to.write(piece)
        })
      }
    }
    await last
  }
}

/** One direction of the line: who comes while it is busy waits for its turn. */
class Lane {
  #freeAt = 0
  #bytes = 0

  count(bytes: number): void {
    this.#bytes += bytes
  }

  takeBytes(): number {
    const bytes = this.#bytes
    this.#bytes = 0
    return bytes
  }

  async pass(bytes: number, bytesPerSecond: number): Promise<void> {
    const now = performance.now()
    this.#freeAt = Math.max(now, this.#freeAt) + (bytes / bytesPerSecond) * 1000
    // Timers are coarse: short waits add up until one is worth it.
    if (this.#freeAt - now > 2) await sleep(this.#freeAt - now)
  }
}

async function spoil(
  fault: Fault,
  response: IncomingMessage,
  request: IncomingMessage,
  answer: ServerResponse,
): Promise<void> {
  const body = await drain(response)
  const half = Math.floor(body.length / 2)
  const head = (bytes: number): void => {
    const headers = { ...response.headers, 'content-length': String(bytes) }
    delete headers['transfer-encoding']
    answer.writeHead(response.statusCode ?? 502, headers)
  }
  switch (fault.kind) {
    case 'rewrite': {
      const other = Buffer.from(fault.rewrite(body.toString()))
      head(other.length)
      answer.end(other)
      return
    }
    case 'flip':
      head(body.length)
      for (let at = half % KiB; at < body.length; at += KiB) body[at] = (body[at] ?? 0) ^ 1
      answer.end(body)
      return
    case 'short':
      head(half)
      answer.end(body.subarray(0, half))
      return
    default:
      head(body.length)
      await new Promise<void>((resolve) => answer.write(body.subarray(0, half), () => resolve()))
      // Half of nothing is nothing: then the head alone is what came.
      if (fault.kind === 'cut') request.socket.end()
      else if (fault.kind === 'reset') request.socket.resetAndDestroy()
  }
}

function sayStatus(
  answer: ServerResponse,
  { status, code, message = 'As the test wants it.' }: Extract<Fault, { kind: 'status' }>,
): void {
  const body =
    code === ''
      ? ''
      : `<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>${code}</Code><Message>${message}</Message><RequestId>tx0</RequestId></Error>`
  answer.writeHead(status, { 'content-type': 'application/xml', 'content-length': Buffer.byteLength(body) })
  answer.end(answer.req.method === 'HEAD' ? undefined : body)
}

function rawHeaders(request: IncomingMessage): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = {}
  for (const [name, values] of Object.entries(request.headersDistinct))
    if (values !== undefined && name !== 'expect')
      headers[name] = values.length === 1 ? (values[0] ?? '') : values
  return headers
}

async function drain(from: Readable): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of from as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}

async function passHalf(from: Readable, to: Writable, bytes: number): Promise<void> {
  let passed = 0
  for await (const chunk of from as AsyncIterable<Buffer>) {
    passed += chunk.length
    if (passed > bytes / 2) return
    to.write(chunk)
  }
}

/** Until more can be written, or nobody takes it any more. */
async function drained(to: Writable): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = (): void => {
      to.off('drain', done).off('close', done)
      resolve()
    }
    to.on('drain', done).on('close', done)
  })
}
