import { expect, it } from 'vitest'
import { KIB, noise } from '../../test/disk-bytes.js'
import { backUpBytes, openInMemory, restoreBytes } from '../../test/memory-repository.js'
import { Repository } from '../chain/repository.js'
import { isEverfoldError } from '../errors.js'
import { type DecideFault, FaultyStore } from '../store/faulty-store.js'
import { chainsPrefix } from '../store/keys.js'
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

it('leaves no gap between chain states when the listing leaves some out, so that the newest is found by asking for the next', async () => {
  const memory = new MemoryStore()
  await Repository.init(memory, { chunkSize: 4 * KIB })
  let newest = ''
  for (let i = 0; i < 9; i++)
    newest = await backUpBytes(await openInMemory(memory), 'm', noise(`point ${i}`, 8 * KIB))
  const listing =
    (shows: (sequence: number) => boolean): DecideFault =>
    (operation, key) =>
      operation === 'list' && key === chainsPrefix('m')
        ? { kind: 'partial-listing', drops: (each) => !shows(Number(each.slice(-12))) }
        : undefined
  for (const parity of [0, 1]) {
    await collectGarbage(
      await openInMemory(
        new FaultyStore(
          memory,
          listing((n) => n % 2 === parity),
        ),
      ),
    )
    for (let only = 0; only < 12; only++) {
      const { chains } = await openInMemory(
        new FaultyStore(
          memory,
          listing((n) => n === only),
        ),
      )
      const found = await chains.find('m').catch((error: unknown) => {
        if (!isEverfoldError(error, 'LISTING_INCOMPLETE')) throw error
      })
      if (found !== undefined) expect(found.state.points.at(-1)?.id).toBe(newest)
    }
  }
})
