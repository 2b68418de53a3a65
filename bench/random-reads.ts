import { once } from 'node:events'
import { open } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { KiB } from './image.js'
import { SeededBytes } from './seeded-bytes.js'

export interface RandomReads {
  readonly reads: number
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** CPU time of this process for each: it shares the machine with the service. */
  readonly ownCpuMs: number
}

export const readBytes = 64 * KiB
/** One in so many answers is compared with the image: comparing all would take the service's time. */
const comparedEvery = 16
/** Bytes of an answer's head. */
const headMax = 4 * KiB

interface Wanted {
  readonly url: URL
  readonly token: string
  /** What was backed up. */
  readonly image: string
  readonly diskBytes: number
  readonly seconds: number
  readonly inFlight: number
}

/**
 * Reads of 64 KiB at random, so many at once, each over a connection that stays open. Over bare sockets: an HTTP client takes as much time of the
 * processors as the service does, and so would halve what is measured.
 * @throws Error if an answer is not the range, whole, or has other bytes than the image
 */
export async function readAtRandom(wanted: Wanted): Promise<RandomReads> {
  const random = new SeededBytes('service')
  const blocks = Math.floor(wanted.diskBytes / readBytes)
  const times: number[] = []
  const image = await open(wanted.image)
  const cpu = process.cpuUsage()
  const startMs = performance.now()
  const endMs = startMs + wanted.seconds * 1000
  const reader = async (): Promise<void> => {
    const connection = await Connection.open(wanted)
    const expected = Buffer.alloc(readBytes)
    for (let i = 0; performance.now() < endMs; i++) {
      const offset = random.below(blocks) * readBytes
      const beganMs = performance.now()
      const bytes = await connection.read(offset)
      times.push(performance.now() - beganMs)
      if (i % comparedEvery !== 0) continue
      await image.read(expected, 0, readBytes, offset)
      if (!expected.equals(bytes)) throw new Error(`other bytes than those of the image at ${offset}`)
    }
    connection.close()
  }
  await Promise.all(Array.from({ length: wanted.inFlight }, reader))
  const seconds = (performance.now() - startMs) / 1000
  const { user, system } = process.cpuUsage(cpu)
  await image.close()
  times.sort((a, b) => a - b)
  const at = (share: number): number =>
    times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0
  return {
    reads: times.length,
    perSecond: times.length / seconds,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    ownCpuMs: (user + system) / 1000 / times.length,
  }
}

const HEAD_END = '\r\n\r\n'

interface Asked {
  readonly resolve: (bytes: Buffer) => void
  readonly reject: (error: Error) => void
}

/** Asks for one range after the other. Answers come into the same memory each time. */
class Connection {
  readonly #socket: Socket
  readonly #wanted: Wanted
  readonly #answer: Buffer
  #used = 0
  /** Where the bytes begin in the answer; 0 until its head has come. */
  #bodyAt = 0
  #asked: Asked | undefined

  private constructor(wanted: Wanted) {
    this.#wanted = wanted
    this.#answer = Buffer.alloc(headMax + readBytes)
    const { hostname, port } = wanted.url
    const onread = {
      buffer: () => this.#answer.subarray(this.#used),
      callback: (count: number) => {
        this.#used += count
        this.#look()
        return true
      },
    }
    this.#socket = connect({ host: hostname, port: Number(port), noDelay: true, onread })
    this.#socket.once('error', (error) => this.#fail(error))
    this.#socket.once('close', () => this.#fail(new Error('the service closed the connection')))
  }

  static async open(wanted: Wanted): Promise<Connection> {
    const connection = new Connection(wanted)
    await once(connection.#socket, 'connect')
    return connection
  }

  /** @returns the bytes, until the next call */
  read(offset: number): Promise<Buffer> {
    const { url, token } = this.#wanted
    return new Promise((resolve, reject) => {
      this.#asked = { resolve, reject }
      this.#socket.write(
        `GET ${url.pathname} HTTP/1.1\r\nHost: ${url.host}\r\nAuthorization: Bearer ${token}\r\n` +
          `Range: bytes=${offset}-${offset + readBytes - 1}\r\n\r\n`,
      )
    })
  }

  close(): void {
    this.#asked = undefined
    this.#socket.destroy()
  }

  #look(): void {
    if (this.#bodyAt === 0) {
      const headEnd = this.#answer.subarray(0, Math.min(this.#used, headMax)).indexOf(HEAD_END)
      if (headEnd < 0) return
      this.#bodyAt = headEnd + HEAD_END.length
      const head = this.#answer.toString('latin1', 0, headEnd)
      if (!head.startsWith('HTTP/1.1 206') || !/^content-length: 65536$/im.test(head))
        this.#fail(new Error(`the service answered: ${head}`))
    }
    const end = this.#bodyAt + readBytes
    if (this.#used > end) this.#fail(new Error('more came than was asked for'))
    if (this.#used !== end) return
    this.#asked?.resolve(this.#answer.subarray(this.#bodyAt, end))
    this.#asked = undefined
    // Now: what comes next is read to there as soon as this has returned.
    this.#used = 0
    this.#bodyAt = 0
  }

  #fail(error: Error): void {
    this.#asked?.reject(error)
    this.#asked = undefined
    this.#socket.destroy()
  }
}
