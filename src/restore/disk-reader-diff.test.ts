import { describe, expect, it } from 'vitest'
import { KIB, MIB, noise, overwritten } from '../../test/disk-bytes.js'
import { backUpBytes, openInMemory } from '../../test/memory-repository.js'
import type { ByteRange } from '../byte-range.js'
import { Repository } from '../chain/repository.js'
import { MemoryStore } from '../store/memory-store.js'
import { DiskReader } from './disk-reader.js'
import { changedRanges, dataAndZeros } from './disk-reader-diff.js'

async function all(ranges: AsyncIterable<ByteRange>): Promise<ByteRange[]> {
  const list: ByteRange[] = []
  for await (const range of ranges) list.push(range)
  return list
}

describe.each(['cdc', 'fixed'] as const)('what changed between two points (%s)', (chunker) => {
  it('names every byte that differs and little else, in both directions, also where the disk grew', async () => {
    const store = new MemoryStore()
    await Repository.init(store, {})
    const repository = await openInMemory(store)
    const first = Buffer.concat([noise('one', 3 * MIB), Buffer.alloc(MIB), noise('two', 2 * MIB)])
    const changed = overwritten(first, 2 * MIB + 5, noise('changed', 100 * KIB))
    const second = Buffer.concat([changed, noise('grown', 300 * KIB)])
    await backUpBytes(repository, 'm', first, { chunker })
    await backUpBytes(repository, 'm', second)
    const head = await repository.chains.get('m')
    const readers = [await open(0), await open(1)] as const
    function open(index: number): Promise<DiskReader> {
      return DiskReader.open(repository, head, index, 'vda')
    }
    const [before, now] = readers
    const forward = await all(changedRanges(repository, now, before))
    expectCovers(forward, second, first)
    const back = await all(changedRanges(repository, before, now))
    expectCovers(back, first, second)
    const bytes = forward.reduce((sum, range) => sum + range.length, 0)
    expect(bytes).toBeLessThan(400 * KIB + 4 * 64 * KIB)
    expect(await all(changedRanges(repository, now, now))).toEqual([])
    const [firstRange] = forward
    const middle = (firstRange?.offset ?? 0) + 1000
    const rest = await all(changedRanges(repository, now, before, middle))
    expect(rest[0]).toEqual({ offset: middle, length: (firstRange?.length ?? 0) - 1000 })
    expect(rest.slice(1)).toEqual(forward.slice(1))
    for (const reader of readers) reader.close()
  })
})

function expectCovers(ranges: readonly ByteRange[], bytes: Buffer, other: Buffer): void {
  let at = 0
  for (const { offset, length } of [...ranges, { offset: bytes.length, length: 0 }]) {
    expect(offset).toBeGreaterThanOrEqual(at)
    expect(bytes.subarray(at, offset).equals(other.subarray(at, offset))).toBe(true)
    at = offset + length
  }
}

describe('data and zeros', () => {
  it('alternate, from the beginning of the disk to its end', async () => {
    const store = new MemoryStore()
    await Repository.init(store, {})
    const repository = await openInMemory(store)
    const disk = Buffer.concat([noise('a', MIB), Buffer.alloc(2 * MIB), noise('b', MIB)])
    await backUpBytes(repository, 'm', disk, { chunker: 'fixed' })
    const reader = await DiskReader.open(repository, await repository.chains.get('m'), 0, 'vda')
    const expected = [
      { offset: 0, length: MIB, zero: false },
      { offset: MIB, length: 2 * MIB, zero: true },
      { offset: 3 * MIB, length: MIB, zero: false },
    ]
    expect([...dataAndZeros(reader.extents)]).toEqual(expected)
    expect([...dataAndZeros(reader.extents, 2 * MIB)]).toEqual([
      { offset: 2 * MIB, length: MIB, zero: true },
      expected[2],
    ])
    reader.close()
  })
})
