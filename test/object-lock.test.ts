import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { SeededBytes } from '../bench/seeded-bytes.js'
import { type LockTerms, lockTerms } from '../src/store/object-lock.js'
import type { S3Connection } from '../src/store/s3-client.js'
import { S3ObjectLocks } from '../src/store/s3-object-locks.js'
import { listHistories } from '../src/store/s3-versions.js'
import { everfold, fail } from './everfold.js'
import { connect, newBucket, newS3Store, useS3Service } from './s3-service.js'
import { Workspace } from './workspace.js'

const MIB = 1024 * 1024
const DAY_MS = 24 * 3600_000
const random = new SeededBytes('object lock')
let service: S3Connection
let at: Workspace
let bucket: string

beforeAll(async () => {
  await useS3Service()
  service = await connect()
}, 300_000)

afterAll(() => service.client.destroy())

interface Version {
  readonly Key: string
  readonly VersionId: string
}

/** Everything that the bucket keeps, marks of removal too. */
async function everything(): Promise<Version[]> {
  const { sdk, client } = service
  const found = await client.send(new sdk.ListObjectVersionsCommand({ Bucket: bucket }))
  expect(found.IsTruncated).toBe(false)
  const all = [...(found.Versions ?? []), ...(found.DeleteMarkers ?? [])]
  return all.map(({ Key = '', VersionId = '' }) => ({ Key, VersionId }))
}

async function keys(): Promise<string[]> {
  const { sdk, client } = service
  const found = await client.send(new sdk.ListObjectsV2Command({ Bucket: bucket, Prefix: 'r/' }))
  return (found.Contents ?? []).map(({ Key = '' }) => Key)
}

async function lockOf(key: string): Promise<number> {
  const { sdk, client } = service
  const head = await client.send(new sdk.HeadObjectCommand({ Bucket: bucket, Key: key }))
  return head.ObjectLockMode === 'COMPLIANCE' ? (head.ObjectLockRetainUntilDate?.getTime() ?? 0) : 0
}

/** By the service's clock, which tells versions apart by milliseconds. */
async function now(): Promise<string> {
  await sleep(20)
  const time = new Date().toISOString()
  await sleep(20)
  return time
}

