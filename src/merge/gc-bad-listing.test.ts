import { expect, it } from 'vitest'
import { KIB, noise } from '../../test/disk-bytes.js'
import { backUpBytes, openInMemory, restoreBytes } from '../../test/memory-repository.js'
import { Repository } from '../chain/repository.js'
import { type DecideFault, FaultyStore } from '../store/faulty-store.js'
import { MemoryStore } from '../store/memory-store.js'
import { collectGarbage } from './gc.js'

/** A listing of chains that has none. */
const noChains: DecideFault = (operation, key) =>
  operation === 'list' && key.startsWith('chains/') ? { kind: 'empty-listing' } : undefined

it('takes nothing from a machine whose first commit failed or was cut short, when the listing leaves it out', async () => {
  const bytes = noise('a first point', 64 * KIB)
  for (let failing = 0; ; failing++) {
    const memory = new MemoryStore()
    await Repository.init(memory, { chunkSize: 4 * KIB })
    let puts = 0
    const failingStore = new FaultyStore(memory, (operation) =>
      operation === 'put' && puts++ === failing ? { kind: 'error-after' } : undefined,
    )
    const backup = backUpBytes(await openInMemory(failingStore), 'm', bytes)
    const failed = await backup.then(() => false).catch(() => true)
    for (let round = 0; round < 4; round++) {
      const blind = await openInMemory(new FaultyStore(memory, noChains))
      // It may be refused.
      await collectGarbage(blind).catch(() => undefined)
    }
    const repository = await openInMemory(memory)
    const head = await repository.chains.find('m')
    for (const point of head?.state.points ?? [])
      expect((await restoreBytes(repository, 'm', point.id)).equals(bytes)).toBe(true)
    const again = await backUpBytes(repository, 'm', bytes)
    expect((await restoreBytes(repository, 'm', again)).equals(bytes)).toBe(true)
    if (!failed) break
  }
})
