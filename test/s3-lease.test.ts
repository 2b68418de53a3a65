import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { encodeClaim, thisProcess } from '../src/store/s3-claim.js'
import { claimKey, writeClaim } from '../src/store/s3-claims.js'
import { LEASE_TIMES, type LeaseTimes, S3Lease } from '../src/store/s3-lease.js'
import { CHANGE_MS_MAX } from '../src/store/s3-settings.js'
import type { S3Store } from '../src/store/s3-store.js'
import { newBucket, newS3Store, useS3Service } from './s3-service.js'

/** As the real ones, some sixty times faster. */
const QUICK: LeaseTimes = { heartbeatMs: 300, freshMs: 900, staleMs: 4000, pollMs: 50 }

let bucket = ''
const opened: S3Store[] = []

beforeAll(async () => {
  await useS3Service()
  bucket = await newBucket()
}, 300_000)

afterEach(async () => {
  for (const store of opened.splice(0)) await store.close()
})

async function open(prefix: string, conditionalPut: boolean): Promise<S3Store> {
  const store = await newS3Store(bucket, { conditionalPut }, prefix)
  opened.push(store)
  return store
}

let prefixes = 0
const newPrefix = (): string => `lease-${++prefixes}/`

/** A claim of somebody on another machine, who says nothing more. */
async function claimOfAnother(store: S3Store, epoch: number): Promise<string> {
  const body = { ...(await thisProcess('backup')), host: 'elsewhere', process: 'elsewhere' }
  const key = store.conditionalPut ? claimKey(epoch) : claimKey(epoch, body.nonce)
  await writeClaim(store, key, encodeClaim(body), false)
  return key
}

it('leaves more time than a holder has for a change that it began while it was sure', () => {
  expect(LEASE_TIMES.freshMs + CHANGE_MS_MAX).toBeLessThan(LEASE_TIMES.staleMs)
})

