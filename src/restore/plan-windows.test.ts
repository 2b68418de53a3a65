import { expect, it } from 'vitest'
import { KIB, noise, overwritten } from '../../test/disk-bytes.js'
import { backUpBytes, openInMemory } from '../../test/memory-repository.js'
import { Repository } from '../chain/repository.js'
import { MemoryStore } from '../store/memory-store.js'
import { planDisk, stepsOf } from './plan.js'

it('plans every byte of a range once, in windows of any size, and reads less often in larger ones', async () => {
  const store = new MemoryStore()
  await Repository.init(store, { chunkSize: 4 * KIB, frameSize: 64 * KIB, packSize: 256 * KIB })
  const repository = await openInMemory(store)
  let disk: Buffer = Buffer.concat([noise('old', 500 * KIB), Buffer.alloc(100 * KIB), noise('more', 80_000)])
  await backUpBytes(repository, 'm', disk, { chunker: 'fixed' })
  for (let at = 0; at < disk.length - 4 * KIB; at += 48 * KIB)
    disk = overwritten(disk, at, noise(`new ${at}`, 4 * KIB))
  await backUpBytes(repository, 'm', disk)
  const { state } = await repository.chains.get('m')
  const plan = await planDisk(repository, state, 1, 'vda')
  const [start, end] = [5000, disk.length - 3000]
  const tasks: number[] = []
  for (const windowBytes of [1000, 64 * KIB, 10_000 * KIB]) {
    const covered = new Uint8Array(disk.length)
    let reads = 0
    for await (const step of stepsOf(repository, plan, start, end, windowBytes)) {
      const ranges =
        step.kind === 'read'
          ? step.task.pieces.map(({ target, length }) => ({ offset: target, length }))
          : [step]
      if (step.kind === 'read') reads++
      for (const { offset, length } of ranges)
        for (let i = offset; i < offset + length; i++) covered[i] = (covered[i] ?? 0) + 1
    }
    expect(covered.subarray(start, end).every((times) => times === 1)).toBe(true)
    expect(covered.reduce((sum, times) => sum + times, 0)).toBe(end - start)
    tasks.push(reads)
  }
  plan.pins.end()
  expect(tasks.toSorted((a, b) => b - a)).toEqual(tasks)
  expect(tasks[2]).toBeLessThan(10)
})
