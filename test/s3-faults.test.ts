import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Fault, type ProxiedRequest, S3Proxy } from '../bench/s3-proxy.js'
import { SeededBytes } from '../bench/seeded-bytes.js'
import type { S3Settings } from '../src/store/s3-settings.js'
import { s3SettingsFrom } from '../src/store/s3-settings.js'
import type { S3Store } from '../src/store/s3-store.js'
import { ended, everfold, start } from './everfold.js'
import { newBucket, newS3Store, useS3Service } from './s3-service.js'
import { Workspace } from './workspace.js'

/* Faults between us and a real server. Nothing that was acknowledged is lost, whatever goes wrong on the way. */

const MIB = 1024 * 1024
/** A burst of failures; an hour's patience would be dull. EVERFOLD_TEST_BURST_SECONDS=60 is the real thing. */
const BURST_MS = Number(process.env['EVERFOLD_TEST_BURST_SECONDS'] ?? 4) * 1000

const BREAKS: readonly Fault[] = [
  { kind: 'status', status: 500, code: 'InternalError' },
  { kind: 'status', status: 503, code: 'SlowDown' },
  { kind: 'reset', when: 'before' },
  { kind: 'reset', when: 'request-body' },
  { kind: 'reset', when: 'after-effect' },
  { kind: 'reset', when: 'answer-body' },
  { kind: 'cut' },
  { kind: 'stall', when: 'before' },
  { kind: 'stall', when: 'answer-body' },
]
/** What nobody notices who does not check what came. */
const LIES: readonly Fault[] = [{ kind: 'short' }, { kind: 'flip' }]

const random = new SeededBytes('s3-faults')
let proxy: S3Proxy
let bucket = ''
let prefixes = 0

beforeAll(async () => {
  await useS3Service()
  bucket = await newBucket()
  proxy = await S3Proxy.start(process.env['AWS_ENDPOINT_URL_S3']!)
}, 300_000)

afterAll(() => proxy.stop())

beforeEach(() => {
  proxy.fault = undefined
  proxy.requests.length = 0
})

const isListing = ({ url }: ProxiedRequest): boolean => url.includes('list-type=2')
const isOfLock = ({ url, key }: ProxiedRequest): boolean =>
  /lock(?:\/|%2F)/.test(url) || key.includes('lock/')

describe.each(BREAKS)('A request that ends with $kind $code $when', (fault) => {
  let store: S3Store

  beforeEach(async () => {
    const settings: S3Settings = { ...s3SettingsFrom({}), idleMs: 400, requestMs: 1500, pathStyle: true }
    store = await newS3Store(bucket, { settings }, undefined, { endpoint: proxy.url })
  })

  it('is repeated, and nobody hears of it', async () => {
    const content = random.next(200_000)
    await store.put('packs/aa/here.0', [content])
    let broken = 0
    const breakNext = (): void => {
      let left = 1
      proxy.fault = () => (left-- > 0 ? (broken++, fault) : undefined)
    }
    breakNext()
    expect(await store.put('chains/m/000000000000', [content])).toBe('created')
    breakNext()
    expect(await store.put('chains/m/000000000000', [content])).toBe('exists')
    breakNext()
    expect(Buffer.compare(await store.readAll('packs/aa/here.0'), content)).toBe(0)
    breakNext()
    expect(
      Buffer.compare(await store.read('packs/aa/here.0', 1000, 100_000), content.subarray(1000, 101_000)),
    ).toBe(0)
    breakNext()
    expect((await store.readTail('packs/aa/here.0', 70_000)).bytes.length).toBe(70_000)
    breakNext()
    expect(await store.size('packs/aa/here.0')).toBe(content.length)
    breakNext()
    const keys: string[] = []
    for await (const { key } of store.list('')) keys.push(key)
    expect(keys.sort()).toEqual(['chains/m/000000000000', 'packs/aa/here.0'])
    breakNext()
    await store.remove('packs/aa/here.0')
    proxy.fault = undefined
    expect(await store.size('packs/aa/here.0')).toBeUndefined()
    expect(Buffer.compare(await store.readAll('chains/m/000000000000'), content)).toBe(0)
    expect(broken).toBe(8)
    await store.close()
  })
})

it('puts a large object in parts through failures of every kind, whole', async () => {
  const settings: S3Settings = { ...s3SettingsFrom({}), idleMs: 1000, requestMs: 5000, pathStyle: true }
  const store = await newS3Store(bucket, { settings }, undefined, { endpoint: proxy.url })
  const content = random.next(36 * MIB)
  const seen = new Map<string, number>()
  proxy.fault = ({ method, url }) => {
    const times = seen.get(method + url) ?? 0
    seen.set(method + url, times + 1)
    return BREAKS[(seen.size + times) % (BREAKS.length + 3)]
  }
  expect(await store.put('packs/aa/large.0', [content])).toBe('created')
  proxy.fault = undefined
  expect(Buffer.compare(await store.readAll('packs/aa/large.0'), content)).toBe(0)
  await store.close()
})

