import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Clock } from '../../../test/clocked-repository.js'
import { noise } from '../../../test/disk-bytes.js'
import { restoreBytes } from '../../../test/memory-repository.js'
import type { ByteRange } from '../../byte-range.js'
import { MemoryIndex } from '../../index/memory-index.js'
import { removePoints } from '../../merge/fold.js'
import { InlineCrew } from '../../pack/inline-crew.js'
import { type DecideFault, FaultyStore } from '../../store/faulty-store.js'
import { MemoryStore } from '../../store/memory-store.js'
import type { Store } from '../../store/store.js'
import { ExtentList, ZEROS } from '../extent-list.js'
import { Repository } from '../repository.js'
import { rangesOf, SESSION_EXTENTS_MAX, type Session } from './session.js'
import { isOpen, Sessions } from './sessions.js'

const LIMIT = { all: 1000, own: 1000 }
const DAY_MS = 24 * 3600 * 1000

async function open(store: Store = new MemoryStore(), clock = new Clock('2026-11-21T12:00:00Z')) {
  if ((await store.size('everfold.json')) === undefined) await Repository.init(store, {}, clock)
  const openIndex = async (): Promise<MemoryIndex> => new MemoryIndex()
  const repository = await Repository.open({
    store,
    crew: new InlineCrew(),
    openIndex,
    environment: clock,
  })
  return { store, clock, repository }
}

async function begin(sessions: Sessions, machine: string, sizeBytes: number): Promise<Session> {
  const { session } = await sessions.create('owner', { machine, disks: [{ id: 'vda', sizeBytes }] }, LIMIT)
  if (!isOpen(session)) throw new Error('it is new')
  return session
}

/** Sends pieces of a disk in one request. */
async function send(
  sessions: Sessions,
  session: Session,
  disk: Uint8Array,
  ranges: readonly ByteRange[],
): Promise<void> {
  const { upload, finish } = await sessions.upload(session, 0)
  for (const { offset, length } of ranges) {
    const bytes = disk.subarray(offset, offset + length)
    if (bytes.every((byte) => byte === 0)) await upload.zeros(offset, length)
    else await upload.data(offset, bytes)
  }
  await finish()
}

/** Every other byte: nothing can be joined. */
function crumbs(from: number, count: number): ByteRange[] {
  return Array.from({ length: count }, (_, i) => ({ offset: from + 2 * i, length: 1 }))
}

describe('what sessions hold in memory', () => {
  it('is bounded, however many there are and whatever they bring; each is there once it is asked for', async () => {
    const { repository } = await open()
    const sessions = new Sessions(repository, { extentsMax: 5000 })
    const disk = Buffer.alloc(20_000)
    const all: Session[] = []
    for (let i = 0; i < 12; i++) all.push(await begin(sessions, `m${i}`, disk.length))
    for (const from of [0, 4000, 8000])
      await Promise.all(
        all.map(async (session) => {
          await send(sessions, session, disk, crumbs(from, 1000))
          expect(sessions.extentsInMemory).toBeLessThanOrEqual(5000)
        }),
      )
    for (const session of all) {
      const [arrived] = await sessions.arrived(session)
      expect(arrived?.length).toBe(3000)
      expect(session.figures.receivedBytes).toBe(3000)
      expect(sessions.extentsInMemory).toBeLessThanOrEqual(5000)
    }
    for (const session of all) await send(sessions, session, disk, [{ offset: 0, length: disk.length }])
    const points = await Promise.all(all.map((session) => sessions.commit(session)))
    for (const [i, { result }] of points.entries())
      expect((await restoreBytes(repository, `m${i}`, result.point)).equals(disk)).toBe(true)
    expect(sessions.extentsInMemory).toBe(0)
    await sessions.close()
  })

  it('makes no difference to what has arrived, in whatever order it comes and is let go of', async () => {
    const disk = Buffer.concat([noise('sessions', 6000), Buffer.alloc(4000)])
    const piece = fc.record({ offset: fc.nat(9999), length: fc.integer({ min: 1, max: 3000 }) })
    const step = fc.record({
      pieces: fc.array(piece, { minLength: 1, maxLength: 4 }),
      shed: fc.boolean(),
      asked: fc.boolean(),
    })
    const { repository } = await open()
    const sessions = new Sessions(repository)
    const property = fc.asyncProperty(fc.array(step, { maxLength: 8 }), async (steps) => {
      const session = await begin(sessions, 'm', disk.length)
      const known = new Uint8Array(disk.length)
      for (const { pieces, shed, asked } of steps) {
        const ranges = pieces.map(({ offset, length }) => ({
          offset,
          length: Math.min(length, disk.length - offset),
        }))
        await send(sessions, session, disk, ranges)
        for (const { offset, length } of ranges) known.fill(1, offset, offset + length)
        if (shed) session.shed()
        if (!asked) continue
        const [arrived] = await sessions.arrived(session)
        const seen = new Uint8Array(disk.length)
        for (const { offset, length } of rangesOf(arrived!)) seen.fill(1, offset, offset + length)
        expect(Buffer.compare(seen, known)).toBe(0)
      }
      await send(sessions, session, disk, [{ offset: 0, length: disk.length }])
      session.shed()
      const { result } = await sessions.commit(session)
      expect((await restoreBytes(repository, 'm', result.point)).equals(disk)).toBe(true)
    })
    await fc.assert(property, { numRuns: 40 })
    await sessions.close()
  })

  it('is let go of when a large one is idle', async () => {
    const { repository, clock } = await open()
    const sessions = new Sessions(repository)
    const disk = Buffer.alloc(100_000)
    const session = await begin(sessions, 'm', disk.length)
    await send(sessions, session, disk, crumbs(0, 30_000))
    await sessions.sweep()
    expect(sessions.extentsInMemory).toBe(30_000)
    clock.nowMs += 61_000
    await sessions.sweep()
    expect(sessions.extentsInMemory).toBe(0)
    expect((await sessions.arrived(session))[0]?.length).toBe(30_000)
    await sessions.close()
  })
})

