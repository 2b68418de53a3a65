/** Uploads to the real service: requests, and what is expected of them. */

import { execFile } from 'node:child_process'
import { connect } from 'node:net'
import { promisify } from 'node:util'
import { expect } from 'vitest'
import type { Json } from './everfold.js'
import type { Served } from './server-process.js'
import { expectSame } from './workspace.js'

const run = promisify(execFile)

/** A client of uploads with one token. */
export class Uploader {
  readonly served: Served
  readonly token: string

  constructor(served: Served, token: string) {
    this.served = served
    this.token = token
  }

  /** Begins a session. */
  begin(machine: string, request: Json): Promise<Json> {
    return this.served.post(`/v1/machines/${machine}/sessions`, this.token, request)
  }

  get(session: string): Promise<Json> {
    return this.served.ok(`/v1/sessions/${session}`, this.token)
  }

  /** Puts bytes at an offset; they are durable then. */
  async put(session: string, disk: string, offset: number, bytes: Uint8Array): Promise<void> {
    const path = `/v1/sessions/${session}/disks/${disk}/data?offset=${offset}`
    const answer = await this.served.ok(path, this.token, { method: 'PUT', body: Buffer.from(bytes) })
    expect(answer).toEqual({ receivedBytes: bytes.length })
  }

  commit(session: string): Promise<Json> {
    return this.served.ok(`/v1/sessions/${session}/commit`, this.token, { method: 'POST' })
  }

  drop(session: string): Promise<Json> {
    return this.served.ok(`/v1/sessions/${session}`, this.token, { method: 'DELETE' })
  }

  /** The real curl. @returns the JSON that it is answered */
  async curl(path: string, ...args: readonly string[]): Promise<Json> {
    const head = ['-sS', '--max-time', '100', '-H', `Authorization: Bearer ${this.token}`]
    return JSON.parse((await run('curl', [...head, ...args, this.served.url + path])).stdout)
  }

  /** Expects that a point's disk is these bytes, read through the service. */
  async expectDisk(machine: string, point: string, bytes: Uint8Array, disk = 'vda'): Promise<void> {
    const path = `/v1/machines/${machine}/points/${point}/disks/${disk}/raw`
    const response = await this.served.fetch(path, this.token)
    expectSame(Buffer.from(await response.arrayBuffer()), bytes, `${disk} of ${machine} at ${point}`)
  }

  /** Begins a request with a body, sends so much of it, and cuts the connection once it was sent. */
  async cutOff(method: string, path: string, bytes: Uint8Array, sent: number, type?: string): Promise<void> {
    const socket = connect(this.served.port, '127.0.0.1')
    socket.once('error', () => undefined)
    const head = [
      `${method} ${path} HTTP/1.1`,
      'Host: x',
      `Authorization: Bearer ${this.token}`,
      `Content-Length: ${bytes.length}`,
      ...(type === undefined ? [] : [`Content-Type: ${type}`]),
    ]
    socket.write(`${head.join('\r\n')}\r\n\r\n`)
    await new Promise<void>((resolve) => {
      socket.once('close', () => resolve())
      socket.write(bytes.subarray(0, sent), () => socket.end(() => resolve()))
    })
    socket.destroy()
  }
}
