import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { S3Proxy } from '../bench/s3-proxy.js'
import { SeededBytes } from '../bench/seeded-bytes.js'
import { openRepository } from '../src/chain/open-repository.js'
import { parseChainKey } from '../src/store/keys.js'
import { ended, everfold, start } from './everfold.js'
import { newBucket, newS3Store, useS3Service } from './s3-service.js'
import { Served } from './server-process.js'
import { Uploader } from './uploads.js'
import { expectSame, Workspace } from './workspace.js'

const MIB = 1024 * 1024

let bucket = ''
let prefixes = 0
const random = new SeededBytes('s3-life')

beforeAll(async () => {
  await useS3Service()
  bucket = await newBucket()
}, 300_000)

describe('a repository in a bucket', () => {
  let at: Workspace
  let prefix: string

  beforeEach(async () => {
    prefix = `life-${++prefixes}`
    at = await Workspace.make([], { EVERFOLD_REPO: `s3://${bucket}/${prefix}` })
  })

  afterEach(() => at.remove())

  /** The same repository, seen from a machine that never saw it. */
  const elsewhere = (): Promise<Workspace> =>
    Workspace.make('no repository', { EVERFOLD_REPO: `s3://${bucket}/${prefix}` })

  it('lives as one in a folder does: backup, restore, fold, collect, verify, reindex', async () => {
    const first = random.next(3 * MIB)
    await at.write('vda.raw', first)
    expect(await at.ok('backup', 'web 1', 'vda=vda.raw')).toMatchObject({ kind: 'full' })
    const states = [first]
    for (let i = 0; i < 3; i++) {
      const next = Buffer.from(states.at(-1)!)
      random.next(100_000).copy(next, i * 600_000)
      await at.write('vda.raw', next)
      const feed = await at.feed([[i * 600_000, 100_000]])
      await at.ok('backup', 'web 1', 'vda=vda.raw', '--changed', `vda=${feed}`)
      states.push(next)
    }
    const points = await at.ok('points')
    expect(points).toHaveLength(4)
    for (const [i, bytes] of states.entries()) await at.expectDisk('web 1', points[i].point, bytes)
    await at.ok('fold', 'web 1', '--keep', '2')
    await at.ok('gc', '--rounds', '3')
    for (const i of [2, 3]) await at.expectDisk('web 1', points[i].point, states[i]!)
    expect(await at.ok('verify')).toMatchObject({ ok: true, points: 2 })
    await at.ok('reindex')
    // Cut anew, chunks differ only where changes begin and end.
    expect((await at.ok('backup', 'web 2', 'vda=vda.raw')).newBytes).toBeLessThan(MIB)
    await at.ok('delete-machine', 'web 2', '--yes')
    await at.expectDisk('web 1', 'latest', states[3]!)
  })

  it('opens on a new machine, which reads directories and runs, and not the data', async () => {
    const disk = random.next(40 * MIB)
    await at.write('vda.raw', disk)
    await at.ok('backup', 'web', 'vda=vda.raw')
    const cacheFolder = at.path('other-cache')
    const opened = await openRepository(`s3://${bucket}/${prefix}`, { command: 'test', cacheFolder })
    await opened.repository.index()
    expect(await opened.repository.chains.machines()).toEqual(['web'])
    await opened.close()
    const { bytesIn } = opened.traffic!.figures
    expect(bytesIn).toBeGreaterThan(0)
    // Three ends of packs, of 64 KiB each.
    expect(bytesIn).toBeLessThan(disk.length / 100)
    const other = await elsewhere()
    await other.expectDisk('web', 'latest', disk)
    await other.write('vda.raw', disk)
    expect(await other.ok('backup', 'web', 'vda=vda.raw')).toMatchObject({ kind: 'incremental', newBytes: 0 })
    await other.remove()
    // Back on the first: what the other changed is seen.
    expect(await at.ok('points')).toHaveLength(2)
  })

  it('does not believe its cache: copies that are damaged, torn, outdated or swapped do no harm', async () => {
    const disk = random.next(2 * MIB)
    await at.write('vda.raw', disk)
    await at.ok('backup', 'web', 'vda=vda.raw')
    const copies: string[] = []
    for (const entry of await readdir(at.path('cache'), { recursive: true, withFileTypes: true }))
      if (entry.isFile() && entry.parentPath.includes('objects'))
        copies.push(join(entry.parentPath, entry.name))
    expect(copies.length).toBeGreaterThan(3)
    const contents = await Promise.all(copies.map((path) => readFile(path)))
    const spoil: readonly ((content: Buffer, i: number) => Buffer)[] = [
      (content) => {
        content[content.length - 20]! ^= 1
        return content
      },
      (content) => content.subarray(0, content.length - 1),
      (_, i) => contents[(i + 1) % contents.length]!,
      () => Buffer.alloc(0),
      () => Buffer.from('{"key":"../../etc/passwd"}\nx'),
    ]
    for (const change of spoil) {
      for (const [i, path] of copies.entries()) await writeFile(path, change(Buffer.from(contents[i]!), i))
      await at.expectDisk('web', 'latest', disk)
      expect(await at.ok('backup', 'web', 'vda=vda.raw')).toMatchObject({ newBytes: 0 })
    }
    await writeFile((await stateFile(at)) ?? '', 'not JSON')
    await at.expectDisk('web', 'latest', disk)
    expect(await at.ok('verify')).toMatchObject({ ok: true })
  })

  it('keeps its cache below its limit', async () => {
    await at.write('vda.raw', random.next(24 * MIB))
    const limited = { ...at.options, env: { ...at.options.env, EVERFOLD_CACHE_BYTES: '100000' } }
    expect(await everfold(['backup', 'web', 'vda=vda.raw'], limited)).toMatchObject({ status: 0 })
    let bytes = 0
    for (const entry of await readdir(at.path('cache'), { recursive: true, withFileTypes: true }))
      if (entry.isFile() && entry.parentPath.includes('objects'))
        bytes += (await readFile(join(entry.parentPath, entry.name))).length
    expect(bytes).toBeLessThan(100_000)
  })

  it('is served over HTTP, and locked meanwhile', async () => {
    const disk = random.next(MIB)
    await at.write('vda.raw', disk)
    await at.ok('backup', 'web', 'vda=vda.raw')
    const served = await Served.start(at)
    const token = served.adminToken!
    try {
      const answer = await served.fetch('/v1/machines/web/points/latest/disks/vda/raw', token)
      expectSame(Buffer.from(await answer.arrayBuffer()), disk, 'vda over HTTP')
      await at.fails('REPOSITORY_LOCKED', 'points')
      const other = await elsewhere()
      await other.fails('REPOSITORY_LOCKED', 'points')
      await other.remove()
    } finally {
      await served.stop()
    }
    expect(await at.ok('points')).toHaveLength(1)
  })

  it('takes uploads through the service, which go on after it was killed, and restores them after a restart', async () => {
    const disk = random.next(24 * MIB)
    const half = disk.length / 2
    let served = await Served.start(at)
    const token = served.adminToken!
    let up = new Uploader(served, token)
    const { session } = await up.begin('web', { disks: [{ id: 'vda', sizeBytes: disk.length }] })
    await up.put(session, 'vda', 0, disk.subarray(0, half))
    // What was answered is in the bucket.
    await served.stop('SIGKILL')
    served = await Served.start(at)
    up = new Uploader(served, token)
    await up.put(session, 'vda', half, disk.subarray(half))
    const { point } = await up.commit(session)
    await up.expectDisk('web', point, disk)
    await at.write('vda.raw', disk)
    const remote = ['--server', served.url]
    const env = { ...at.options.env, EVERFOLD_TOKEN: token, EVERFOLD_REPO: undefined }
    const run = await everfold(['backup', 'db', 'vda=vda.raw', '--json', ...remote], { ...at.options, env })
    expect(run, run.stderr).toMatchObject({ status: 0 })
    // Cut anew where the first upload was interrupted.
    expect(JSON.parse(run.stdout).newBytes).toBeLessThan(MIB)
    expect(await served.stop()).toBe(0)
    served = await Served.start(at)
    await new Uploader(served, token).expectDisk('web', point, disk)
    await served.ok('/v1/jobs', token)
    const { id } = await served.post('/v1/jobs', token, { kind: 'gc' })
    await expect
      .poll(async () => (await served.ok(`/v1/jobs/${id}`, token)).state, { timeout: 60_000 })
      .toBe('done')
    await served.stop()
    await at.expectDisk('db', 'latest', disk)
    expect(await at.ok('verify')).toMatchObject({ ok: true, points: 2 })
    // What the job asked of the bucket is counted.
    const { requests } = await at.ok('stats')
    expect(requests.map(({ job }: { job: string }) => job)).toContain('serve: gc')
  }, 200_000)

  it('goes on at once after a kill, with what was committed', async () => {
    const disk = random.next(2 * MIB)
    await at.write('vda.raw', disk)
    await at.ok('backup', 'web', 'vda=vda.raw')
    for (const afterMs of [200, 350, 500]) {
      const child = start(['backup', 'other', 'vda=vda.raw'], at.options)
      setTimeout(() => child.kill('SIGKILL'), afterMs)
      await ended(child)
      await at.expectDisk('web', 'latest', disk)
    }
    expect(await at.ok('verify')).toMatchObject({ ok: true })
    await at.ok('backup', 'other', 'vda=vda.raw')
    await at.expectDisk('other', 'latest', disk)
  })
})

