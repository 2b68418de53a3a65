import { beforeEach, describe, expect, it } from 'vitest'
import { addPoints, Clock, clockedRepository, pointIds, reopened } from '../../test/clocked-repository.js'
import type { Repository } from '../chain/repository.js'
import { type DecideFault, FaultyStore } from '../store/faulty-store.js'
import { chainKey, settingsKey } from '../store/keys.js'
import { MemoryStore } from '../store/memory-store.js'
import { deleteMachine } from './fold.js'
import { pin } from './pins.js'
import { retain, retainAfterBackup } from './retain.js'
import { savePolicy } from './retain-policy.js'

const DAYS = Array.from({ length: 12 }, (_, i) => `2026-11-${String(i + 8).padStart(2, '0')}T20:00:00Z`)

let clock: Clock
let fault: DecideFault
let repository: Repository
let ids: string[]

beforeEach(async () => {
  clock = new Clock('2026-11-19T20:30:00Z')
  fault = () => undefined
  repository = await clockedRepository(clock, new FaultyStore(new MemoryStore(), (...call) => fault(...call)))
  ids = await addPoints(repository, 'm', DAYS)
})

const objects = async (): Promise<string[]> => {
  const keys: string[] = []
  for await (const { key } of repository.store.list('')) keys.push(key)
  return keys.sort()
}

describe('retain', () => {
  it('removes what the policy does not keep, and says why the rest stays', async () => {
    const { machines, withoutPolicy, failed } = await retain(repository, 'm', {
      policy: { last: 2, weekly: 2 },
    })
    expect([withoutPolicy, failed]).toEqual([[], []])
    expect(machines[0]).toMatchObject({
      machine: 'm',
      source: 'given',
      dryRun: false,
      policy: { last: 2, weekly: 2 },
    })
    expect(machines[0]?.removed).toEqual(ids.filter((_, i) => ![7, 10, 11].includes(i)))
    const stays = machines[0]?.points
      .filter((point) => point.keep)
      .map(({ point, reasons }) => [point, reasons])
    expect(stays).toEqual([
      [ids[7], ['weekly 2026-W46']],
      [ids[10], ['last 2']],
      [ids[11], ['newest', 'last 2', 'weekly 2026-W47']],
    ])
    expect(await pointIds(repository, 'm')).toEqual([ids[7], ids[10], ids[11]])
    expect((await retain(repository, 'm', { policy: { last: 2, weekly: 2 } })).machines[0]?.removed).toEqual(
      [],
    )
  })

  it('only tells in a dry run: not one object is written', async () => {
    const before = await objects()
    const { machines } = await retain(repository, 'm', { policy: { last: 1 }, dryRun: true })
    expect(machines[0]).toMatchObject({ dryRun: true, removed: ids.slice(0, -1), freedBytes: 0 })
    expect(machines[0]?.points).toHaveLength(12)
    expect([await objects(), await pointIds(repository, 'm')]).toEqual([before, ids])
  })

  it('keeps what is young by the clock it is given', async () => {
    const policy = { last: 1, minAgeSeconds: 3 * 86_400 }
    await retain(repository, 'm', { policy })
    expect(await pointIds(repository, 'm')).toEqual(ids.slice(-3))
    clock.set('2026-11-25T00:00:00Z')
    await retain(repository, 'm', { policy })
    expect(await pointIds(repository, 'm')).toEqual(ids.slice(-1))
  })

  it('never removes a pinned point, nor the last one', async () => {
    await pin(repository, 'm', 'parent', { reason: 'x' })
    clock.set('2099-01-01T00:00:00Z')
    await retain(repository, 'm', { policy: { yearly: 1 } })
    expect(await pointIds(repository, 'm')).toEqual([ids[0], ids[11]])
  })

  it('refuses a policy that keeps nothing, and an unknown machine, and changes nothing', async () => {
    const before = await objects()
    for (const policy of [{}, { last: 0 }, { last: -1 }, { daily: 0.5 }, { last: 1, timeZone: 'Nowhere' }]) {
      for (const machine of ['m', undefined])
        await expect(retain(repository, machine, { policy })).rejects.toMatchObject({
          code: 'POLICY_INVALID',
        })
      for (const machine of ['m', undefined])
        await expect(savePolicy(repository, machine, policy)).rejects.toMatchObject({
          code: 'POLICY_INVALID',
        })
    }
    await expect(retain(repository, 'm')).rejects.toMatchObject({ code: 'POLICY_INVALID' })
    for (const work of [
      retain(repository, 'nobody', { policy: { last: 1 } }),
      savePolicy(repository, 'nobody', { last: 1 }),
      savePolicy(repository, 'nobody', undefined),
    ])
      await expect(work).rejects.toMatchObject({ code: 'MACHINE_UNKNOWN' })
    expect(await objects()).toEqual(before)
  })

  it('decides anew when points were pinned or removed while it waited for a fold', async () => {
    let retaining: Promise<unknown> = Promise.resolve()
    const [first = '', second = ''] = ids
    await repository.folding.run('m', async () => {
      retaining = retain(repository, 'm', { policy: { last: 1 } })
      await new Promise((resolve) => setTimeout(resolve, 20))
      await pin(repository, 'm', first, { reason: 'late' })
      await repository.chains.edit('m', (head) => ({
        points: (head?.state.points ?? []).filter((point) => point.id !== second),
      }))
    })
    expect(await retaining).toMatchObject({ machines: [{ removed: ids.slice(2, -1) }] })
    expect(await pointIds(repository, 'm')).toEqual([first, ids.at(-1)])
  })

  it('run several times at once ends as the strictest of them says', async () => {
    const policies = [{ last: 5 }, { last: 3 }, { weekly: 2, last: 2 }, { last: 3 }]
    await Promise.all(policies.map((policy) => retain(repository, 'm', { policy })))
    expect((await pointIds(repository, 'm')).slice(-2)).toEqual(ids.slice(-2))
    expect(await pointIds(repository, 'm')).toHaveLength(2)
  })
})

