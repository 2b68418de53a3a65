import { expect, it } from 'vitest'
import { KIB, noise, overwritten } from '../../test/disk-bytes.js'
import { backUpBytes, openInMemory, restoreBytes } from '../../test/memory-repository.js'
import { Repository } from '../chain/repository.js'
import { bundlesPrefix } from '../store/keys.js'
import { MemoryStore } from '../store/memory-store.js'
import { foldTo } from './fold.js'
import { collectGarbage } from './gc.js'

const BLOCK = 4 * KIB
const BLOCKS = 100

async function bundles(store: MemoryStore): Promise<Map<string, number>> {
  const found = new Map<string, number>()
  for await (const { key, sizeBytes } of store.list(bundlesPrefix)) found.set(key, sizeBytes)
  return found
}

it('joins what is left of a bundle anew once most of it is dead, and lets the bundle go', async () => {
  const store = new MemoryStore()
  await Repository.init(store, { chunkSize: BLOCK, frameSize: 4 * BLOCK, packSize: 1024 * KIB })
  const repository = await openInMemory(store)
  let disk = noise('disk', BLOCKS * BLOCK)
  let point = await backUpBytes(repository, 'm', disk, { chunker: 'fixed' })
  const write = async (name: string, from: number, count: number): Promise<void> => {
    disk = overwritten(disk, from * BLOCK, noise(name, count * BLOCK))
    point = await backUpBytes(repository, 'm', disk, { feed: [[from * BLOCK, count * BLOCK]] })
  }
  for (let i = 0; i < 12; i++) await write(`first ${i}`, i * 8, 8)
  await foldTo(repository, 'm', 1)
  // The packs' former objects lie in quarantine for a round, and are removed in the next.
  for (let round = 0; round < 3; round++) await collectGarbage(repository)
  const first = await bundles(store)
  expect(first.size).toBeGreaterThan(0)
  // Each pack of the bundles keeps two of its eight chunks.
  for (let i = 0; i < 12; i++) await write(`second ${i}`, i * 8, 6)
  await foldTo(repository, 'm', 1)
  const collected = await collectGarbage(repository)
  // The full's pack is small, too.
  expect(collected.joinedPacks).toBe(1 + 12 + 12)
  for (let round = 0; round < 2; round++) await collectGarbage(repository)
  expect(await collectGarbage(repository)).toMatchObject({ condemnedObjects: 0, joinedPacks: 0 })
  const left = await bundles(store)
  for (const key of first.keys()) expect(left.has(key)).toBe(false)
  const stored = [...left.values()].reduce((sum, bytes) => sum + bytes, 0)
  expect(stored).toBeLessThan(110 * BLOCK)
  const again = await openInMemory(store)
  expect((await restoreBytes(again, 'm', point)).equals(disk)).toBe(true)
})