describe.each([
  ['with conditional writes', true],
  ['without conditional writes', false],
])('Two machines that back up into one bucket at once, at a service %s,', (_, conditional) => {
  let proxy: S3Proxy

  beforeAll(async () => {
    proxy = await S3Proxy.start(process.env['AWS_ENDPOINT_URL_S3']!)
    // As OpenStack Swift answers.
    if (!conditional)
      proxy.fault = ({ headers }) =>
        headers['if-none-match'] === undefined
          ? undefined
          : { kind: 'status', status: 501, code: 'NotImplemented' }
  })

  afterAll(() => proxy.stop())

  it('never both commit the same sequence', async () => {
    const prefix = `two-${++prefixes}`
    const env = { EVERFOLD_REPO: `s3://${bucket}/${prefix}`, AWS_ENDPOINT_URL_S3: proxy.url }
    const sides = [await Workspace.make([], env), await Workspace.make('no repository', env)]
    const disks = [random.next(200_000), random.next(200_000)]
    const committed: string[] = []
    for (let round = 0; round < 3; round++) {
      const runs = await Promise.all(
        sides.map(async (side, i) => {
          await side.write('vda.raw', disks[i]!)
          return everfold(['backup', 'web', 'vda=vda.raw', '--json'], side.options)
        }),
      )
      for (const run of runs) {
        if (run.status === 0) committed.push(JSON.parse(run.stdout).point)
        else expect(['REPOSITORY_LOCKED', 'CONFLICT']).toContain(JSON.parse(run.stdout).error.code)
      }
    }
    expect(committed.length).toBeGreaterThan(0)
    const points = await sides[0]!.ok('points')
    expect(points.map(({ point }: { point: string }) => point).sort()).toEqual([...committed].sort())
    const store = await newS3Store(bucket, {}, `${prefix}/`)
    const sequences: number[] = []
    for await (const { key } of store.list('chains/')) sequences.push(parseChainKey(key)!.sequence)
    await store.close()
    // The first is that of a machine without points.
    expect(sequences.sort((a, b) => a - b)).toEqual([...committed.keys(), committed.length])
    for (const side of sides) await side.remove()
  })
})

async function stateFile(at: Workspace): Promise<string | undefined> {
  for (const name of await readdir(at.path('cache'))) return join(at.path('cache'), name, 'state.json')
  return undefined
}
