/** A way to the service that breaks: connections are cut after random numbers of bytes, or refused while it is gone. */

import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { SeededBytes } from '../bench/seeded-bytes.js'

export class BreakingProxy {
  /** Where connections go; undefined: nowhere, they are closed. */
  target: number | undefined
  /** Bytes after which a connection is cut, at random from 1 to this, both ways together; undefined: never. */
  cutAfterMax: number | undefined
  /** Bytes that clients sent, and connections that were cut. */
  sentBytes = 0
  cuts = 0
  /** Told what a client sends, before it is passed on. */
  onSent: (bytes: Buffer, socket: Socket) => void = () => undefined
  /** Told what is answered. @returns false to cut the connection instead */
  onAnswer: (bytes: Buffer, socket: Socket) => boolean = () => true
  readonly #server: Server
  readonly #random: SeededBytes
  readonly #sockets = new Set<Socket>()

  private constructor(server: Server, seed: string) {
    this.#server = server
    this.#random = new SeededBytes(seed)
    server.on('connection', (socket) => this.#connected(socket))
  }

  static async start(seed: string, target?: number): Promise<BreakingProxy> {
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const proxy = new BreakingProxy(server, seed)
    proxy.target = target
    return proxy
  }

  get url(): string {
    const address = this.#server.address()
    if (address === null || typeof address === 'string') throw new Error('the proxy does not listen')
    return `http://127.0.0.1:${address.port}`
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #connected(client: Socket): void {
    if (this.target === undefined) {
      client.destroy()
      return
    }
    const service = connect(this.target, '127.0.0.1')
    let left = this.cutAfterMax === undefined ? Infinity : 1 + this.#random.below(this.cutAfterMax)
    const cut = (): void => {
      client.destroy()
      service.destroy()
    }
    const pass = (bytes: Buffer, to: Socket, from: Socket): void => {
      const whole = bytes.length < left
      const part = whole ? bytes : bytes.subarray(0, left)
      left -= part.length
      if (!to.write(part)) {
        from.pause()
        to.once('drain', () => from.resume())
      }
      if (whole) return
      this.cuts++
      cut()
    }
    client.on('data', (bytes) => {
      this.sentBytes += bytes.length
      this.onSent(bytes, client)
      pass(bytes, service, client)
    })
    service.on('data', (bytes) => {
      if (this.onAnswer(bytes, client)) pass(bytes, client, service)
      else cut()
    })
    for (const socket of [client, service]) {
      this.#sockets.add(socket)
      socket.on('error', cut).on('close', () => {
        this.#sockets.delete(socket)
        cut()
      })
    }
    client.on('end', () => service.end())
    service.on('end', () => client.end())
  }
}
