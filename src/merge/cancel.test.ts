import { describe, expect, it } from 'vitest'
import { KIB, noise, overwritten } from '../../test/disk-bytes.js'
import { backUpBytes, objectsOf, openInMemory, restoreBytes, storeOf } from '../../test/memory-repository.js'
import { reindex } from '../chain/reindex.js'
import { Repository } from '../chain/repository.js'
import { verifyRepository } from '../restore/verify.js'
import { MemoryStore } from '../store/memory-store.js'
import type { Store } from '../store/store.js'
import { deletePoint } from './fold.js'
import { collectGarbage } from './gc.js'
import { collectRounds } from './gc-rounds.js'

/** A store that calls `each` before every operation. */
function watched(store: Store, each: () => void): Store {
  return new Proxy(store, {
    get: (target, name) => {
      const member: unknown = Reflect.get(target, name)
      if (typeof member !== 'function') return member
      return (...args: unknown[]): unknown => {
        each()
        return member.apply(target, args)
      }
    },
  })
}

/** Runs `work` on a fresh copy of the repository, cancelled at its operation number `at`. @returns whether it was cancelled */
async function cancelledAt(
  objects: ReadonlyMap<string, Uint8Array>,
  at: number,
  work: (repository: Repository, signal: AbortSignal) => Promise<unknown>,
): Promise<{ readonly repository: Repository; readonly cancelled: boolean }> {
  const cancelling = new AbortController()
  let operations = Number.NEGATIVE_INFINITY
  const store = watched(await storeOf(objects), () => {
    if (++operations === at) cancelling.abort()
  })
  const repository = await openInMemory(store)
  await reindex(repository)
  operations = 0
  try {
    await work(repository, cancelling.signal)
    return { repository, cancelled: false }
  } catch (error) {
    expect(error).toMatchObject({ code: 'CANCELLED' })
    return { repository, cancelled: true }
  }
}

const DISK = noise('disk', 600 * KIB)

/** Two points of one machine, with packs that are dead, sparse, condemned and small. */
async function used(): Promise<{
  objects: ReadonlyMap<string, Uint8Array>
  kept: ReadonlyMap<string, Buffer>
}> {
  const store = new MemoryStore()
  await Repository.init(store, { chunkSize: 16 * KIB, packSize: 128 * KIB })
  const repository = await openInMemory(store)
  const ids: string[] = []
  const disks: Buffer[] = []
  for (let i = 0; i < 12; i++) {
    const disk = overwritten(DISK, i * 40 * KIB, noise(`change ${i}`, 40 * KIB))
    disks.push(disk)
    ids.push(await backUpBytes(repository, 'm', disk, { chunker: 'fixed' }))
  }
  for (const id of ids.slice(0, 4)) await deletePoint(repository, 'm', id)
  await collectGarbage(repository)
  for (const id of ids.slice(4, 10)) await deletePoint(repository, 'm', id)
  const kept = new Map([10, 11].map((i) => [ids[i] ?? '', disks[i] ?? Buffer.alloc(0)]))
  return { objects: await objectsOf(store), kept }
}

async function expectWhole(repository: Repository, kept: ReadonlyMap<string, Buffer>): Promise<void> {
  expect(await verifyRepository(repository, { sample: 1 })).toMatchObject({ ok: true, objects: [] })
  for (const [id, bytes] of kept)
    expect((await restoreBytes(repository, 'm', id)).equals(bytes), id).toBe(true)
}

describe('a collection that is cancelled at any step', () => {
  it('leaves every point whole, takes new ones, and the next one collects all the same', async () => {
    const { objects, kept } = await used()
    let cancelledOnes = 0
    for (let at = 1; ; at++) {
      const { repository, cancelled } = await cancelledAt(objects, at, (open, signal) =>
        collectRounds(open, 3, { signal }),
      )
      if (!cancelled) break
      cancelledOnes++
      const added = await backUpBytes(repository, 'm', DISK, { chunker: 'fixed' })
      await expectWhole(repository, new Map([...kept, [added, DISK]]))
      await deletePoint(repository, 'm', added)
      await collectRounds(repository, 3)
      await expectWhole(repository, kept)
    }
    expect(cancelledOnes).toBeGreaterThan(50)
  }, 120_000)
})

describe('a verification that is cancelled at any step', () => {
  it('changes nothing, and reads nothing more', async () => {
    const { objects } = await used()
    let cancelledOnes = 0
    for (let at = 1; ; at += 3) {
      const { repository, cancelled } = await cancelledAt(objects, at, (open, signal) =>
        verifyRepository(open, { sample: 1, signal }),
      )
      if (!cancelled) break
      cancelledOnes++
      expect((await objectsOf(repository.store)).size).toBe(objects.size)
    }
    expect(cancelledOnes).toBeGreaterThan(10)
  }, 120_000)
})

describe('a rebuilding of the index that is cancelled at any step', () => {
  it('leaves an index that lacks some, which costs space and nothing else', async () => {
    const { objects, kept } = await used()
    for (let at = 1; ; at += 2) {
      const { repository, cancelled } = await cancelledAt(objects, at, (open, signal) =>
        reindex(open, undefined, signal),
      )
      if (!cancelled) break
      expect(await (await repository.index()).getNote('complete')).toBeUndefined()
      const added = await backUpBytes(repository, 'm', DISK, { chunker: 'fixed' })
      await expectWhole(repository, new Map([...kept, [added, DISK]]))
    }
  }, 120_000)
})
