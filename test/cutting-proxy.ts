/** A proxy on loopback that cuts connections after random numbers of bytes, and follows a service that is restarted. */

import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import type { SeededBytes } from '../bench/seeded-bytes.js'

export class CuttingProxy {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  /** The port of the service as it is now. */
  target = 0
  /** Connections that were cut. */
  cuts = 0

  private constructor(random: SeededBytes, bytesMax: number) {
    this.#server = createServer((client) => {
      const service = connect(this.target, '127.0.0.1')
      // Every other connection is left alone, so that there is an end.
      let budget = random.below(2) === 0 ? Infinity : 1 + random.below(bytesMax)
      const end = (): void => {
        for (const socket of [client, service]) {
          socket.destroy()
          this.#sockets.delete(socket)
        }
      }
      const count = (piece: Buffer): void => {
        budget -= piece.length
        if (budget > 0) return
        this.cuts++
        end()
      }
      for (const socket of [client, service]) {
        this.#sockets.add(socket)
        socket.on('error', end).on('close', end).on('data', count)
      }
      client.pipe(service).pipe(client)
    })
  }

  static async start(random: SeededBytes, bytesMax: number): Promise<CuttingProxy> {
    const proxy = new CuttingProxy(random, bytesMax)
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve))
    return proxy
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#server.close()
  }
}
