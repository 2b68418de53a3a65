import { expect, it } from 'vitest'
import { KIB, noise, overwritten } from '../../test/disk-bytes.js'
import { backUpBytes, openInMemory, restoreBytes } from '../../test/memory-repository.js'
import { Repository } from '../chain/repository.js'
import { encodeBundleTail } from '../pack/bundle-format.js'
import { verifyRepository } from '../restore/verify.js'
import { bundleKey, bundlesPrefix, packsPrefix, parsePackKey } from '../store/keys.js'
import { MemoryStore } from '../store/memory-store.js'
import { foldTo } from './fold.js'
import { collectGarbage } from './gc.js'

const BLOCK = 4 * KIB
const BLOCKS = 100

async function keysBelow(store: MemoryStore, prefix: string): Promise<string[]> {
  const keys: string[] = []
  for await (const { key } of store.list(prefix)) keys.push(key)
  return keys
}

/** Puts all packs into one bundle, as earlier versions did with small ones. */
async function bundle(store: MemoryStore): Promise<void> {
  const keys = await keysBelow(store, packsPrefix)
  const parts: Uint8Array[] = []
  let offset = 0
  const members = []
  for (const key of keys) {
    const bytes = await store.readAll(key)
    const { packId = '', generation = 0 } = parsePackKey(key) ?? {}
    members.push({ packId, generation, offset, length: bytes.length })
    parts.push(bytes)
    offset += bytes.length
  }
  const tail = encodeBundleTail(members)
  await store.put(bundleKey(tail.id), [...parts, tail.bytes])
  for (const key of keys) await store.remove(key)
}

it('makes packs of bundles that earlier versions wrote, and lets the bundles go', async () => {
  const store = new MemoryStore()
  await Repository.init(store, { chunkSize: BLOCK, frameSize: 4 * BLOCK, packSize: 1024 * KIB })
  const before = await openInMemory(store)
  let disk = noise('disk', BLOCKS * BLOCK)
  let point = await backUpBytes(before, 'm', disk, { chunker: 'fixed' })
  for (let i = 0; i < 12; i++) {
    disk = overwritten(disk, i * 8 * BLOCK, noise(`change ${i}`, 6 * BLOCK))
    point = await backUpBytes(before, 'm', disk, { feed: [[i * 8 * BLOCK, 6 * BLOCK]] })
  }
  await bundle(store)
  expect((await restoreBytes(await openInMemory(store), 'm', point)).equals(disk)).toBe(true)
  const repository = await openInMemory(store)
  await foldTo(repository, 'm', 1)
  // The full's pack is of those of which most is dead.
  expect(await collectGarbage(repository)).toMatchObject({ joinedPacks: 12, rewrittenPacks: 1 })
  // The bundle is condemned, lies in quarantine for a round, and is removed in the next.
  for (let round = 0; round < 2; round++) await collectGarbage(repository)
  expect(await keysBelow(store, bundlesPrefix)).toEqual([])
  expect(await keysBelow(store, packsPrefix)).toHaveLength(1)
  expect(await collectGarbage(repository)).toMatchObject({ condemnedObjects: 0, joinedPacks: 0 })
  const again = await openInMemory(store)
  expect((await restoreBytes(again, 'm', point)).equals(disk)).toBe(true)
  expect(await verifyRepository(again, { sample: 1 })).toMatchObject({ ok: true })
})
