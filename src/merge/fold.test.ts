import { describe, expect, it } from 'vitest'
import { backUpBytes, openInMemory, restoreBytes } from '../../test/memory-repository.js'
import { Repository } from '../chain/repository.js'
import { MemoryStore } from '../store/memory-store.js'
import { deletePoint } from './fold.js'
import { pin } from './pins.js'

async function inMemory(): Promise<Repository> {
  const store = new MemoryStore()
  await Repository.init(store, { chunkSize: 4096 })
  return openInMemory(store)
}

describe('a feed after the newest point was deleted', () => {
  it('is refused until a point was made without one: it does not tell what the deleted point had changed', async () => {
    const repository = await inMemory()
    const [first, second, third] = [1, 2, 3].map((fill) => Buffer.alloc(8192, fill))
    second!.fill(1, 4096)
    third!.fill(2, 0, 4096)
    await backUpBytes(repository, 'm', first!)
    const newest = await backUpBytes(repository, 'm', second!, { feed: [[0, 4096]] })
    await deletePoint(repository, 'm', newest)
    const feed = { feed: [[4096, 4096]] as const }
    await expect(backUpBytes(repository, 'm', third!, feed)).rejects.toMatchObject({
      code: 'FEED_BASE_UNSURE',
    })
    // A change of something else does not make it right.
    await pin(repository, 'm', 'latest', { reason: 'test' })
    await expect(backUpBytes(repository, 'm', third!, feed)).rejects.toMatchObject({
      code: 'FEED_BASE_UNSURE',
    })
    expect(await restoreBytes(repository, 'm', await backUpBytes(repository, 'm', third!))).toEqual(third)
    expect(
      await restoreBytes(repository, 'm', await backUpBytes(repository, 'm', third!, { feed: [] })),
    ).toEqual(third)
  })

  it('goes on when an older one was deleted', async () => {
    const repository = await inMemory()
    const oldest = await backUpBytes(repository, 'm', Buffer.alloc(8192, 1))
    await backUpBytes(repository, 'm', Buffer.alloc(8192, 2))
    await deletePoint(repository, 'm', oldest)
    const point = await backUpBytes(repository, 'm', Buffer.alloc(8192, 2), { feed: [] })
    expect(await restoreBytes(repository, 'm', point)).toEqual(Buffer.alloc(8192, 2))
  })
})
