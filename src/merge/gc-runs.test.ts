import { setImmediate } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { KIB, noise } from '../../test/disk-bytes.js'
import { backUpBytes, openInMemory, restoreBytes } from '../../test/memory-repository.js'
import { Repository } from '../chain/repository.js'
import { FaultyStore } from '../store/faulty-store.js'
import { MemoryStore } from '../store/memory-store.js'
import { deleteMachine } from './fold.js'
import { collectGarbage } from './gc.js'

/** Turns in which a backup that does not wait would be done many times over. */
const TURNS = 500

it('keeps a run that a backup writes again while the collection is about to remove it', async () => {
  let goOn = (): void => undefined
  const removal = new Promise<void>((resolve) => (goOn = resolve))
  let hasBegun = (): void => undefined
  const begun = new Promise<void>((resolve) => (hasBegun = resolve))
  const store = new FaultyStore(new MemoryStore(), (operation, key) => {
    if (operation !== 'remove' || !key.startsWith('runs/')) return undefined
    hasBegun()
    return { kind: 'delay', wait: () => removal }
  })
  await Repository.init(store, { chunkSize: 4 * KIB })
  const repository = await openInMemory(store)
  const bytes = noise('again and again', 64 * KIB)
  // Keeps the packs: a backup waits for those that are about to go.
  const more = Buffer.concat([bytes, noise('more', 4 * KIB)])
  await backUpBytes(repository, 'other', more, { chunker: 'fixed' })
  await backUpBytes(repository, 'm', bytes, { chunker: 'fixed' })
  await deleteMachine(repository, 'm')
  const collection = collectGarbage(repository)
  await begun
  // The same bytes make the same run.
  const backup = backUpBytes(repository, 'm', bytes, { chunker: 'fixed' })
  for (let turn = 0; turn < TURNS; turn++) await setImmediate()
  goOn()
  await collection
  const point = await backup
  expect((await restoreBytes(await openInMemory(store), 'm', point)).equals(bytes)).toBe(true)
})
