import { once } from 'node:events'
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

interface Wanted {
  readonly url: URL
  readonly token: string
  readonly diskBytes: number
  readonly seconds: number
  readonly inFlight: number
}

/**
 * Reads of 64 KiB at random, so many at once, each over a connection that stays open. Over bare sockets: an HTTP client takes as much time of the
 * processors as the service does, and so would halve what is measured.
 */
export async function readAtRandom(wanted: Wanted): Promise<RandomReads> {
  const random = new SeededBytes('service')
  const blocks = Math.floor(wanted.diskBytes / readBytes)
  const times: number[] = []
  const cpu = process.cpuUsage()
  const startMs = performance.now()
  const endMs = startMs + wanted.seconds * 1000
  const reader = async (): Promise<void> => {
    const { hostname, port } = wanted.url
    const socket = connect({ host: hostname, port: Number(port), noDelay: true })
    await once(socket, 'connect')
    while (performance.now() < endMs) {
      const beganMs = performance.now()
      await readOne(socket, wanted, random.below(blocks) * readBytes)
      times.push(performance.now() - beganMs)
    }
    socket.destroy()
  }
  await Promise.all(Array.from({ length: wanted.inFlight }, reader))
  const seconds = (performance.now() - startMs) / 1000
  const { user, system } = process.cpuUsage(cpu)
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

/** @throws Error if the answer is not the range, whole */
function readOne(socket: Socket, { url, token }: Wanted, offset: number): Promise<void> {
  socket.write(
    `GET ${url.pathname} HTTP/1.1\r\nHost: ${url.host}\r\nAuthorization: Bearer ${token}\r\n` +
      `Range: bytes=${offset}-${offset + readBytes - 1}\r\n\r\n`,
  )
  return new Promise((resolve, reject) => {
    let head: Buffer | undefined
    let left = Infinity
    const end = (error?: Error): void => {
      socket.off('data', onData).off('close', onClose).off('error', end)
      if (error === undefined) resolve()
      else reject(error)
    }
    const onClose = (): void => end(new Error('the service closed the connection'))
    const onData = (bytes: Buffer): void => {
      if (left !== Infinity) left -= bytes.length
      else {
        head = head === undefined ? bytes : Buffer.concat([head, bytes])
        const headEnd = head.indexOf(HEAD_END)
        if (headEnd < 0) return
        const text = head.toString('latin1', 0, headEnd)
        if (!text.startsWith('HTTP/1.1 206') || !/^content-length: 65536$/im.test(text)) left = Number.NaN
        else left = readBytes - (head.length - headEnd - HEAD_END.length)
        if (Number.isNaN(left)) end(new Error(`the service answered: ${text}`))
      }
      if (left === 0) end()
      else if (left < 0) end(new Error('more came than was asked for'))
    }
    socket.on('data', onData).once('close', onClose).once('error', end)
  })
}
