/** Programs that nobody here wrote read disks from the real service: curl, qemu-img and nbdkit. */

import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { open, readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { diskLike, KIB, MIB, noise } from './disk-bytes.js'
import { Served } from './server-process.js'
import { attempt, expectSame, Workspace } from './workspace.js'

const SIZE = 9 * MIB + 512
const DISK = Buffer.concat([diskLike('clients', 6 * MIB), Buffer.alloc(MIB), noise('end', 2 * MIB + 512)])
const RAW = '/v1/machines/web%201/points/latest/disks/vda/raw'

let at: Workspace
let served: Served
let token: string

beforeAll(async () => {
  const programs = [
    ['curl', '--version'],
    ['openssl', 'version'],
    ['qemu-img', '--version'],
    ['nbdkit', '--version'],
  ] as const
  const missing = programs.filter(([name, argument]) => attempt(name, argument) === undefined).map(String)
  if (!modules().some((path) => existsSync(path))) missing.push("qemu's curl driver")
  if (missing.length > 0)
    throw new Error(
      `MISSING: ${missing.join(', ')}. These tests need the Debian packages curl, nbdkit, openssl, qemu-utils and qemu-block-extra: scripts/test installs them`,
    )
  at = await Workspace.make()
  await at.write('disk', DISK)
  await at.ok('backup', 'web 1', 'vda=disk')
  served = await Served.start(at)
  token = served.adminToken ?? ''
})
afterAll(async () => {
  await served.stop()
  await at.remove()
})

/** Where Debian keeps qemu's curl driver, by architecture. */
function modules(): string[] {
  return readdirSync('/usr/lib').map((name) => `/usr/lib/${name}/qemu/block-curl.so`)
}

const execute = promisify(execFile)

async function curl(...args: readonly string[]): Promise<string> {
  const { stdout } = await execute('curl', ['-sS', '-u', `x:${token}`, ...args], { cwd: at.folder })
  return stdout
}

describe('curl', () => {
  it('reads the whole disk, with a bearer token and with a password', async () => {
    await curl('-f', '-o', 'whole', served.url + RAW)
    expectSame(await readFile(at.path('whole')), DISK, 'whole')
    const header = `Authorization: Bearer ${token}`
    await execute('curl', ['-sSf', '-H', header, '-o', 'bearer', served.url + RAW], { cwd: at.folder })
    expectSame(await readFile(at.path('bearer')), DISK, 'bearer')
  })

  it.each([
    ['0-0', 0, 1],
    ['1000-70000', 1000, 70_001],
    ['6291000-9437183', 6_291_000, 9_437_184],
    [`${SIZE - 10}-`, SIZE - 10, SIZE],
    ['-600', SIZE - 600, SIZE],
    [`5-${SIZE + 1000}`, 5, SIZE],
  ])('reads the range %s', async (range, from, to) => {
    await curl('-f', '-r', range, '-D', 'headers', '-o', 'part', served.url + RAW)
    expectSame(await readFile(at.path('part')), DISK.subarray(from, to), range)
    const headers = await readFile(at.path('headers'), 'utf8')
    expect(headers).toMatch(/^HTTP\/1.1 206/)
    expect(headers).toContain(`Content-Range: bytes ${from}-${to - 1}/${SIZE}`)
  })

  it('is told by HEAD what there is, and nothing is sent', async () => {
    const headers = await curl('-I', '-r', '0-5', served.url + RAW)
    expect(headers).toMatch(/^HTTP\/1.1 200/)
    expect(headers).toContain(`Content-Length: ${SIZE}`)
    expect(headers).toContain('Accept-Ranges: bytes')
    expect(headers).toMatch(/ETag: "[0-9a-f]{40}"/)
    expect(headers).toMatch(/Last-Modified: .* GMT/)
  })

  it('resumes a download that was cut short (-C -)', async () => {
    await at.write('resumed', DISK.subarray(0, 3 * MIB + 17))
    await curl('-f', '-C', '-', '-o', 'resumed', served.url + RAW)
    expectSame(await readFile(at.path('resumed')), DISK, 'resumed')
  })

  it('gets 416 behind the end, and the whole disk where If-Range does not hold', async () => {
    const refused = await curl('-r', `${SIZE}-`, '-D', 'headers', served.url + RAW)
    expect(JSON.parse(refused)).toMatchObject({ code: 'RANGE_UNSATISFIABLE', status: 416 })
    expect(await readFile(at.path('headers'), 'utf8')).toContain(`Content-Range: bytes */${SIZE}`)
    const etag = /ETag: (".*")/.exec(await curl('-I', served.url + RAW))?.[1] ?? ''
    const status = ['-o', '/dev/null', '-w', '%{http_code} %{size_download}', '-r', '0-9']
    expect(await curl(...status, '-H', `If-Range: ${etag}`, served.url + RAW)).toBe('206 10')
    expect(await curl(...status, '-H', 'If-Range: "other"', served.url + RAW)).toBe(`200 ${SIZE}`)
    expect(await curl(...status, '-H', `If-None-Match: ${etag}`, served.url + RAW)).toBe('304 0')
  })

  it.each([
    ['a range', ['-r', '0-9'], '206'],
    ['the whole disk', [], '200'],
    ['what HEAD tells', ['-I'], '200'],
    ['a range behind the end', ['-r', `${SIZE + 1}-`], '416'],
    ['the wrong password', ['-u', 'x:y'], '401'],
  ])('may keep no answer for others, nor guess its type: %s', async (_what, options, status) => {
    const told = await curl('-D', '-', '-o', 'answer', ...options, served.url + RAW)
    expect(told).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
    expect(told.match(/^x-content-type-options: nosniff\r$/gim)).toHaveLength(1)
    const cached = told.match(/^cache-control: (.*)\r$/gim)
    expect(cached).toHaveLength(1)
    expect(cached?.[0]).toMatch(status.startsWith('2') ? /private, no-cache, no-transform/ : /no-store/)
  })

  it('keeps what it has when points are folded: the same tag, the same bytes', async () => {
    const own = await Workspace.make()
    await own.write('disk', DISK)
    await own.ok('backup', 'm', 'vda=disk')
    await own.write('disk', noise('changed', SIZE))
    const { point } = await own.ok('backup', 'm', 'vda=disk')
    const other = await Served.start(own)
    const admin = other.adminToken ?? ''
    const path = `/v1/machines/m/points/${point}/disks/vda/raw`
    const before = await other.fetch(path, admin, { method: 'HEAD' })
    await other.post('/v1/machines/m/fold', admin, { keep: 1 })
    const after = await other.fetch(path, admin)
    expect(after.headers.get('etag')).toBe(before.headers.get('etag'))
    expectSame(Buffer.from(await after.arrayBuffer()), noise('changed', SIZE), 'after the fold')
    await other.stop()
    await own.remove()
  })
})

describe('qemu-img', () => {
  it('compares and converts a disk straight from the service', async () => {
    const url = served.url.replace('://', `://x:${token}@`) + RAW
    const image = `json:${JSON.stringify({ driver: 'raw', file: { driver: 'http', url } })}`
    const run = (...args: readonly string[]): Promise<{ stdout: string }> =>
      execute('qemu-img', args, { cwd: at.folder })
    expect((await run('compare', '-f', 'raw', 'disk', image)).stdout).toContain('identical')
    // QEMU 7.2 itself hangs now and then with several reads at once over HTTP, whatever the server: one at a time.
    await run('convert', '-m', '1', '-O', 'qcow2', image, 'copy.qcow2')
    await run('convert', '-f', 'qcow2', '-O', 'raw', 'copy.qcow2', 'copy.raw')
    expectSame((await readFile(at.path('copy.raw'))).subarray(0, SIZE), DISK, 'copy')
    const file2 = await open(at.path('disk'), 'r+')
    await file2.write(Buffer.from('!'), 0, 1, 7 * MIB + 300 * KIB)
    await file2.close()
    await expect(run('compare', '-f', 'raw', 'disk', image)).rejects.toMatchObject({ code: 1 })
    await at.write('disk', DISK)
  })
})

describe('nbdkit', () => {
  it('exports a disk of the service over NBD, where QEMU reads it', async () => {
    const own = [
      '-U',
      '-',
      '-r',
      'curl',
      `url=${served.url}${RAW}`,
      'user=x',
      `password=${token}`,
      'protocols=http',
    ]
    const run = (command: string): Promise<{ stdout: string }> =>
      execute('nbdkit', [...own, '--run', command], { cwd: at.folder })
    expect((await run('qemu-img compare -f raw -F raw "$uri" disk')).stdout).toContain('identical')
    await run('qemu-img convert -f raw -O raw "$uri" over-nbd.raw')
    expectSame(await readFile(at.path('over-nbd.raw')), DISK, 'over NBD')
  })
})

describe('TLS', () => {
  it('serves HTTPS with the certificate that it is given, and says what is wrong with one', async () => {
    const own = await Workspace.make()
    const make = [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-days',
      '2',
    ]
    const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1']
    await execute('openssl', [
      ...make,
      ...names,
      '-keyout',
      own.path('key.pem'),
      '-out',
      own.path('cert.pem'),
    ])
    const tls = await Served.start(own, '--tls-cert', 'cert.pem', '--tls-key', 'key.pem')
    expect(tls.url).toMatch(/^https:/)
    const { stdout } = await execute('curl', ['-sSf', '--cacert', own.path('cert.pem'), `${tls.url}/healthz`])
    expect(JSON.parse(stdout)).toEqual({ status: 'ok' })
    await expect(execute('curl', ['-sS', `${tls.url}/healthz`])).rejects.toMatchObject({ code: 60 })
    // Renewed: new connections get it; one that cannot be used changes nothing.
    const fingerprint = async (): Promise<string> => {
      const socket = connectTls({ host: '127.0.0.1', port: tls.port, rejectUnauthorized: false })
      await once(socket, 'secureConnect')
      const { fingerprint256 } = socket.getPeerCertificate()
      socket.destroy()
      return fingerprint256
    }
    const before = await fingerprint()
    await execute('openssl', [
      ...make,
      ...names,
      '-keyout',
      own.path('key.pem'),
      '-out',
      own.path('cert.pem'),
    ])
    tls.signal('SIGHUP')
    while (!tls.stderr.includes('the certificate was read again')) await sleep(20)
    expect(await fingerprint()).not.toBe(before)
    await execute('curl', ['-sSf', '--cacert', own.path('cert.pem'), `${tls.url}/healthz`])
    await own.write('key.pem', Buffer.from('no key'))
    tls.signal('SIGHUP')
    while (!tls.stderr.includes('could not be read again')) await sleep(20)
    await execute('curl', ['-sSf', '--cacert', own.path('cert.pem'), `${tls.url}/healthz`])
    expect(await tls.stop()).toBe(0)
    await own.fails(
      'LISTEN_FAILED',
      'serve',
      '--listen',
      '127.0.0.1:0',
      '--tls-cert',
      'key.pem',
      '--tls-key',
      'cert.pem',
    )
    await own.fails('ARGUMENT_INVALID', 'serve', '--tls-cert', 'cert.pem')
    await own.remove()
  })
})
