/** Told to stop, the service stops: whatever its clients do, and in the end also if its store no longer answers. */

import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { MIB, noise } from './disk-bytes.js'
import { ended, start } from './everfold.js'
import { Served } from './server-process.js'
import { Workspace } from './workspace.js'

/** Answers are cut soon; the deadline is far away, so that what hangs is seen by the exit status of a slow machine, too. */
const PATIENT = 'stop:\n  answers: 1s\n  deadline: 10min\n'
const RAW = '/v1/machines/m/points/latest/disks/vda/raw'

let at: Workspace
let drips: NodeJS.Timeout[]
let sockets: Socket[]

beforeEach(async () => {
  at = await Workspace.make()
  drips = []
  sockets = []
})
afterEach(async () => {
  for (const drip of drips) clearInterval(drip)
  for (const socket of sockets) socket.destroy()
  await at.remove()
})

function open(port: number): Socket {
  const socket = connect(port, '127.0.0.1').on('error', () => undefined)
  sockets.push(socket)
  return socket
}

/** Sends `first`, and then a little again and again, whatever is answered: it never ends its side. */
function dripping(port: number, first: string, again: string): Socket {
  const socket = open(port)
  socket.write(first)
  drips.push(setInterval(() => socket.writable && socket.write(again), 100))
  return socket.resume()
}

/** Sends as fast as it is taken, for ever. */
function pouring(port: number, first: string, again: string): Socket {
  const socket = open(port)
  const pour = (): void => {
    while (socket.writable && socket.write(again));
  }
  socket.on('drain', pour).write(first)
  pour()
  return socket.resume()
}

/** @returns once something was answered, of which no more is read */
async function unread(port: number, request: string): Promise<Socket> {
  const socket = open(port)
  socket.write(request)
  await once(socket, 'readable')
  return socket
}

/** A connection that was taken: the service has answered one that came after it. */
async function untilTaken(service: Served): Promise<void> {
  await service.fetch('/healthz')
}