it('a session of too many pieces is refused, and what it had stays', async () => {
  const { repository } = await open()
  const sessions = new Sessions(repository)
  const session = await begin(sessions, 'm', 2 ** 40)
  const figures = { receivedBytes: 0, changedBytes: 0, newBytes: 0, storedBytes: 0 }
  const part = (from: number, count: number): ExtentList => {
    const list = new ExtentList(0, session.disk(0).packs, count)
    for (const { offset, length } of crumbs(from, count)) list.append(offset, length, ZEROS, 0, 0)
    return list
  }
  const COUNT = 100_000
  for (let i = 0; i < SESSION_EXTENTS_MAX / COUNT; i++) {
    if (i === 3) session.shed()
    await session.addPart(0, figures, part(2 * COUNT * i, COUNT), () => true)
  }
  await expect(
    session.addPart(0, figures, part(2 * SESSION_EXTENTS_MAX, 1), () => true),
  ).rejects.toMatchObject({ code: 'SESSION_TOO_LARGE', details: { extents: SESSION_EXTENTS_MAX } })
  expect((await sessions.arrived(session))[0]?.length).toBe(SESSION_EXTENTS_MAX)
  await sessions.drop(session.id)
  await sessions.close()
})

it('a session whose beginning is damaged is dropped when it would have expired, with its parts', async () => {
  const { store, repository } = await open()
  const disk = noise('damaged', 5000)
  const before = new Sessions(repository)
  const [lost, kept] = [await begin(before, 'm', disk.length), await begin(before, 'n', disk.length)]
  for (const session of [lost, kept]) await send(before, session, disk, [{ offset: 0, length: 2000 }])
  await before.close()
  const damaged = new MemoryStore()
  for await (const { key } of store.list('')) {
    const bytes = await store.readAll(key)
    if (key === `sessions/${lost.id}/begin`) bytes[20]! ^= 1
    await damaged.put(key, [bytes])
  }
  const again = await open(damaged)
  const sessions = new Sessions(again.repository)
  await sessions.recover()
  await expect(sessions.get(lost.id)).rejects.toMatchObject({ code: 'SESSION_UNKNOWN' })
  const keysOf = async (id: string): Promise<number> => {
    let count = 0
    for await (const _ of damaged.list(`sessions/${id}/`)) count++
    return count
  }
  await sessions.sweep()
  expect(await keysOf(lost.id)).toBe(2)
  again.clock.nowMs += DAY_MS + 1
  await sessions.get(kept.id)
  await sessions.sweep()
  expect(await keysOf(lost.id)).toBe(0)
  expect(await keysOf(kept.id)).toBe(2)
  await sessions.close()
})

