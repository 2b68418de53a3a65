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
  for await (const { key } of store.list(packsPrefix))
    for (const chunk of [CHUNKS[0]!, CHUNKS[7]!])
      await flip(store, key, (bytes) => bytes.indexOf(chunk) + 100)
}

/** Flips a bit of one byte of an object. */
async function flip(store: MemoryStore, key: string, byte: (bytes: Buffer) => number): Promise<void> {
  const bytes = await store.readAll(key)
  bytes[byte(Buffer.from(bytes))]! ^= 1
  await store.remove(key)
  await store.put(key, [bytes])
}

async function onlyPack(store: MemoryStore): Promise<string> {
  const keys: string[] = []
  for await (const { key } of store.list(packsPrefix)) keys.push(key)
  expect(keys).toHaveLength(1)
  return keys[0] ?? ''
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

it('fails the restore of what has healed in part with just what has not', async () => {
  const store = new MemoryStore()
  await Repository.init(store, { chunkSize: 4 * KIB, frameSize: 4 * KIB })
  const old = await backUpBytes(await openInMemory(store), 'old', Buffer.concat(CHUNKS), { chunker: 'fixed' })
  await spoil(store)
  const repository = await openInMemory(store)
  await verifyRepository(repository, { sample: 1 })
  await backUpBytes(repository, 'new', CHUNKS[0]!, { chunker: 'fixed' })
  await healDamage(repository)
  await expect(restoreBytes(await openInMemory(store), 'old', old)).rejects.toMatchObject({
    code: 'DATA_DAMAGED',
    details: { lostBytes: 4 * KIB, lost: [{ offset: 28 * KIB, length: 4 * KIB }] },
  })
})

it.each(['a chunk', 'the directory'])(
  'makes points whole for every later process when %s of a pack rotted and the same chunks came again, also where it was killed before',
  async (what) => {
    const all = Buffer.concat(CHUNKS)
    const store = new MemoryStore()
    await Repository.init(store, { chunkSize: 4 * KIB, frameSize: 4 * KIB })
    const old = await backUpBytes(await openInMemory(store), 'old', all, { chunker: 'fixed' })
    const isChunk = what === 'a chunk'
    await flip(store, await onlyPack(store), (bytes) =>
      isChunk ? bytes.indexOf(CHUNKS[3]!) + 100 : bytes.length - 100,
    )
    const repository = await openInMemory(store)
    expect((await verifyRepository(repository, { sample: 1 })).damaged).toHaveLength(1)
    // Killed before it could heal: the new generation is there, and nobody was told that it is the one to read.
    const point = await backUpBytes(repository, 'new', all, { chunker: 'fixed' })
    const expectWhole = async (): Promise<void> => {
      expect((await restoreBytes(await openInMemory(store), 'new', point)).equals(all)).toBe(true)
      expect((await restoreBytes(await openInMemory(store), 'old', old)).equals(all)).toBe(true)
    }
    await expectWhole()
    // What is good now is no damage any more, of which a record would say what not to read.
    expect((await verifyRepository(await openInMemory(store), { sample: 1 })).damaged).toEqual([])
    await expectWhole()
    const after = await openInMemory(store)
    const again = await backUpBytes(after, 'new', all, { chunker: 'fixed' })
    expect((await restoreBytes(await openInMemory(store), 'new', again)).equals(all)).toBe(true)
    for (let round = 0; round < 3; round++) await collectGarbage(await openInMemory(store))
    await expectWhole()
  },
)

it('keeps an older generation that may have the only good copy of what is damaged in the newest', async () => {
  const all = Buffer.concat(CHUNKS)
  const store = new MemoryStore()
  await Repository.init(store, { chunkSize: 4 * KIB, frameSize: 4 * KIB })
  const old = await backUpBytes(await openInMemory(store), 'old', all, { chunker: 'fixed' })
  const first = await onlyPack(store)
  await flip(store, first, (bytes) => bytes.indexOf(CHUNKS[0]!) + 100)
  const repository = await openInMemory(store)
  await verifyRepository(repository, { sample: 1 })
  await backUpBytes(repository, 'new', CHUNKS[0]!, { chunker: 'fixed' })
  await healDamage(repository)
  await flip(store, first.replace(/0$/, '1'), (bytes) => bytes.indexOf(CHUNKS[5]!) + 100)
  const { ok, damaged } = await verifyRepository(await openInMemory(store), { sample: 1 })
  expect({ ok, damaged }).toEqual({ ok: false, damaged: [] })
  for (let round = 0; round < 3; round++) await collectGarbage(await openInMemory(store))
  expect((await restoreBytes(await openInMemory(store), 'old', old)).equals(all)).toBe(true)
  const healing = await openInMemory(store)
  await backUpBytes(healing, 'another', CHUNKS[5]!, { chunker: 'fixed' })
  expect(await healDamage(healing)).toEqual({ healedChunks: 1, damagedChunks: 0 })
  for (let round = 0; round < 3; round++) await collectGarbage(await openInMemory(store))
  expect((await restoreBytes(await openInMemory(store), 'old', old)).equals(all)).toBe(true)
  expect(await verifyRepository(await openInMemory(store), { sample: 1 })).toMatchObject({ ok: true })
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
