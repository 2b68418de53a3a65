import { expect, it } from 'vitest'
import { KIB, noise } from '../../test/disk-bytes.js'
import { backUpBytes, openInMemory, restoreBytes } from '../../test/memory-repository.js'
import { Repository } from '../chain/repository.js'
import { runsPrefix } from '../store/keys.js'
import { MemoryStore } from '../store/memory-store.js'
import { deleteMachine } from './fold.js'
import { collectGarbage } from './gc.js'

it('collects nothing while a run is lost, names the machine, and goes on once that machine is given up', async () => {
  const store = new MemoryStore()
  await Repository.init(store, { chunkSize: 4 * KIB })
  const repository = await openInMemory(store)
  const kept = noise('kept', 64 * KIB)
  const point = await backUpBytes(repository, 'kept', kept)
  await backUpBytes(repository, 'hurt', noise('hurt', 64 * KIB))
  for await (const { key } of store.list(runsPrefix('hurt'))) await store.remove(key)
  const before = store.usedBytes
  const again = await openInMemory(store)
  await expect(collectGarbage(again)).rejects.toMatchObject({
    code: 'OBJECT_NOT_FOUND',
    details: { machine: 'hurt' },
    message: expect.stringContaining('everfold delete-machine hurt --yes') as string,
  })
  expect(store.usedBytes).toBe(before)
  await deleteMachine(again, 'hurt')
  for (let round = 0; round < 3; round++) await collectGarbage(again)
  expect(store.usedBytes).toBeLessThan(before - 60 * KIB)
  expect((await restoreBytes(again, 'kept', point)).equals(kept)).toBe(true)
})
