import { beforeEach, describe, expect, it } from 'vitest'
import { KIB, noise } from '../../test/disk-bytes.js'
import { flipped } from '../../test/format-samples.js'
import { backUpBytes, openInMemory, restoreBytes } from '../../test/memory-repository.js'
import { Repository } from '../chain/repository.js'
import { verifyRepository } from '../restore/verify.js'
import { packsPrefix } from '../store/keys.js'
import { MemoryStore } from '../store/memory-store.js'
import { damagedPoints } from './damaged-points.js'
import { deletePoint, foldTo } from './fold.js'
import { retain } from './retain.js'

/** What the first two points hold, and the next two have more than that. */
const WHOLE = noise('whole', 32 * KIB)
const LONGER = Buffer.concat([WHOLE, noise('and damaged', 32 * KIB)])

let store: MemoryStore
let repository: Repository
let ids: string[]

const pointIds = async (): Promise<string[]> =>
  (await repository.chains.get('m')).state.points.map(({ id }) => id)

beforeEach(async () => {
  store = new MemoryStore()
  await Repository.init(store, { chunkSize: 4 * KIB })
  repository = await openInMemory(store)
  ids = []
  for (const bytes of [WHOLE, WHOLE]) ids.push(await backUpBytes(repository, 'm', bytes))
  const before = new Set<string>()
  for await (const { key } of store.list(packsPrefix)) before.add(key)
  for (const bytes of [LONGER, LONGER]) ids.push(await backUpBytes(repository, 'm', bytes))
  for await (const { key } of store.list(packsPrefix)) {
    if (before.has(key)) continue
    const bytes = await store.readAll(key)
    await store.remove(key)
    await store.put(key, [flipped(bytes, 8000)])
  }
  expect((await verifyRepository(repository, { sample: 1 })).ok).toBe(false)
})

describe('when the newest points are known to be damaged', () => {
  it('says which', async () => {
    const { state } = await repository.chains.get('m')
    expect([...(await damagedPoints(repository, state))]).toEqual([ids[2], ids[3]])
  })

  it('retention keeps the newest that is whole, too, and says why', async () => {
    const { machines } = await retain(repository, 'm', { policy: { last: 1 } })
    expect(machines[0]?.removed).toEqual([ids[0], ids[2]])
    expect(machines[0]?.points[1]).toMatchObject({ keep: true, reasons: ['newest that is whole'] })
    expect((await restoreBytes(repository, 'm', ids[1]!)).equals(WHOLE)).toBe(true)
  })

  it('folding keeps it as well', async () => {
    expect((await foldTo(repository, 'm', 1)).kept).toEqual([ids[1], ids[3]])
  })

  it('no deletion takes the last one that is whole, until a damaged one has healed', async () => {
    await deletePoint(repository, 'm', ids[0]!)
    await expect(deletePoint(repository, 'm', ids[1]!)).rejects.toMatchObject({
      code: 'LAST_POINT',
      details: { machine: 'm', point: ids[1] },
    })
    expect(await pointIds()).toEqual(ids.slice(1))
    const healing = await backUpBytes(repository, 'm', LONGER)
    await deletePoint(repository, 'm', ids[1]!)
    expect((await restoreBytes(repository, 'm', healing)).equals(LONGER)).toBe(true)
  })

  it('all points may go that are damaged', async () => {
    await deletePoint(repository, 'm', ids[3]!)
    await deletePoint(repository, 'm', ids[2]!)
    expect(await pointIds()).toEqual(ids.slice(0, 2))
  })
})
