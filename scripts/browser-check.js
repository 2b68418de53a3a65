// What scripts/browser-check does once the browser is there. Page and API come from one origin, as behind any reverse proxy: the service itself
// answers no page of another origin.
import { Buffer } from 'node:buffer'
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { build } from 'esbuild'

const LIMIT_MS = 180_000
const root = new URL('..', import.meta.url).pathname
const everfold = join(root, 'dist/bin/everfold.js')

/** What runs in the page. */
const SCENARIO = `
import { blobSource, EverfoldClient, EverfoldError } from '${join(root, 'dist/src/client/everfold-client.js')}'

async function sha256(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))
  return [...digest].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** Text that compresses, zeros and noise, 5 MiB and a little. */
function makeDisk() {
  const bytes = new Uint8Array(5 * 1024 * 1024 + 4096)
  const text = new TextEncoder().encode('a line of text, as there are many on a disk\\n')
  for (let i = 0; i < 1_500_000; i++) bytes[i] = text[i % text.length]
  for (let at = 2_500_000; at < bytes.length; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536))
  return bytes
}

async function run() {
  const { token } = await (await fetch('/token')).json()
  const client = new EverfoldClient({ url: location.origin, token })
  const bytes = makeDisk()
  const backUp = (machine, disk, transfer) =>
    client.backUp({ machine, disks: [{ id: 'vda', source: blobSource(new Blob([disk])) }], transfer })
  const full = await backUp('offered', bytes, 'offers')
  bytes.fill(7, 1_000_000, 1_100_000)
  const second = await backUp('offered', bytes, 'offers')
  const streamed = await backUp('streamed', bytes, 'stream')
  const disk = await client.disk('offered', 'latest', 'vda')
  const range = { offset: 999_999, length: 2_000_003 }
  const found = new Uint8Array(range.length)
  for await (const piece of disk.read([range])) found.set(piece.bytes, piece.offset - range.offset)
  const wanted = bytes.subarray(range.offset, range.offset + range.length)
  let extents = 0
  for await (const extent of disk.extents()) extents += extent.zero ? 0 : extent.length
  const wrong = await client.point('offered', 'zzzz').catch((error) => error)
  return {
    browser: navigator.userAgent, sha256: await sha256(bytes), full, second, streamed, extents,
    rangeIsRight: wanted.every((byte, i) => byte === found[i]),
    error: wrong instanceof EverfoldError ? wrong.code : String(wrong),
  }
}

run()
  .catch((error) => ({ failed: String(error), code: error?.code, stack: error?.stack }))
  .then((result) => fetch('/result', { method: 'POST', body: JSON.stringify(result) }))
`

const folder = await mkdtemp(join(tmpdir(), 'everfold-browser-'))
const children = []
process.once('SIGINT', () => {
  for (const child of children) endGroup(child)
  process.exit(130)
})
try {
  const result = await check()
  console.log(`${result.browser}: backed up by offers and as a stream, and read back`)
} finally {
  for (const child of children) {
    if (child.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit')
      endGroup(child)
      await ended
    }
  }
  await rm(folder, { recursive: true, force: true })
}
process.exit()

