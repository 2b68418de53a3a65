import { expect, it } from 'vitest'
import { KIB, noise, overwritten } from '../../test/disk-bytes.js'
import { backUpBytes, objectsOf, openInMemory } from '../../test/memory-repository.js'
import { Repository } from '../chain/repository.js'
import { MemoryStore } from '../store/memory-store.js'
import { deleteMachine, foldTo } from './fold.js'
import { collectGarbage } from './gc.js'

it('tells of each round what it is going to remove, runs and chain states too, and changes nothing', async () => {
  const store = new MemoryStore()
  await Repository.init(store, { chunkSize: 4 * KIB })
  const repository = await openInMemory(store)
  const disk = noise('disk', 64 * KIB)
  await backUpBytes(repository, 'gone', noise('gone', 32 * KIB), { chunker: 'fixed' })
  await backUpBytes(repository, 'm', disk, { chunker: 'fixed' })
  for (let i = 0; i < 4; i++)
    await backUpBytes(repository, 'm', overwritten(disk, i * 8 * KIB, noise(`${i}`, 8 * KIB)))
  await foldTo(repository, 'm', 1)
  await deleteMachine(repository, 'gone')
  let removed = 0
  for (let round = 0; round < 4; round++) {
    const before = await objectsOf(store)
    const told = await collectGarbage(repository, { dryRun: true, deadShareMax: 1 })
    expect(await objectsOf(store)).toEqual(before)
    const done = await collectGarbage(repository, { deadShareMax: 1 })
    const { removedObjects, removedBytes, condemnedObjects, condemnedBytes } = done
    expect(told).toMatchObject({ removedObjects, removedBytes, condemnedObjects, condemnedBytes })
    removed += removedObjects
  }
  expect(removed).toBeGreaterThan(10)
})
