import { describe, expect, it } from 'vitest'

import { MemoryTarget, sourceOf } from '../../test/life.js'
import { MemoryIndex } from '../index/memory-index.js'
import { InlineCrew } from '../pack/inline-crew.js'
import { planDisk } from '../restore/plan.js'
import { restoreDisk } from '../restore/restore.js'
import { MemoryStore } from '../store/memory-store.js'
import { backUp } from './backup.js'
import { Repository } from './repository.js'

const composed = 'donn\u00e9es'
const decomposed = composed.normalize('NFD')

async function open(): Promise<Repository> {
  const store = new MemoryStore()
  await Repository.init(store, {})
  const index = new MemoryIndex()
  return Repository.open({ store, crew: new InlineCrew(), openIndex: async () => index })
}

function disk(id: string): Parameters<typeof backUp>[1]['disks'][number] {
  return { id, source: sourceOf(Buffer.from('content')), changed: undefined }
}

describe('the name of a disk', () => {
  it('is the same however a system spells its accents', async () => {
    const repository = await open()
    await backUp(repository, { machine: 'm', disks: [disk(decomposed)] })
    const second = await backUp(repository, { machine: 'm', disks: [disk(composed)] })
    expect(second.changedBytes).toBe(0)
    expect(second.disks.map(({ id }) => id)).toEqual([composed])
    const { state } = await repository.chains.get('m')
    for (const index of [0, 1])
      for (const id of [composed, decomposed]) {
        const plan = await planDisk(repository, state, index, id)
        const target = new MemoryTarget(plan.sizeBytes)
        await restoreDisk(repository, plan, target, () => {})
        plan.pins.end()
        expect(target.bytes.toString()).toBe('content')
      }
  })

  it('may not be given twice in two spellings', async () => {
    const both = backUp(await open(), { machine: 'm', disks: [disk(composed), disk(decomposed)] })
    await expect(both).rejects.toMatchObject({ code: 'ARGUMENT_INVALID' })
  })
})