async function check() {
  await ended(start(process.execPath, [everfold, 'init', join(folder, 'repo')]))
  const { url, token } = await serve()
  const script = await bundle()
  const { origin, result } = await listen({ url, token, script })
  const options = [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-dev-shm-usage',
    `--user-data-dir=${folder}/profile`,
  ]
  const browser = start('chromium-headless-shell', [...options, '--remote-debugging-port=0', `${origin}/`])
  let told = ''
  browser.stderr.setEncoding('utf8').on('data', (text) => (told = (told + text).slice(-4000)))
  const gone = once(browser, 'exit').then(([status]) => {
    throw new Error(`the browser ended with ${status}: ${told}`)
  })
  const late = sleep(LIMIT_MS, undefined, { ref: false }).then(() => {
    throw new Error(`no result after ${LIMIT_MS / 1000} s: ${told}`)
  })
  const found = await Promise.race([result, gone, late])
  for (const other of [gone, late]) other.catch(() => undefined)
  const complaints = []
  const expect = (what, isSo) => void (isSo || complaints.push(what))
  expect('the first backup is a full', found.full?.kind === 'full' && found.full.newBytes > 2_000_000)
  expect(
    'the second is an incremental of little',
    found.second?.kind === 'incremental' && found.second.newBytes < 400_000,
  )
  expect(
    'what is streamed is known already',
    found.streamed?.kind === 'full' && found.streamed.newBytes < 400_000,
  )
  expect('a range is what was backed up', found.rangeIsRight === true)
  expect('extents leave zeros out', found.extents > 2_000_000 && found.extents < 5 * 1024 * 1024)
  expect('errors have their codes', found.error === 'POINT_UNKNOWN')
  for (const machine of ['offered', 'streamed'])
    expect(
      `${machine} is whole`,
      (await hashOf(`${url}/v1/machines/${machine}/points/latest/disks/vda/raw`, token)) === found.sha256,
    )
  if (complaints.length > 0)
    throw new Error(`not so: ${complaints.join('; ')}\n${JSON.stringify(found, null, 1)}`)
  return found
}

function start(program, options) {
  const child = spawn(program, options, { stdio: ['ignore', 'pipe', 'pipe'], detached: true })
  children.push(child)
  return child
}

/** The browser's command is a script that starts it: both have to go. */
function endGroup(child) {
  try {
    process.kill(-child.pid, 'SIGTERM')
  } catch {
    // It has gone already.
  }
}

async function ended(child) {
  const [status] = await once(child, 'exit')
  if (status !== 0) throw new Error(`ended with ${status}`)
}

async function serve() {
  const child = start(process.execPath, [
    everfold,
    'serve',
    '--repo',
    join(folder, 'repo'),
    '--listen',
    '127.0.0.1:0',
  ])
  let stdout = ''
  let stderr = ''
  child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text))
  for (;;) {
    const url = /listens on (\S+)/.exec(stdout)?.[1]
    const token = /^admin token: (\S+)$/m.exec(stderr)?.[1]
    if (url !== undefined && token !== undefined) return { url, token }
    if (child.exitCode !== null) throw new Error(`the service did not start: ${stderr}`)
    await sleep(20)
  }
}

async function bundle() {
  const { outputFiles } = await build({
    stdin: { contents: SCENARIO, resolveDir: root },
    bundle: true,
    format: 'esm',
    platform: 'browser',
    write: false,
    logLevel: 'error',
  })
  return outputFiles[0].text
}

/** Serves the page, and passes the API on. */
async function listen({ url, token, script }) {
  let settle
  const result = new Promise((resolve) => (settle = resolve))
  const send = (response, type, text) => response.writeHead(200, { 'Content-Type': type }).end(text)
  const server = createServer(async (incoming, response) => {
    const path = incoming.url ?? '/'
    if (path.startsWith('/v1/')) {
      const { method, headers } = incoming
      const outgoing = request(new URL(path, url), { method, headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers)
        pipeline(answer, response, () => undefined)
      })
      pipeline(incoming, outgoing, (error) => error && response.destroy())
    } else if (path === '/result') {
      let text = ''
      for await (const part of incoming.setEncoding('utf8')) text += part
      settle(JSON.parse(text))
      send(response, 'text/plain', '')
    } else if (path === '/token') send(response, 'application/json', JSON.stringify({ token }))
    else if (path === '/scenario.js') send(response, 'text/javascript', script)
    else send(response, 'text/html', '<!doctype html><script type="module" src="/scenario.js"></script>')
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return { origin: `http://127.0.0.1:${server.address().port}`, result }
}

async function hashOf(address, token) {
  const response = await fetch(address, { headers: { Authorization: `Bearer ${token}` } })
  return createHash('sha256')
    .update(Buffer.from(await response.arrayBuffer()))
    .digest('hex')
}
