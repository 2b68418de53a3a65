import { describe, expect, it } from 'vitest'

import { packOf, sampleChunks } from '../../test/format-samples.js'
import { chainState, diskState, pointState } from '../../test/format-states.js'
import { MemoryTarget, sourceOf } from '../../test/life.js'
import { backUp } from '../chain/backup.js'
import { ExtentList } from '../chain/extent-list.js'
import { PackTable } from '../chain/pack-table.js'
import { Repository } from '../chain/repository.js'
import { writeRun } from '../chain/run-store.js'
import { MemoryIndex } from '../index/memory-index.js'
import { InlineCrew } from '../pack/inline-crew.js'
import { MemoryStore } from '../store/memory-store.js'
import { planDisk } from './plan.js'
import { restoreDisk } from './restore.js'

const chunks = sampleChunks('plan', [4096, 4096, 1000])
const pack = packOf(chunks)

/** A repository with one point, of a disk that is whole but for an extent from this chunk on. */
async function withRun(chunk: number, skip: number, size: number): Promise<Repository> {
  const store = new MemoryStore()
  await Repository.init(store, { chunkSize: 4096 })
  await store.put(pack.key, pack.parts)
  const packs = new PackTable()
  const list = new ExtentList(4096, packs)
  list.append(0, 4096, packs.slotOf(pack.directory.id), 0, 0)
  list.append(4096, size, packs.slotOf(pack.directory.id), chunk, skip)
  const { run } = await writeRun(store, 'm', list, async () => {})
  const repository = await Repository.open({
    store,
    crew: new InlineCrew(),
    openIndex: async () => new MemoryIndex(),
  })
  const disk = diskState('d', 4096 + size, run, true)
  await repository.chains.edit('m', () => ({
    points: chainState('m', 0, [pointState('a0000000', [disk])]).points,
  }))
  return repository
}

describe('a run that names what its pack does not have', () => {
  it.each([
    ['a chunk that is not there', 7, 0, 1000],
    ['more than the last chunk', 2, 0, 1001],
    ['a skip over the end', 2, 900, 200],
  ])('is lost there, and never other bytes of the pack: %s', async (_, chunk, skip, size) => {
    const repository = await withRun(chunk, skip, size)
    const { state } = await repository.chains.get('m')
    const plan = await planDisk(repository, state, 0, 'd')
    const target = new MemoryTarget(plan.sizeBytes)
    await expect(restoreDisk(repository, plan, target, () => {})).rejects.toMatchObject({
      code: 'DATA_DAMAGED',
      details: { lostBytes: size, lost: [{ disk: 'd', offset: 4096, length: size }] },
    })
    plan.pins.end()
    expect(Buffer.compare(target.bytes.subarray(0, 4096), chunks[0]!)).toBe(0)
    expect(target.bytes.subarray(4096).every((byte) => byte === 0xa5)).toBe(true)
    // What is there is stored anew by the next backup, though it looks like what the run seems to name.
    const disk = Buffer.concat([chunks[0]!, chunks[0]!.subarray(0, size)])
    const { changedBytes } = await backUp(repository, {
      machine: 'm',
      disks: [{ id: 'd', source: sourceOf(disk), changed: undefined }],
    })
    expect(changedBytes).toBe(size)
  })
})
