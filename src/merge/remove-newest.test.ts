import { beforeEach, describe, expect, it } from 'vitest'
import { Clock, clockedRepository } from '../../test/clocked-repository.js'
import { KIB, noise, overwritten } from '../../test/disk-bytes.js'
import { backUpBytes, restoreBytes } from '../../test/memory-repository.js'
import type { Repository } from '../chain/repository.js'
import { type DecideFault, FaultyStore } from '../store/faulty-store.js'
import { MemoryStore } from '../store/memory-store.js'
import { removePoints } from './fold.js'

const FIRST = noise('first', 100 * KIB)
const SECOND = overwritten(FIRST, 10 * KIB, noise('second', KIB))
const THIRD = overwritten(SECOND, 60 * KIB, noise('third', KIB))

let repository: Repository
let fault: DecideFault

beforeEach(async () => {
  fault = () => undefined
  const store = new FaultyStore(new MemoryStore(), (...call) => fault(...call))
  repository = await clockedRepository(new Clock('2026-11-20T12:00:00Z'), store)
  await backUpBytes(repository, 'm', FIRST)
  await backUpBytes(repository, 'm', SECOND)
})

describe('the newest point, a backup of which commits while it is being removed', () => {
  it('stays, and the removal says so', async () => {
    await backUpBytes(repository, 'm', THIRD)
    const { points } = (await repository.chains.get('m')).state
    const newest = points.at(-1)?.id ?? ''
    const fourth = overwritten(THIRD, 0, noise('fourth', KIB))
    let added = ''
    fault = (operation, key) => {
      // The fold writes a run: the older point that is removed goes into the one kept between.
      if (operation !== 'put' || !key.startsWith('runs/') || added !== '') return undefined
      added = 'soon'
      const wait = async (): Promise<void> => {
        added = await backUpBytes(repository, 'm', fourth, { feed: [[0, KIB]] })
      }
      return { kind: 'delay', wait }
    }
    const removing = removePoints(repository, 'm', new Set([points[0]?.id ?? '', newest]))
    await expect(removing).rejects.toMatchObject({ code: 'CONFLICT' })
    expect((await repository.chains.get('m')).state.points).toHaveLength(4)
    expect((await restoreBytes(repository, 'm', added)).equals(fourth)).toBe(true)
  })
})
