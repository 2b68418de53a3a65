/** Quotas of machines: when they are reached, what counts, and what it costs to ask. */

import pino from 'pino'
import { describe, expect, it } from 'vitest'
import { Repository } from '../src/chain/repository.js'
import { isEverfoldError } from '../src/errors.js'
import { deletePoint } from '../src/merge/fold.js'
import { parseConfig } from '../src/server/config/read-config.js'
import { Quotas } from '../src/server/limits/quotas.js'
import { MemoryStore } from '../src/store/memory-store.js'
import { KIB, noise } from './disk-bytes.js'
import { backUpBytes, openInMemory } from './memory-repository.js'

const quiet = pino({ level: 'silent' })

async function quotasOf(quota: string): Promise<{ repository: Repository; quotas: Quotas }> {
  const store = new MemoryStore()
  await Repository.init(store, {})
  const repository = await openInMemory(store)
  const config = parseConfig(`machines: [{match: 'web*', quota: ${quota}}]`, 'test')
  return { repository, quotas: new Quotas(config, repository, quiet) }
}

async function code(check: Promise<void>): Promise<string> {
  try {
    await check
    return 'fine'
  } catch (error) {
    if (!isEverfoldError(error)) throw error
    return error.code
  }
}

describe('a quota', () => {
  it('counts what points keep, what came since, and what open sessions brought', async () => {
    const { repository, quotas } = await quotasOf('400KiB')
    await backUpBytes(repository, 'web1', noise('web1', 200 * KIB))
    expect(await code(quotas.check('web1', 0))).toBe('fine')
    expect(await code(quotas.check('web1', 150 * KIB))).toBe('fine')
    expect(await code(quotas.check('web1', 200 * KIB))).toBe('QUOTA_EXCEEDED')
    quotas.committed('web1', 150 * KIB)
    expect(await code(quotas.check('web1', 0))).toBe('fine')
    expect(await code(quotas.check('web1', 100 * KIB))).toBe('QUOTA_EXCEEDED')
    expect(await code(quotas.check('web2', 390 * KIB))).toBe('fine')
    expect(await code(quotas.check('db1', 1e12))).toBe('fine')
  })

  it('is free again once points are removed, without a collection', async () => {
    const { repository, quotas } = await quotasOf('300KiB')
    await backUpBytes(repository, 'web1', noise('first', 200 * KIB))
    await backUpBytes(repository, 'web1', noise('second', 200 * KIB))
    await expect(quotas.check('web1', 0)).rejects.toMatchObject({
      code: 'QUOTA_EXCEEDED',
      details: { machine: 'web1', quotaBytes: 300 * KIB, openBytes: 0 },
    })
    await deletePoint(repository, 'web1', 'parent')
    expect(await code(quotas.check('web1', 0))).toBe('fine')
  })

  it('of nothing lets nothing in', async () => {
    const { quotas } = await quotasOf('0')
    expect(await code(quotas.check('web1', 0))).toBe('QUOTA_EXCEEDED')
  })

  it('stops no backup where damage hides what is kept', async () => {
    const { repository, quotas } = await quotasOf('1KiB')
    await backUpBytes(repository, 'web1', noise('web1', 200 * KIB))
    repository.chains.allMachines = () => Promise.reject(new Error('a store that fails'))
    repository.chains.registry.names = () => Promise.reject(new Error('a store that fails'))
    expect(await code(quotas.check('web1', 0))).toBe('fine')
  })
})