describe.each([
  ['with conditional writes', true],
  ['without conditional writes', false],
])('A repository in a bucket %s', (_, conditionalPut) => {
  it('is held by who does nothing, with few requests', async () => {
    const prefix = newPrefix()
    const [first, second] = [await open(prefix, conditionalPut), await open(prefix, conditionalPut)]
    const held = await S3Lease.acquire(first, 'serve', QUICK)
    const puts = (): number => first.traffic.figures.put
    const lists = first.traffic.figures.list
    const before = puts()
    await expect.poll(() => puts() - before, { timeout: 60_000 }).toBeGreaterThan(4)
    // The first time it looked whether it is alone.
    expect(first.traffic.figures.list).toBe(lists + 1)
    await expect(S3Lease.acquire(second, 'backup', QUICK)).rejects.toMatchObject({
      code: 'REPOSITORY_LOCKED',
    })
    // Before it changes anything, it looks again.
    await first.put('settings/000000000000', [Buffer.from('x')])
    expect(first.traffic.figures.list).toBeGreaterThan(lists + 1)
    await held.release()
  })

  it('is held by one at a time, and free when that one is done', async () => {
    const prefix = newPrefix()
    const [first, second] = [await open(prefix, conditionalPut), await open(prefix, conditionalPut)]
    const held = await S3Lease.acquire(first, 'serve', QUICK)
    await expect(S3Lease.acquire(second, 'backup', QUICK)).rejects.toMatchObject({
      code: 'REPOSITORY_LOCKED',
      details: { holder: { pid: process.pid, command: 'serve' } },
    })
    await held.release()
    const next = await S3Lease.acquire(second, 'backup', QUICK)
    expect(next.previous).toBe(held.name)
    await next.release()
  })

  it('is never held by two of eight that start at once, and none of them commits what another has', async () => {
    const prefix = newPrefix()
    for (let round = 0; round < 3; round++) {
      const stores = await Promise.all(Array.from({ length: 8 }, () => open(prefix, conditionalPut)))
      let holders = 0
      const committed: number[] = []
      const key = `chains/m/${String(round).padStart(12, '0')}`
      const outcomes = await Promise.allSettled(
        stores.map(async (store, i) => {
          const lease = await S3Lease.acquire(store, 'backup', QUICK)
          expect(++holders).toBe(1)
          if ((await store.put(key, [Buffer.from([i])])) === 'created') committed.push(i)
          holders--
          await lease.release()
        }),
      )
      for (const outcome of outcomes)
        if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'REPOSITORY_LOCKED' })
      expect(committed.length).toBeLessThanOrEqual(1)
      if (committed.length === 1) expect([...(await stores[0]!.readAll(key))]).toEqual(committed)
      // Where all of them gave way, the next one gets it.
      const lease = await S3Lease.acquire(stores[0]!, 'backup', QUICK)
      await lease.release()
    }
  })

  it('goes to the next when its holder, elsewhere, said nothing for the whole time', async () => {
    const store = await open(newPrefix(), conditionalPut)
    await claimOfAnother(store, 0)
    const began = performance.now()
    const lease = await S3Lease.acquire(store, 'backup', QUICK)
    expect(performance.now() - began).toBeGreaterThanOrEqual(QUICK.staleMs)
    await lease.release()
  })

  it('goes to the next at once when its holder was a process here that is dead', async () => {
    const store = await open(newPrefix(), conditionalPut)
    const child = spawn('true')
    const pid = child.pid ?? 0
    await once(child, 'exit')
    const own = await thisProcess('backup')
    const body = { ...own, pid, process: own.process.replace(/\d+$/, '1') }
    const key = conditionalPut ? claimKey(0) : claimKey(0, body.nonce)
    await writeClaim(store, key, encodeClaim(body), false)
    const began = performance.now()
    const lease = await S3Lease.acquire(store, 'backup', { ...QUICK, staleMs: 600_000 })
    expect(performance.now() - began).toBeLessThan(60_000)
    await lease.release()
  })

  it('is not taken from a holder that says something while it is waited for', async () => {
    const store = await open(newPrefix(), conditionalPut)
    const body = { ...(await thisProcess('serve')), host: 'elsewhere', process: 'elsewhere' }
    const key = conditionalPut ? claimKey(0) : claimKey(0, body.nonce)
    await writeClaim(store, key, encodeClaim(body), false)
    const acquiring = S3Lease.acquire(store, 'backup', { ...QUICK, staleMs: 600_000 })
    acquiring.catch(() => undefined)
    let beat = 0
    const beating = setInterval(() => {
      writeClaim(store, key, encodeClaim({ ...body, beat: ++beat }), false).catch(() => undefined)
    }, 300)
    await expect(acquiring).rejects.toMatchObject({
      code: 'REPOSITORY_LOCKED',
      details: { holder: { host: 'elsewhere', command: 'serve' } },
    })
    clearInterval(beating)
  })

  it('takes no more changes from a holder that was silent for too long, once another has it', async () => {
    const prefix = newPrefix()
    const [slow, next] = [await open(prefix, conditionalPut), await open(prefix, conditionalPut)]
    await slow.put('packs/aa/x.0', [Buffer.from('a')])
    // It never says anything: as a process that was stopped.
    const { name } = await S3Lease.acquire(slow, 'backup', { ...QUICK, heartbeatMs: 3_600_000 })
    // And on another machine.
    const body = { ...(await thisProcess('backup')), process: 'elsewhere', nonce: name.slice(-16) }
    await writeClaim(slow, conditionalPut ? claimKey(0) : name, encodeClaim(body), false)
    const lease = await S3Lease.acquire(next, 'gc', QUICK)
    await sleep(QUICK.freshMs)
    await expect(slow.put('chains/m/000000000000', [Buffer.from('late')])).rejects.toMatchObject({
      code: 'LOCK_LOST',
    })
    await expect(slow.remove('packs/aa/x.0')).rejects.toMatchObject({ code: 'LOCK_LOST' })
    expect(await next.size('chains/m/000000000000')).toBeUndefined()
    expect(await next.size('packs/aa/x.0')).toBe(1)
    await next.put('chains/m/000000000000', [Buffer.from('ours')])
    await lease.release()
  })
})
