import type { ByteRange } from '../byte-range.js'
import { type ExtentList, ZEROS } from '../chain/extent-list.js'
import type { Repository } from '../chain/repository.js'
import { isEverfoldError } from '../errors.js'
import type { DiskReader } from './disk-reader.js'

/**
 * Where a disk at one point may differ from itself at another, sorted, neighbours joined: all that is not named is the same in
 * both. Compares addresses, so no data is read; the same bytes stored twice count as different. What lies beyond the end of
 * `before` is named, too.
 * @param from  bytes of `now` before this offset are left out
 * @throws STORE_FAILED
 */
export async function* changedRanges(
  repository: Repository,
  now: DiskReader,
  before: DiskReader,
  from = 0,
): AsyncGenerator<ByteRange> {
  let open: { offset: number; length: number } | undefined
  for await (const { offset, length } of differences(repository, now, before, from)) {
    if (open !== undefined && open.offset + open.length === offset) open.length += length
    else {
      if (open !== undefined) yield open
      open = { offset, length }
    }
  }
  if (open !== undefined) yield open
}

async function* differences(
  repository: Repository,
  now: DiskReader,
  before: DiskReader,
  from: number,
): AsyncGenerator<ByteRange> {
  const [a, b] = [now.extents, before.extents]
  const shared = Math.min(now.sizeBytes, before.sizeBytes)
  let i = a.indexAt(from)
  let j = b.indexAt(from)
  let at = from
  while (at < shared) {
    const end = Math.min(a.endOf(i), b.endOf(j), shared)
    if (!(await sameBytes(repository, a, i, b, j, at))) yield { offset: at, length: end - at }
    at = end
    if (a.endOf(i) <= at) i++
    if (b.endOf(j) <= at) j++
  }
  if (at < now.sizeBytes) yield { offset: at, length: now.sizeBytes - at }
}

/** Do two extents have the same bytes, at the same chunks, from byte `at` of the disk on? */
async function sameBytes(
  repository: Repository,
  a: ExtentList,
  i: number,
  b: ExtentList,
  j: number,
  at: number,
): Promise<boolean> {
  const [packA, packB] = [a.pack[i] ?? ZEROS, b.pack[j] ?? ZEROS]
  if (packA === ZEROS || packB === ZEROS) return packA === packB
  const packId = a.packs.idOf(packA)
  if (packId !== b.packs.idOf(packB)) return false
  const [chunkA, chunkB] = [a.chunk[i] ?? 0, b.chunk[j] ?? 0]
  const skipA = (a.skip[i] ?? 0) + at - a.startOf(i)
  const skipB = (b.skip[j] ?? 0) + at - b.startOf(j)
  if (chunkA === chunkB) return skipA === skipB
  if (a.stride > 0 && a.stride === b.stride) return chunkA * a.stride + skipA === chunkB * b.stride + skipB
  try {
    // Where lengths vary, only the directory tells whether two addresses are one.
    const { chunkStart } = await repository.catalog.directory(packId)
    return (chunkStart[chunkA] ?? 0) + skipA === (chunkStart[chunkB] ?? -1) + skipB
  } catch (error) {
    if (!isEverfoldError(error, 'OBJECT_NOT_FOUND', 'DATA_DAMAGED')) throw error
    return false
  }
}

/** What of a disk holds data and what is zeros, in order and without a gap, from byte `from` on. */
export function* dataAndZeros(
  extents: ExtentList,
  from = 0,
): Generator<ByteRange & { readonly zero: boolean }> {
  let open: { offset: number; length: number; zero: boolean } | undefined
  for (let i = extents.indexAt(from); i < extents.length; i++) {
    const offset = Math.max(from, extents.startOf(i))
    const zero = (extents.pack[i] ?? ZEROS) === ZEROS
    if (open?.zero === zero) open.length += extents.endOf(i) - offset
    else {
      if (open !== undefined) yield open
      open = { offset, length: extents.endOf(i) - offset, zero }
    }
  }
  if (open !== undefined) yield open
}