describe('a saved policy', () => {
  it("is the machine's own, else the repository's default, else none; and outlives the process", async () => {
    await addPoints(repository, 'n', DAYS)
    expect(await retainAfterBackup(repository, 'm')).toBeUndefined()
    await savePolicy(repository, undefined, { last: 5 })
    await savePolicy(repository, 'm', { last: 3 })
    const again = await reopened(clock, repository.store)
    expect(await retainAfterBackup(again, 'm')).toMatchObject({ removed: { length: 9 } })
    expect(await retainAfterBackup(again, 'n')).toMatchObject({ removed: { length: 7 } })
    await savePolicy(again, 'm', undefined)
    await addPoints(again, 'm', ['2026-11-20', '2026-11-21', '2026-11-22'])
    expect(await retainAfterBackup(again, 'm')).toMatchObject({ removed: { length: 1 } })
    await savePolicy(again, undefined, undefined)
    await addPoints(again, 'm', ['2026-11-23'])
    expect(await retainAfterBackup(again, 'm')).toBeUndefined()
    expect(await pointIds(again, 'm')).toHaveLength(6)
  })

  it('stays with its machine when points and pins change', async () => {
    await savePolicy(repository, 'm', { last: 3 })
    await pin(repository, 'm', 'parent', { reason: 'x' })
    await addPoints(repository, 'm', ['2026-11-20'])
    await retain(repository, 'm', { policy: { last: 6 } })
    expect((await retain(repository, 'm')).machines[0]).toMatchObject({
      source: 'machine',
      policy: { last: 3 },
    })
    expect(await pointIds(repository, 'm')).toHaveLength(4)
  })

  it('goes away with its machine', async () => {
    await savePolicy(repository, 'm', { last: 3 })
    await deleteMachine(repository, 'm')
    await addPoints(repository, 'm', DAYS)
    expect(await retainAfterBackup(repository, 'm')).toBeUndefined()
  })

  it('is not replaced by an older one when it is damaged: nothing is removed until it is saved anew', async () => {
    await savePolicy(repository, undefined, { last: 1 })
    await savePolicy(repository, undefined, { last: 10 })
    fault = (operation, key) =>
      operation === 'readAll' && key === settingsKey(1) ? { kind: 'flipped-bit', bit: 80 } : undefined
    expect(await retainAfterBackup(repository, 'm')).toMatchObject({ error: { code: 'DATA_DAMAGED' } })
    expect(await pointIds(repository, 'm')).toEqual(ids)
    await savePolicy(repository, undefined, { last: 10 })
    expect(await retainAfterBackup(repository, 'm')).toEqual({ removed: ids.slice(0, 2) })
  })
})

describe('retain for all machines', () => {
  it('applies to each what is saved for it, and names those without a policy', async () => {
    for (const machine of ['a', 'b', 'gone']) await addPoints(repository, machine, DAYS)
    await deleteMachine(repository, 'gone')
    await savePolicy(repository, 'a', { last: 2 })
    const first = await retain(repository, undefined)
    expect(first.machines.map(({ machine, removed }) => [machine, removed.length])).toEqual([['a', 10]])
    expect(first.withoutPolicy).toEqual(['b', 'm'])
    const second = await retain(repository, undefined, { defaultPolicy: { last: 4 } })
    expect(second.machines.map(({ machine, removed }) => [machine, removed.length])).toEqual([
      ['a', 0],
      ['b', 8],
      ['m', 8],
    ])
  })

  it('goes on with the others when one fails, and reports that one', async () => {
    await addPoints(repository, 'a', DAYS)
    await addPoints(repository, 'z', DAYS)
    fault = (operation, key) =>
      operation === 'put' && key.startsWith('chains/m/') ? { kind: 'full' } : undefined
    const report = await retain(repository, undefined, { policy: { last: 1 } })
    expect(report.machines.map(({ machine }) => machine)).toEqual(['a', 'z'])
    expect(report.failed).toMatchObject([{ machine: 'm', error: { code: 'STORE_FULL' } }])
    fault = () => undefined
    expect(await pointIds(repository, 'm')).toEqual(ids)
  })

  it('leaves alone a machine whose newest chain state is damaged: pins may be missing from the older one', async () => {
    await pin(repository, 'm', 'parent', { reason: 'x' })
    fault = (operation, key) =>
      operation === 'readAll' && key === chainKey('m', 2) ? { kind: 'flipped-bit', bit: 80 } : undefined
    const again = await reopened(clock, repository.store)
    await expect(retain(again, 'm', { policy: { last: 1 } })).rejects.toMatchObject({ code: 'CHAIN_DAMAGED' })
    fault = () => undefined
    expect(await pointIds(await reopened(clock, repository.store), 'm')).toEqual(ids)
  })
})
