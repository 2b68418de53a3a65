import { beforeEach, describe, expect, it } from 'vitest'
import { addPoints, Clock, clockedRepository, pointIds, reopened } from '../../test/clocked-repository.js'
import type { Repository } from '../chain/repository.js'
import { foldTo, removePoints } from './fold.js'
import { pin, unpin } from './pins.js'

const TIMES = ['2026-11-01', '2026-11-02', '2026-11-03', '2026-11-04']
const UNTIL_MS = Date.parse('2026-12-01T00:00:00Z')

let clock: Clock
let repository: Repository
let ids: string[]

beforeEach(async () => {
  clock = new Clock('2026-11-20T12:00:00Z')
  repository = await clockedRepository(clock)
  ids = await addPoints(repository, 'm', TIMES)
})

const sequence = async (): Promise<number> => (await repository.chains.get('m')).state.sequence

describe('a pin', () => {
  it('is kept with its point, durably, and can be replaced and taken off', async () => {
    const [first = ''] = ids
    expect(await pin(repository, 'm', 'parent', { reason: ' before upgrade ' })).toEqual({
      machine: 'm',
      point: first,
      pin: { reason: 'before upgrade' },
      before: null,
    })
    const until = new Date(UNTIL_MS).toISOString()
    await pin(repository, 'm', first, { reason: 'audit', untilMs: UNTIL_MS })
    const again = await reopened(clock, repository.store)
    const { points } = (await again.chains.get('m')).state
    expect(points.map((point) => point.pin)).toEqual([
      { reason: 'audit', until },
      undefined,
      undefined,
      undefined,
    ])
    expect(await unpin(again, 'm', first)).toMatchObject({ pin: null, before: { reason: 'audit', until } })
    expect((await again.chains.get('m')).state.points[0]).not.toHaveProperty('pin')
  })

  it('keeps its point from being folded or deleted, until its time has passed', async () => {
    const [first = '', second = '', third = '', fourth = ''] = ids
    await pin(repository, 'm', first, { reason: 'for ever' })
    await pin(repository, 'm', second, { reason: 'for a while', untilMs: UNTIL_MS })
    await expect(removePoints(repository, 'm', new Set([second]))).rejects.toMatchObject({
      code: 'POINT_PINNED',
    })
    expect((await foldTo(repository, 'm', 1)).kept).toEqual([first, second, fourth])
    expect(await pointIds(repository, 'm')).not.toContain(third)
    clock.nowMs = UNTIL_MS - 1
    await expect(removePoints(repository, 'm', new Set([second]))).rejects.toMatchObject({
      code: 'POINT_PINNED',
    })
    clock.nowMs = UNTIL_MS
    await removePoints(repository, 'm', new Set([second]))
    expect(await pointIds(repository, 'm')).toEqual([first, fourth])
  })

  it.each([
    ['in the past', { reason: 'x', untilMs: Date.parse('2026-11-20T11:59:59Z') }],
    ['right now', { reason: 'x', untilMs: Date.parse('2026-11-20T12:00:00Z') }],
    ['at no time', { reason: 'x', untilMs: Number.NaN }],
    ['beyond all times', { reason: 'x', untilMs: 9e15 }],
    ['without a reason', { reason: ' ' }],
    ['for two lines of reasons', { reason: 'a\nb' }],
    ['for a reason that is too long', { reason: 'x'.repeat(201) }],
  ])('%s is refused, and nothing changes', async (_name, request) => {
    const before = await sequence()
    await expect(pin(repository, 'm', 'latest', request)).rejects.toMatchObject({ code: 'ARGUMENT_INVALID' })
    expect(await sequence()).toBe(before)
  })

  it('of an unknown point or machine is refused, and nothing changes', async () => {
    const before = await sequence()
    for (const change of [pin, unpin]) {
      const run = (machine: string, point: string): Promise<unknown> =>
        change(repository, machine, point, { reason: 'x' })
      await expect(run('m', 'zzz')).rejects.toMatchObject({ code: 'POINT_UNKNOWN' })
      await expect(run('m', 'p')).rejects.toMatchObject({ code: 'POINT_AMBIGUOUS' })
      await expect(run('nobody', 'latest')).rejects.toMatchObject({ code: 'MACHINE_UNKNOWN' })
    }
    expect(await sequence()).toBe(before)
    expect(await repository.chains.machines()).toEqual(['m'])
  })

  it('that is not there can be taken off, which changes nothing', async () => {
    const before = await sequence()
    expect(await unpin(repository, 'm', 'latest')).toMatchObject({ pin: null, before: null })
    expect(await sequence()).toBe(before)
  })

  it('is not lost when several are set at once', async () => {
    await Promise.all(ids.map((id) => pin(repository, 'm', id, { reason: `for ${id}` })))
    const { points } = (await repository.chains.get('m')).state
    expect(points.map((point) => point.pin?.reason)).toEqual(ids.map((id) => `for ${id}`))
  })
})