describe('a repository with Object Lock', { timeout: 300_000 }, () => {
  const states: Buffer[] = []

  beforeEach(async () => {
    bucket = await newBucket({ objectLock: true })
    at = await Workspace.make(['--object-lock', '30'], { EVERFOLD_REPO: `s3://${bucket}/r` })
    states.length = 0
    const disk = random.next(3 * MIB)
    for (let i = 0; i < 3; i++) {
      random.next(100_000).copy(disk, i * MIB)
      await at.write('vda.raw', disk)
      await at.ok('backup', 'web', 'vda=vda.raw')
      states.push(Buffer.from(disk))
    }
  }, 300_000)

  afterEach(() => at.remove())

  async function expectAllPoints(): Promise<void> {
    const points = await at.ok('points')
    expect(points).toHaveLength(states.length)
    for (const [i, bytes] of states.entries()) await at.expectDisk('web', points[i].point, bytes)
    expect(await at.ok('verify')).toMatchObject({ ok: true })
  }

  it('locks what points need, and nothing that changes all the time', async () => {
    const kinds = new Map<string, number[]>()
    for (const key of await keys()) {
      const kind = key.split('/')[1] ?? ''
      const days = ((await lockOf(key)) - Date.now()) / DAY_MS
      kinds.set(kind, [...(kinds.get(kind) ?? []), days])
    }
    for (const kind of ['everfold.json', 'packs', 'runs', 'chains', 'machines'])
      for (const days of kinds.get(kind) ?? [0]) {
        expect(days, kind).toBeGreaterThan(40)
        expect(days, kind).toBeLessThan(51)
      }
    for (const days of kinds.get('lock') ?? []) expect(days).toBeLessThan(0)
    expect(await at.ok('stats')).toMatchObject({ objectLock: { days: 30 } })
  })

  it('cannot be destroyed with its own credentials, and one command brings back what was removed or written over', async () => {
    const before = await now()
    const { sdk, client } = service
    let refused = 0
    // All versions for good, as far as the service lets go of them; then marks of removal for what is left.
    for (const { Key, VersionId } of await everything())
      await client
        .send(
          new sdk.DeleteObjectCommand({ Bucket: bucket, Key, VersionId, BypassGovernanceRetention: true }),
        )
        .catch(() => refused++)
    expect(refused).toBeGreaterThan(8)
    const left = await keys()
    for (const [i, Key] of left.entries()) {
      if (i % 2 === 0) await client.send(new sdk.DeleteObjectCommand({ Bucket: bucket, Key }))
      // Locked by the attacker, too, so that it cannot be removed.
      else
        await client.send(
          new sdk.PutObjectCommand({
            Bucket: bucket,
            Key,
            Body: 'ransom',
            ...(i % 4 === 1 && {
              ObjectLockMode: 'COMPLIANCE' as const,
              ObjectLockRetainUntilDate: new Date(Date.now() + 900 * DAY_MS),
            }),
          }),
        )
    }
    // A machine without a point, as the newest of its chain.
    await client.send(
      new sdk.PutObjectCommand({ Bucket: bucket, Key: 'r/chains/web/000000000099', Body: '{}' }),
    )
    const repo = `s3://${bucket}/r`
    expect(await at.ok('recover', repo, '--to', before, '--dry-run')).toMatchObject({ hidden: 1 })
    expect((await at.ok('recover', repo)).at(-1)).toMatchObject({ overwritten: expect.any(Number) })
    const done = await at.ok('recover', repo, '--to', before)
    expect(done.brought).toBeGreaterThan(2)
    expect(done.rewritten).toBeGreaterThan(2)
    expect(done.hidden).toBe(1)
    await expectAllPoints()
    const again = await at.ok('recover', repo, '--to', await now())
    expect(again).toMatchObject({ brought: 0, hidden: 0 })
    await at.ok('backup', 'web', 'vda=vda.raw')
  })

  it('has its points back after somebody deleted them with Everfold itself', async () => {
    const before = await now()
    await at.ok('delete-machine', 'web', '--yes')
    await at.ok('gc', '--rounds', '3')
    expect((await keys()).filter((key) => key.startsWith('r/packs/'))).toEqual([])
    const after = await now()
    await at.ok('recover', `s3://${bucket}/r`, '--to', before)
    await expectAllPoints()
    // A mistaken time harms nothing.
    await at.ok('recover', `s3://${bucket}/r`, '--to', after)
    expect(await at.ok('points')).toEqual([])
    await at.ok('recover', `s3://${bucket}/r`, '--to', before)
    await expectAllPoints()
  })

  it('folds, retains and collects: what is locked is out of sight at once, and waits for its end', async () => {
    await at.ok('fold', 'web', '--keep', '1')
    const collected = await at.ok('gc', '--rounds', '3')
    expect(collected.locks).toMatchObject({ freedBytes: 0 })
    expect(collected.removedObjects).toBeGreaterThan(0)
    const { locks } = await at.ok('gc')
    expect(locks.lockedBytes).toBeGreaterThan(0)
    states.splice(0, 2)
    await expectAllPoints()
  })

  it('extends locks once in each period, also where somebody wrote over what was there', async () => {
    const store = await newS3Store(bucket, {}, 'r/')
    const extensions: number[] = []
    const locksAt = (nowMs: number, terms = lockTerms(30)): S3ObjectLocks =>
      new S3ObjectLocks(
        store,
        terms,
        undefined,
        async ({ objects }) => void extensions.push(objects),
        () => nowMs,
      )
    const later = Date.now() + 25 * DAY_MS
    const until = lockTerms(30).until(later).getTime()
    const pack = (await keys()).find((key) => key.startsWith('r/packs/'))!
    const own = (await everything()).find(({ Key }) => Key === pack)!
    const { sdk, client } = service
    await client.send(new sdk.PutObjectCommand({ Bucket: bucket, Key: pack, Body: 'ransom' }))
    const locks = locksAt(later)
    const objects = await locks.extendIfDue()
    expect(objects).toBeGreaterThan(8)
    expect(extensions.at(-1)).toBe(objects)
    expect(await locks.extendIfDue()).toBeUndefined()
    for (const key of await keys())
      if (/^r\/(runs|chains|machines)/u.test(key)) expect(await lockOf(key)).toBe(until)
    const retention = await client.send(
      new sdk.GetObjectRetentionCommand({ Bucket: bucket, Key: pack, VersionId: own.VersionId }),
    )
    expect(retention.Retention?.RetainUntilDate?.getTime()).toBe(until)
    // What is locked for longer stays so.
    expect(await locksAt(later - 20 * DAY_MS).extendIfDue()).toBe(objects)
    expect(store.traffic.figures.lock).toBeGreaterThan(2 * objects! - 1)
    await store.close()
  })

  it('is not extended by what was just written, and shows what was', async () => {
    await at.ok('backup', 'web', 'vda=vda.raw')
    const { objectLock, requests } = await at.ok('stats')
    expect(objectLock).toMatchObject({ days: 30, until: expect.any(String) })
    const { beginOf, period } = lockTerms(30)
    const isPeriodNew = Date.now() - beginOf(period(Date.now())) < 2 * 3600_000
    if (!isPeriodNew) expect(objectLock.objects).toBe(0)
    expect(Date.parse(objectLock.until)).toBeGreaterThan(Date.now() + 40 * DAY_MS)
    expect(requests[0].lock).toBe(objectLock.objects)
  })
})

it('removes for good what was removed, once its lock is over', async () => {
  // Where a slow machine takes longer than the lock, it has a longer one.
  for (let lockMs = 4000; !(await isRemovedOnceOver(lockMs)); lockMs *= 2);
})

