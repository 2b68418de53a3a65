import { expect, it } from 'vitest'
import { KIB, noise } from '../../test/disk-bytes.js'
import { backUpBytes, openInMemory, restoreBytes } from '../../test/memory-repository.js'
import { Repository } from '../chain/repository.js'
import { verifyRepository } from '../restore/verify.js'
import { packKey, packsPrefix, parsePackKey } from '../store/keys.js'
import { MemoryStore } from '../store/memory-store.js'
import { collectGarbage } from './gc.js'
import { healDamage } from './heal.js'

const CHUNKS = Array.from({ length: 8 }, (_, i) => noise(`chunk ${i}`, 4 * KIB))

/** Spoils the first and the last chunk of the only pack. */
async function spoil(store: MemoryStore): Promise<void> {
  for await (const { key } of store.list(packsPrefix)) {
    const bytes = await store.readAll(key)
    for (const chunk of [CHUNKS[0]!, CHUNKS[7]!]) bytes[Buffer.from(bytes).indexOf(chunk) + 100]! ^= 1
    await store.remove(key)
    await store.put(key, [bytes])
  }
}

it('goes on with what has healed in part: new points refer to nothing damaged, and the old ones are whole in the end', async () => {
  const store = new MemoryStore()
  await Repository.init(store, { chunkSize: 4 * KIB, frameSize: 4 * KIB })
  const all = Buffer.concat(CHUNKS)
  const old = await backUpBytes(await openInMemory(store), 'old', all, { chunker: 'fixed' })
  await spoil(store)
  for (const chunk of [CHUNKS[0]!, CHUNKS[7]!]) {
    const repository = await openInMemory(store)
    expect((await verifyRepository(repository, { sample: 1 })).ok).toBe(false)
    const point = await backUpBytes(repository, 'new', chunk, { chunker: 'fixed' })
    await healDamage(repository)
    expect((await restoreBytes(await openInMemory(store), 'new', point)).equals(chunk)).toBe(true)
    await collectGarbage(await openInMemory(store))
  }
  expect((await restoreBytes(await openInMemory(store), 'old', old)).equals(all)).toBe(true)
  for (let round = 0; round < 3; round++) await collectGarbage(await openInMemory(store))
  const repository = await openInMemory(store)
  expect((await restoreBytes(repository, 'old', old)).equals(all)).toBe(true)
  expect(await verifyRepository(repository, { sample: 1 })).toMatchObject({ ok: true })
})

it('leaves a generation that may be referred to, also for whoever read the former one before it was condemned', async () => {
  const all = Buffer.concat(CHUNKS)
  const storeWith = async (): Promise<MemoryStore> => {
    const store = new MemoryStore()
    await Repository.init(store, { chunkSize: 4 * KIB, frameSize: 4 * KIB })
    await backUpBytes(await openInMemory(store), 'old', all, { chunker: 'fixed' })
    return store
  }
  const healed = await storeWith()
  await spoil(healed)
  const healing = await openInMemory(healed)
  await verifyRepository(healing, { sample: 1 })
  await backUpBytes(healing, 'new', all, { chunker: 'fixed' })
  await healDamage(healing)
  // As a crash leaves it: the new generation is there, and the former one is not condemned yet.
  const store = await storeWith()
  const [packId = ''] = [...(await packsOf(healed))].find(([, generations]) => generations > 1) ?? []
  const key = packKey(packId, 1)
  await store.put(key, [await healed.readAll(key)])
  const repository = await openInMemory(store)
  expect((await repository.catalog.directory(packId)).generation).toBe(0)
  await collectGarbage(repository)
  expect(repository.catalog.quarantine.isCondemned(packId, 0)).toBe(true)
  const directory = await repository.catalog.directory(packId)
  expect(directory.generation).toBe(1)
  expect(repository.catalog.mayReference(directory, 3)).toBe(true)
})

/** How many generations there are of each pack. */
async function packsOf(store: MemoryStore): Promise<Map<string, number>> {
  const generations = new Map<string, number>()
  for await (const { key } of store.list(packsPrefix)) {
    const packId = parsePackKey(key)?.packId ?? ''
    generations.set(packId, (generations.get(packId) ?? 0) + 1)
  }
  return generations
}
