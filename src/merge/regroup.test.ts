import { setImmediate } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { KIB, noise, overwritten } from '../../test/disk-bytes.js'
import { backUpBytes, openInMemory, restoreBytes } from '../../test/memory-repository.js'
import { ZEROS } from '../chain/extent-list.js'
import { Repository } from '../chain/repository.js'
import { planDisk } from '../restore/plan.js'
import { restoreDisk } from '../restore/restore.js'
import { verifyRepository } from '../restore/verify.js'
import { FaultyStore } from '../store/faulty-store.js'
import { packsPrefix } from '../store/keys.js'
import { MemoryStore } from '../store/memory-store.js'
import { deleteMachine, foldTo } from './fold.js'
import { collectGarbage } from './gc.js'

const BLOCK = 4 * KIB
/** Turns in which a fold that does not wait would be done many times over. */
const TURNS = 500
const BLOCKS = 128
/** Scattered: 37 and 128 have no divisor in common. */
const blockOf = (change: number): number => (change * 37) % BLOCKS

interface Aged {
  readonly store: MemoryStore
  readonly repository: Repository
  readonly points: Map<string, Buffer>
}

/** A disk, and so many scattered blocks of it written one after the other, each of them a point. */
async function aged(chunker: 'fixed' | 'cdc', changes: number): Promise<Aged> {
  const store = new MemoryStore()
  await Repository.init(store, { chunkSize: BLOCK, frameSize: 4 * BLOCK, packSize: 32 * BLOCK })
  const repository = await openInMemory(store)
  let disk = noise('disk', BLOCKS * BLOCK)
  const points = new Map([[await backUpBytes(repository, 'm', disk, { chunker }), disk]])
  for (let i = 0; i < changes; i++) {
    disk = overwritten(disk, blockOf(i) * BLOCK, noise(`change ${i}`, BLOCK))
    points.set(await backUpBytes(repository, 'm', disk, { feed: [[blockOf(i) * BLOCK, BLOCK]] }), disk)
  }
  return { store, repository, points }
}

async function newestPlan(repository: Repository): Promise<{ extents: number; packs: number }> {
  const { state } = await repository.chains.get('m')
  const { extents, pins } = await planDisk(repository, state, state.points.length - 1, 'vda')
  pins.end()
  const packs = new Set(extents.pack.subarray(0, extents.length))
  packs.delete(ZEROS)
  return { extents: extents.length, packs: packs.size }
}

async function expectAllWhole(repository: Repository, points: Map<string, Buffer>): Promise<void> {
  const { state } = await repository.chains.get('m')
  for (const { id } of state.points)
    expect((await restoreBytes(repository, 'm', id)).equals(points.get(id) ?? Buffer.alloc(0)), id).toBe(true)
}

async function packsIn(store: MemoryStore): Promise<number> {
  let count = 0
  for await (const _ of store.list(packsPrefix)) count++
  return count
}

it.each(['fixed', 'cdc'] as const)(
  'lets the newest point of a disk that is cut %s lie in few packs, in the order of the disk, whatever was folded',
  async (chunker) => {
    const { store, repository, points } = await aged(chunker, 2 * BLOCKS)
    expect((await newestPlan(repository)).packs).toBe(BLOCKS)
    await foldTo(repository, 'm', 3)
    await collectGarbage(repository)
    // What all blocks take is 512 KiB, in packs of 128 KiB.
    expect((await newestPlan(repository)).packs).toBeLessThan(8)
    expect((await newestPlan(repository)).extents).toBeLessThan(12)
    await expectAllWhole(repository, points)
    for (let round = 0; round < 3; round++) await collectGarbage(repository)
    expect(await packsIn(store)).toBeLessThan(10)
    const again = await openInMemory(store)
    await expectAllWhole(again, points)
    expect(await verifyRepository(again, { sample: 1 })).toMatchObject({ ok: true })
    expect(await collectGarbage(again)).toMatchObject({ writtenBytes: 0, condemnedObjects: 0 })
  },
)