describe('a repository behind a bad line', () => {
  async function workspace(env: Readonly<Record<string, string>> = {}): Promise<Workspace> {
    return Workspace.make([], {
      EVERFOLD_REPO: `s3://${bucket}/faults-${++prefixes}`,
      AWS_ENDPOINT_URL_S3: proxy.url,
      EVERFOLD_S3_REQUEST_SECONDS: '2',
      EVERFOLD_S3_GIVE_UP_SECONDS: '60',
      ...env,
    })
  }

  it('loses nothing through resets, cuts, stalls, errors, wrong bytes and short listings, each of which hits many requests', async () => {
    const at = await workspace()
    const faults = [...BREAKS, ...LIES]
    const before = new Set<string>()
    let made = 0
    let turn = 0
    proxy.fault = (request) => {
      // Never the same thing twice in a row: who reads again is to get it.
      const name = `${request.method} ${request.url} ${request.headers.range ?? ''}`
      if (before.delete(name) || turn++ % 3 !== 0) return undefined
      before.add(name)
      made++
      if (isListing(request) && !isOfLock(request)) return { kind: 'rewrite', rewrite: halfOfIt }
      const fault = faults[made % faults.length]
      return isOfLock(request) && fault !== undefined && LIES.includes(fault) ? undefined : fault
    }
    const states: Buffer[] = []
    const disk = random.next(3 * MIB)
    for (let i = 0; i < 3; i++) {
      random.next(300_000).copy(disk, i * 700_000)
      await at.write('vda.raw', disk)
      states.push(Buffer.from(disk))
      await at.ok('backup', 'web', 'vda=vda.raw')
    }
    const points = await at.ok('points')
    expect(points).toHaveLength(3)
    await at.ok('fold', 'web', '--keep', '2')
    await at.ok('gc', '--rounds', '2')
    for (const i of [1, 2]) await at.expectDisk('web', points[i].point, states[i]!)
    expect(made).toBeGreaterThan(20)
    proxy.fault = undefined
    expect(await at.ok('verify')).toMatchObject({ ok: true, points: 2 })
    for (const i of [1, 2]) await at.expectDisk('web', points[i].point, states[i]!)
    await at.remove()
  }, 240_000)

  it.each([
    [500, 'InternalError'],
    [503, 'SlowDown'],
  ])(
    `survives ${BURST_MS / 1000} s of nothing but %i %s in the middle of a backup`,
    async (status, code) => {
      const at = await workspace({ EVERFOLD_S3_GIVE_UP_SECONDS: '300' })
      const disk = random.next(4 * MIB)
      await at.write('vda.raw', disk)
      let until = 0
      proxy.fault = ({ method, key }) => {
        if (until === 0 && method === 'PUT' && key.includes('packs/')) until = performance.now() + BURST_MS
        return performance.now() < until ? { kind: 'status', status, code } : undefined
      }
      await at.ok('backup', 'web', 'vda=vda.raw')
      expect(until).toBeGreaterThan(0)
      await at.expectDisk('web', 'latest', disk)
      await at.remove()
    },
    300_000,
  )

  it.each([
    ['says nothing any more', { kind: 'stall', when: 'before' }],
    ['is gone', { kind: 'reset', when: 'before' }],
  ] as const)(
    'fails the backup in the configured time when the server %s, and the next one sends only the rest',
    async (_, fault) => {
      // On a slow machine, what is answered is answered within that.
      const at = await workspace({ EVERFOLD_S3_GIVE_UP_SECONDS: '8', EVERFOLD_S3_REQUEST_SECONDS: '4' })
      // Three packs.
      const disk = random.next(56 * MIB)
      await at.write('vda.raw', disk)
      let packs = 0
      let diedAt = 0
      proxy.fault = ({ method, key }) => {
        if (method === 'PUT' && key.includes('packs/') && ++packs === 3) diedAt = performance.now()
        return diedAt === 0 ? undefined : fault
      }
      const { message } = await at.fails('STORE_FAILED', 'backup', 'web', 'vda=vda.raw')
      // Eight seconds, a last try of four, three for the last words; and a slow machine.
      expect(performance.now() - diedAt).toBeLessThan(60_000)
      expect(message).toMatch(/It was tried for \d+ s\. Check that the service is up/)
      proxy.fault = undefined
      const again = await at.ok('backup', 'web', 'vda=vda.raw')
      expect(again.storedBytes).toBeLessThan(42 * MIB)
      await at.expectDisk('web', 'latest', disk)
      await at.remove()
    },
    120_000,
  )

  it('takes a commit whose answer was lost for what it is: done, once', async () => {
    const at = await workspace()
    await at.write('vda.raw', random.next(100_000))
    for (const kind of ['chains', 'runs', 'packs', 'machines']) {
      let puts = 0
      proxy.fault = ({ method, key }) =>
        method === 'PUT' && key.includes(`faults-${prefixes}/${kind}/`) && puts++ === 0
          ? { kind: 'reset', when: 'after-effect' }
          : undefined
      await at.ok('backup', `m-${kind}`, 'vda=vda.raw')
      expect(puts).toBeGreaterThanOrEqual(2)
      await at.write('vda.raw', random.next(100_000))
    }
    proxy.fault = undefined
    expect(await at.ok('points')).toHaveLength(4)
    await at.remove()
  })

  it('is not taken by two when a listing hides the claim of the first', async () => {
    const at = await workspace()
    await at.write('vda.raw', random.next(MIB))
    const holder = start(['serve', '--listen', '127.0.0.1:0'], at.options)
    const gone = ended(holder)
    try {
      await new Promise((resolve) => holder.stdout?.once('data', resolve))
      proxy.fault = (request) =>
        isListing(request) && isOfLock(request) ? { kind: 'rewrite', rewrite: noneOfIt } : undefined
      const other = { ...at.options, env: { ...at.options.env, EVERFOLD_CACHE: at.path('other') } }
      const run = await everfold(['points', '--json'], other)
      expect(JSON.parse(run.stdout).error.code).toBe('REPOSITORY_LOCKED')
    } finally {
      proxy.fault = undefined
      holder.kill('SIGTERM')
      await gone
    }
    await at.remove()
  })
})

/** Every other object of a page of a listing. */
function halfOfIt(page: string): string {
  let i = 0
  return page.replaceAll(/<Contents>.*?<\/Contents>/gs, (object) => (i++ % 2 === 0 ? object : ''))
}

function noneOfIt(page: string): string {
  return page.replaceAll(/<Contents>.*?<\/Contents>/gs, '')
}