describe('a service that is told to stop', () => {
  it('ends well in its time, with clients that drip, pour, do not read, or say nothing', async () => {
    await at.write('disk', noise('disk', 32 * MIB))
    await at.ok('backup', 'm', 'vda=disk')
    await at.write('everfold.yaml', PATIENT)
    const service = await Served.start(at, '--config', 'everfold.yaml')
    const { port } = service
    const token = service.adminToken ?? ''
    const head = `Host: x\r\nAuthorization: Bearer ${token}\r\n`
    const session = await service.post('/v1/machines/m/sessions', token, {
      disks: ['a', 'b', 'c'].map((id) => ({ id, sizeBytes: 2 ** 40 })),
    })
    const data = (disk: string): string =>
      `PUT /v1/sessions/${session.session}/disks/${disk}/data?offset=0 HTTP/1.1\r\n${head}Content-Type: application/octet-stream\r\n`
    const { id: job } = await service.post('/v1/jobs', token, { kind: 'gc', rounds: 100 })

    open(port)
    dripping(port, 'GET /healthz HTTP/1.1\r\nHost: x\r\n', 'X-A: b\r\n')
    dripping(port, 'no HTTP at all\r\n\r\n', 'nor this\r\n')
    dripping(port, `GET ${RAW} HTTP/1.1\r\nAuthorization: Bearer wrong\r\nHost: x\r\n\r\n`, 'x')
    const json = `${head}Content-Type: application/json\r\nContent-Length: 60000\r\n\r\n`
    dripping(port, `POST /v1/machines/m/fold HTTP/1.1\r\n${json}`, ' ')
    dripping(port, `${data('a')}Content-Length: 1000000\r\n\r\n`, 'x')
    const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`
    pouring(port, `${data('b')}Transfer-Encoding: chunked\r\n\r\n`, chunk)
    // Refused at once; the client pays no heed.
    pouring(port, `${data('none')}Transfer-Encoding: chunked\r\n\r\n`, chunk)
    const image = `PUT /v1/machines/n/disks/vda/image?size=${2 ** 40} HTTP/1.1\r\n${head}`
    pouring(port, `${image}Transfer-Encoding: chunked\r\n\r\n`, chunk)
    const offers = `POST /v1/sessions/${session.session}/offers HTTP/1.1\r\n${head}Content-Type: application/vnd.everfold.hashes\r\n`
    dripping(port, `${offers}Content-Length: 320000\r\n\r\n`, 'x')
    await unread(port, `GET ${RAW} HTTP/1.1\r\n${head}\r\n`)
    await unread(port, `GET ${RAW} HTTP/1.1\r\n${head}\r\n`.repeat(20))
    await unread(port, `GET /v1/jobs/${job}/events HTTP/1.1\r\n${head}\r\n`)
    await unread(port, `GET /healthz HTTP/1.1\r\n${head}\r\n`)
    await untilTaken(service)

    expect(await service.stop(), service.stderr).toBe(0)
    expect(service.stderr).toContain('"stopped"')
    expect(service.stderr).not.toMatch(/UnhandledPromise|TypeError|"level":50/)
    // All of it is in order: the session goes on where it was, and the job begins anew.
    const next = await Served.start(at)
    await next.ok(`/v1/sessions/${session.session}`, token)
    await next.ok(`/v1/jobs/${job}`, token)
    await next.ok(`/v1/jobs/${job}`, token, { method: 'DELETE' })
    expect(await next.stop()).toBe(0)
    await at.ok('verify')
  })

  it('ends well in its time, with clients that do not finish the handshake of TLS, or say nothing after it', async () => {
    const name = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1']
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
    const files = ['-keyout', at.path('key.pem'), '-out', at.path('cert.pem')]
    await promisify(execFile)('openssl', ['req', '-x509', ...key, '-days', '2', ...name, ...files])
    await at.write('everfold.yaml', `${PATIENT}tls: { certificate: cert.pem, key: key.pem }\n`)
    const service = await Served.start(at, '--config', 'everfold.yaml')
    const { port } = service
    open(port)
    // The first bytes of a client's hello, which never ends.
    dripping(port, '\x16\x03\x01\x02\x00\x01\x00', '\x00')
    const silent = connectTls({ host: '127.0.0.1', port, rejectUnauthorized: false }).on(
      'error',
      () => undefined,
    )
    sockets.push(silent)
    await once(silent, 'secureConnect')
    expect(await service.stop(), service.stderr).toBe(0)
    expect(service.stderr).toContain('"stopped"')
  })

  it('ends at its deadline if its store does not answer any more', async () => {
    await at.write('everfold.yaml', 'stop:\n  answers: 1s\n  deadline: 2s\n')
    // From the signal on, nothing that is written becomes durable; the system is still at it.
    const stuck = `import { open } from 'node:fs/promises'
      const file = await open('/dev/null')
      const FileHandle = Object.getPrototypeOf(file)
      await file.close()
      process.on('SIGTERM', () => {
        FileHandle.datasync = () => new Promise(() => {})
        setInterval(() => {}, 1000)
      })
      const write = process.stdout.write.bind(process.stdout)
      process.stdout.write = (text, ...rest) => {
        const done = write(text, ...rest)
        if (String(text).includes('listens on')) process.kill(process.pid, 'SIGTERM')
        return done
      }`
    const NODE_OPTIONS = `--import=data:text/javascript,${encodeURIComponent(stuck)}`
    const env = { ...at.options.env, NODE_OPTIONS }
    const run = await ended(
      start(['serve', '--listen', '127.0.0.1:0', '--config', 'everfold.yaml'], { ...at.options, env }),
    )
    expect(run).toMatchObject({ status: 1, signal: null })
    expect(run.stderr).toContain('not stopped after 2 seconds')
  })
})