/** @returns false if the lock was over before it could be tried */
async function isRemovedOnceOver(lockMs: number): Promise<boolean> {
  bucket = await newBucket({ objectLock: true })
  const store = await newS3Store(bucket, {}, 'r/')
  const short: LockTerms = {
    days: 1,
    beginOf: () => 0,
    period: () => 0,
    until: (nowMs) => new Date(nowMs + lockMs),
    isOver: (removedMs, nowMs) => nowMs > removedMs + lockMs,
  }
  store.lockTerms = short
  const locks = new S3ObjectLocks(store, short, undefined, async () => undefined)
  try {
    const begunMs = Date.now()
    await store.put('runs/web/0123456789abcdef', [Buffer.from('one')])
    await store.put('runs/web/1123456789abcdef', [Buffer.from('stays')])
    await store.remove('runs/web/0123456789abcdef')
    const removed = await locks.removed()
    const forced = {
      key: 'runs/web/0123456789abcdef',
      sizeBytes: 3,
      ...(await versionsOf(store, 'runs/web/0123456789abcdef')),
    }
    const gone = await locks.removeForGood([forced])
    if (Date.now() - begunMs >= lockMs) return false
    expect(removed).toEqual({ due: [], waitingBytes: 3 })
    expect(gone).toEqual({ objects: 0, bytes: 0, refused: 1 })
    // The mark of its removal is still there.
    expect(await store.size('runs/web/0123456789abcdef')).toBeUndefined()
    await expect
      .poll(async () => (await locks.removed()).due.length, { timeout: lockMs + 60_000, interval: 500 })
      .toBe(1)
    const { due } = await locks.removed()
    expect(await locks.removeForGood(due)).toEqual({ objects: 1, bytes: 3, refused: 0 })
    expect((await everything()).map(({ Key }) => Key)).toEqual(['r/runs/web/1123456789abcdef'])
    return true
  } finally {
    await store.close()
  }
}

async function versionsOf(
  store: Parameters<typeof listHistories>[0],
  key: string,
): Promise<{ versions: string[]; removals: string[] }> {
  for await (const { versions } of listHistories(store, key))
    return {
      versions: versions.filter(({ isRemoval }) => !isRemoval).map(({ id }) => id),
      removals: versions.filter(({ isRemoval }) => isRemoval).map(({ id }) => id),
    }
  throw new Error('no such key')
}

it('locks what is sent in parts, too', async () => {
  bucket = await newBucket({ objectLock: true })
  const store = await newS3Store(bucket, {}, 'r/')
  store.lockTerms = lockTerms(7)
  const key = `packs/ab/${'ab'.repeat(32)}.0`
  await store.put(key, [random.next(33 * MIB)])
  expect(await lockOf(`r/${key}`)).toBeGreaterThan(Date.now() + 7 * DAY_MS)
  await store.close()
})

it('lists what was under a key, over more than one answer of the service', async () => {
  bucket = await newBucket({ objectLock: true })
  const store = await newS3Store(bucket, {}, 'r/')
  const { sdk, client } = service
  // Of one key, one after the other.
  await Promise.all(
    Array.from({ length: 7 }, async (_, key) => {
      for (let i = 0; i < 160; i++)
        if (i % 3 === 2) await client.send(new sdk.DeleteObjectCommand({ Bucket: bucket, Key: `r/k${key}` }))
        else await client.send(new sdk.PutObjectCommand({ Bucket: bucket, Key: `r/k${key}`, Body: 'x' }))
    }),
  )
  const counts: number[] = []
  for await (const { versions } of listHistories(store)) {
    counts.push(versions.length)
    // The last of all was written.
    expect(versions.map(({ isRemoval }) => isRemoval)).toEqual(versions.map((_, i) => i % 3 === 1))
  }
  expect(counts.length).toBe(7)
  expect(counts.reduce((sum, count) => sum + count)).toBe(7 * 160)
  await store.close()
})

describe('init with --object-lock', () => {
  it('says so when the bucket has no Object Lock, and makes nothing', async () => {
    bucket = await newBucket()
    const { message } = await fail('OBJECT_LOCK_MISSING', ['init', `s3://${bucket}/r`, '--object-lock', '30'])
    expect(message).toMatch(/Make a bucket with Object Lock/)
    expect(await keys()).toEqual([])
  })

  it('refuses a folder, and days that make no sense', async () => {
    await fail('ARGUMENT_INVALID', ['init', '/tmp/everfold-never-made', '--object-lock', '30'])
    bucket = await newBucket({ objectLock: true })
    await fail('ARGUMENT_INVALID', ['init', `s3://${bucket}`, '--object-lock', '0'])
  })

  it('warns of a default retention', async () => {
    bucket = await newBucket({ objectLock: true })
    const { sdk, client } = service
    await client.send(
      new sdk.PutObjectLockConfigurationCommand({
        Bucket: bucket,
        ObjectLockConfiguration: {
          ObjectLockEnabled: 'Enabled',
          Rule: { DefaultRetention: { Mode: 'GOVERNANCE', Days: 1 } },
        },
      }),
    )
    const run = await everfold(['init', `s3://${bucket}/r`, '--object-lock', '1'])
    expect(run).toMatchObject({ status: 0, stderr: expect.stringMatching(/has a default retention/) })
  })
})