describe('what a session became', () => {
  const DONE = /\/done$/

  /** A session of a whole disk, all of which has come. */
  async function uploaded(sessions: Sessions, disk: Uint8Array): Promise<Session> {
    const session = await begin(sessions, 'm', disk.length)
    await send(sessions, session, disk, [{ offset: 0, length: disk.length }])
    return session
  }

  /** The process that a store belongs to is dead: nothing of what it began goes on. */
  function mortal(inner: Store): { readonly store: Store; die(): void } {
    let isDead = false
    const store = new FaultyStore(inner, () =>
      isDead ? { kind: 'delay', wait: () => new Promise(() => undefined) } : undefined,
    )
    return { store, die: () => (isDead = true) }
  }

  it('is written down before the commit is answered', async () => {
    let isWaitedFor = true
    let wait = (): Promise<void> => Promise.resolve()
    const decide: DecideFault = (operation, key) =>
      operation === 'put' && DONE.test(key) ? { kind: 'delay', wait: () => wait() } : undefined
    const { repository } = await open(new FaultyStore(new MemoryStore(), decide))
    const sessions = new Sessions(repository)
    const session = await uploaded(sessions, noise('done', 5000))
    wait = async () => {
      for (let i = 0; i < 100; i++) await new Promise((resolve) => setImmediate(resolve))
      isWaitedFor = false
    }
    await sessions.commit(session)
    expect(isWaitedFor).toBe(false)
    await sessions.close()
  })

  it('is known to a later process, also when its point is gone by then', async () => {
    const inner = new MemoryStore()
    const first = mortal(inner)
    const { repository } = await open(first.store)
    const sessions = new Sessions(repository)
    const disk = noise('known', 5000)
    const session = await uploaded(sessions, disk)
    const { result } = await sessions.commit(session)
    first.die()
    const second = await open(inner)
    const other = new Sessions(second.repository)
    const next = await begin(other, 'm', disk.length)
    await send(other, next, disk, [{ offset: 0, length: disk.length }])
    await other.commit(next)
    await removePoints(second.repository, 'm', new Set([result.point]))
    await other.close()
    const third = new Sessions((await open(inner)).repository)
    expect(await third.get(session.id)).toMatchObject({ result: { point: result.point } })
    await third.close()
  })

  it.each(['error-before', 'error-after'] as const)(
    'is told when the commit is repeated after an %s',
    async (kind) => {
      let faults = 0
      const decide: DecideFault = (operation, key) =>
        operation === 'put' && DONE.test(key) && faults++ === 0 ? { kind } : undefined
      const { repository } = await open(new FaultyStore(new MemoryStore(), decide))
      const sessions = new Sessions(repository)
      const disk = noise('repeated', 5000)
      const session = await uploaded(sessions, disk)
      await expect(sessions.commit(session)).rejects.toMatchObject({ code: 'STORE_FAILED' })
      const { result } = await sessions.commit(session)
      expect((await sessions.commit(session)).result).toEqual(result)
      expect((await repository.chains.get('m')).state.points.map(({ id }) => id)).toEqual([result.point])
      await sessions.close()
    },
  )
})

describe('what an earlier process left', () => {
  it('is looked for again while the store cannot be asked', async () => {
    const inner = new MemoryStore()
    const before = new Sessions((await open(inner)).repository)
    const session = await begin(before, 'm', 5000)
    await before.close()
    let isDown = true
    const down: DecideFault = (operation) =>
      isDown && operation === 'list' ? { kind: 'error-before' } : undefined
    const { repository, clock } = await open(new FaultyStore(inner, down))
    const sessions = new Sessions(repository)
    const isThere = async (): Promise<boolean> =>
      (await inner.size(`sessions/${session.id}/begin`)) !== undefined
    await expect(sessions.recover()).rejects.toMatchObject({ code: 'STORE_FAILED' })
    await expect(sessions.sweep()).rejects.toMatchObject({ code: 'STORE_FAILED' })
    isDown = false
    await sessions.sweep()
    expect((await sessions.list()).map((open) => open.session)).toEqual([session.id])
    clock.nowMs += DAY_MS + 1
    await sessions.sweep()
    expect(await isThere()).toBe(false)
    await sessions.close()
  })

  it('of a session that was committed is removed later, where that failed', async () => {
    const inner = new MemoryStore()
    let isDown = true
    let failures = 0
    const down: DecideFault = (operation) => {
      if (!isDown || operation !== 'remove') return undefined
      failures++
      return { kind: 'error-before' }
    }
    const { repository } = await open(new FaultyStore(inner, down))
    const sessions = new Sessions(repository)
    await sessions.recover()
    const disk = noise('removed', 5000)
    const session = await begin(sessions, 'm', disk.length)
    await send(sessions, session, disk, [{ offset: 0, length: disk.length }])
    await sessions.commit(session)
    await expect.poll(() => failures).toBeGreaterThan(0)
    isDown = false
    await sessions.sweep()
    const left: string[] = []
    for await (const { key } of inner.list(`sessions/${session.id}/`)) left.push(key)
    expect(left).toEqual([`sessions/${session.id}/done`])
    await sessions.close()
  })
})
