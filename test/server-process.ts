/** The real service in a real process, and requests to it. */

import type { ChildProcess } from 'node:child_process'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { ERROR_CLASSES, type ErrorCode } from '../src/errors.js'
import { type Json, start } from './everfold.js'
import type { Workspace } from './workspace.js'

export class Served {
  readonly url: string
  readonly #child: ChildProcess
  readonly #output: { stdout: string; stderr: string }

  private constructor(child: ChildProcess, url: string, output: { stdout: string; stderr: string }) {
    this.#child = child
    this.url = url
    this.#output = output
  }

  static async start(at: Pick<Workspace, 'options'>, ...args: readonly string[]): Promise<Served> {
    const child = start(['serve', '--listen', '127.0.0.1:0', ...args], at.options)
    const output = { stdout: '', stderr: '' }
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (output.stdout += text))
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (output.stderr += text))
    while (!output.stdout.includes('\n')) {
      if (child.exitCode !== null) throw new Error(`the service did not start: ${output.stderr}`)
      await sleep(10)
    }
    const [, url = ''] = /listens on (\S+)/.exec(output.stdout) ?? []
    return new Served(child, url, output)
  }

  get stdout(): string {
    return this.#output.stdout
  }

  get stderr(): string {
    return this.#output.stderr
  }

  get port(): number {
    return Number(new URL(this.url).port)
  }

  /** The token that the first start prints. */
  get adminToken(): string | undefined {
    return /^admin token: (\S+)$/m.exec(this.stderr)?.[1]
  }

  /** The lines of the log about requests. */
  get requests(): Json[] {
    return this.stderr
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line))
      .filter((line) => line.msg === 'request')
  }

  fetch(path: string, token?: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers)
    if (token !== undefined) headers.set('Authorization', `Bearer ${token}`)
    return fetch(this.url + path, { ...init, headers })
  }

  /** Expects success. @returns the JSON of the answer */
  async ok(path: string, token: string, init?: RequestInit): Promise<Json> {
    const response = await this.fetch(path, token, init)
    const text = await response.text()
    expect(response.ok, `${path}: ${response.status} ${text}`).toBe(true)
    return JSON.parse(text)
  }

  post(path: string, token: string, body: unknown): Promise<Json> {
    const headers = { 'Content-Type': 'application/json' }
    return this.ok(path, token, { method: 'POST', headers, body: JSON.stringify(body) })
  }

  /** Expects a problem with this code, and its status. */
  async fails(code: ErrorCode, path: string, token?: string, init?: RequestInit): Promise<Json> {
    return problem(code, await this.fetch(path, token, init), path)
  }

  /** Sends bytes as they are. @returns all that is answered until the connection ends */
  async raw(text: string | Uint8Array): Promise<string> {
    const socket = connect(this.port, '127.0.0.1')
    let answer = ''
    socket.setEncoding('latin1').on('data', (part: string) => (answer += part))
    const closed = new Promise((resolve) => socket.once('close', resolve))
    socket.once('error', () => undefined)
    socket.write(text)
    await closed
    return answer
  }

  get exitCode(): number | null {
    return this.#child.exitCode
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Told to stop, it ends by itself. @returns its exit status */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.signal(signal)
    return this.ended()
  }

  async ended(): Promise<number | null> {
    while (this.#child.exitCode === null && this.#child.signalCode === null) await sleep(10)
    return this.#child.exitCode
  }
}

/** Expects an answer to be a problem with this code, as RFC 9457 has it, with nothing of the inside in it. */
export async function problem(code: ErrorCode, response: Response, what = ''): Promise<Json> {
  const text = await response.text()
  const shown = `${what}: ${response.status} ${text}`
  expect(response.headers.get('content-type'), shown).toMatch(/^application\/problem\+json/)
  const json = JSON.parse(text)
  expect(json, shown).toMatchObject({ code, status: ERROR_CLASSES[code].http, type: 'about:blank' })
  expect(response.status, shown).toBe(ERROR_CLASSES[code].http)
  expect(text, shown).not.toMatch(/node_modules|\.js:\d|\bat \w+ \(/)
  return json
}