it('writes about as much as came in, however often it is done', async () => {
  const { store, repository } = await aged('fixed', 0)
  let disk = noise('disk', BLOCKS * BLOCK)
  let written = 0
  const changes = 4 * BLOCKS
  for (let i = 0; i < changes; i++) {
    disk = overwritten(disk, blockOf(i) * BLOCK, noise(`change ${i}`, BLOCK))
    const point = await backUpBytes(repository, 'm', disk, { feed: [[blockOf(i) * BLOCK, BLOCK]] })
    await foldTo(repository, 'm', 4)
    if (i % 16 === 15) written += (await collectGarbage(repository)).writtenBytes
    if (i % 128 === 127)
      expect((await restoreBytes(await openInMemory(store), 'm', point)).equals(disk)).toBe(true)
  }
  expect((await newestPlan(repository)).packs).toBeLessThan(30)
  expect(written).toBeLessThan(5 * changes * BLOCK)
})

it('lets a restore that has begun go on from where the chunks were', async () => {
  const { repository, points } = await aged('fixed', 40)
  const [newest = '', disk = Buffer.alloc(0)] = [...points].at(-1) ?? []
  const { state } = await repository.chains.get('m')
  const plan = await planDisk(repository, state, state.points.length - 1, 'vda')
  await foldTo(repository, 'm', 1)
  for (let round = 0; round < 4; round++) await collectGarbage(repository, { graceRounds: 0 })
  const restored = Buffer.alloc(plan.sizeBytes, 'a gap')
  await restoreDisk(
    repository,
    plan,
    { write: async (part, offset) => restored.set(part, offset), zeros: async () => undefined },
    () => undefined,
  )
  plan.pins.end()
  expect(restored.equals(disk)).toBe(true)
  for (let round = 0; round < 3; round++) await collectGarbage(repository, { graceRounds: 0 })
  expect((await newestPlan(repository)).packs).toBeLessThan(8)
  expect((await restoreBytes(repository, 'm', newest)).equals(disk)).toBe(true)
})

it('takes a backup that found its chunks where they were, while they moved', async () => {
  const { store, repository, points } = await aged('fixed', 40)
  const disk = [...points.values()].at(-1) ?? Buffer.alloc(0)
  await foldTo(repository, 'm', 2)
  const [, other] = await Promise.all([
    collectGarbage(repository, { graceRounds: 0 }),
    backUpBytes(repository, 'other', Buffer.concat([disk, noise('more', BLOCK)]), { chunker: 'fixed' }),
  ])
  for (let round = 0; round < 4; round++) await collectGarbage(repository, { graceRounds: 0 })
  const again = await openInMemory(store)
  await expectAllWhole(again, points)
  expect((await restoreBytes(again, 'other', other)).subarray(0, disk.length).equals(disk)).toBe(true)
})

it('lets a fold of the machine wait until its runs have the new addresses', async () => {
  const { store, points } = await aged('fixed', 40)
  let goOn = (): void => undefined
  const held = new Promise<void>((resolve) => (goOn = resolve))
  let hasBegun = (): void => undefined
  const begun = new Promise<void>((resolve) => (hasBegun = resolve))
  const slow = new FaultyStore(store, (operation, key) => {
    if (operation !== 'put' || !key.startsWith('runs/')) return undefined
    hasBegun()
    return { kind: 'delay', wait: () => held }
  })
  const repository = await openInMemory(slow)
  const collection = collectGarbage(repository)
  await begun
  const folded = foldTo(repository, 'm', 2)
  for (let turn = 0; turn < TURNS; turn++) await setImmediate()
  goOn()
  await Promise.all([collection, folded])
  const again = await openInMemory(store)
  expect((await again.chains.get('m')).state.points).toHaveLength(2)
  await expectAllWhole(again, points)
  expect((await newestPlan(again)).packs).toBeLessThan(8)
})

it('makes room of what is dead also where there is none to regroup, and says that there was none', async () => {
  const { store, points } = await aged('fixed', 40)
  const before = await openInMemory(store)
  await backUpBytes(before, 'dead', noise('dead', 64 * BLOCK), { chunker: 'fixed' })
  await foldTo(before, 'm', 2)
  await deleteMachine(before, 'dead')
  const packs = await packsIn(store)
  const full = await openInMemory(
    new FaultyStore(store, (operation, key) =>
      operation === 'put' && key.startsWith(packsPrefix) ? { kind: 'full' } : undefined,
    ),
  )
  for (let round = 0; round < 3; round++)
    await expect(collectGarbage(full)).rejects.toMatchObject({ code: 'STORE_FULL' })
  expect(await packsIn(store)).toBe(packs - 1)
  const again = await openInMemory(store)
  await expectAllWhole(again, points)
  const after = await openInMemory(store)
  for (let round = 0; round < 3; round++) await collectGarbage(after)
  expect((await newestPlan(after)).packs).toBeLessThan(8)
})
