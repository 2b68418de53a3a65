import { type ByteRange, bytesIn } from '../byte-range.js'
import { findPointOf } from '../chain/find-point.js'
import type { Repository } from '../chain/repository.js'
import { archivedError, archivedObjects, recallObjects, type WantedRanges } from '../restore/archived.js'
import { DiskReader } from '../restore/disk-reader.js'
import { changedRanges } from '../restore/disk-reader-diff.js'
import { restoreDisk } from '../restore/restore.js'
import { settleAll } from '../settle-all.js'
import type { RecallRequest } from '../store/archive.js'
import type { OpenedDisk, OpenedPoint, WantedDisk } from './operations.js'

/** @throws MACHINE_UNKNOWN, POINT_UNKNOWN, POINT_AMBIGUOUS, DISK_UNKNOWN, CHAIN_DAMAGED, DATA_DAMAGED, STORE_FAILED */
export async function openPoint(
  repository: Repository,
  machine: string,
  wanted: string,
  disks: readonly WantedDisk[],
): Promise<OpenedPoint> {
  const head = await repository.chains.get(machine)
  // All are asked for in this turn: later ones might find runs that are gone.
  const { point, index } = findPointOf(head, wanted)
  const readers: DiskReader[] = []
  const wantedRanges: WantedRanges[] = []
  const open = async (at: number, disk: string): Promise<DiskReader> => {
    const reader = await DiskReader.open(repository, head, at, disk)
    readers.push(reader)
    return reader
  }
  const close = (): void => {
    for (const reader of readers) reader.close()
  }
  const one = async ({ id, since }: WantedDisk): Promise<OpenedDisk> => {
    const other = since === undefined ? undefined : findPointOf(head, since)
    const [now, before] = await settleAll([
      open(index, id),
      ...(other === undefined ? [] : [open(other.index, id)]),
    ])
    if (now === undefined) throw new Error('a disk that was opened is there')
    const { plan } = now
    if (other === undefined || before === undefined) {
      wantedRanges.push({ plan, ranges: [{ offset: 0, length: plan.sizeBytes }] })
      return wholeDisk(repository, now)
    }
    const ranges = await changedBetween(repository, now, before)
    wantedRanges.push({ plan, ranges })
    return changedDisk(repository, now, before, other.point.id, ranges)
  }
  try {
    const opened = await settleAll(disks.map(one))
    const recall = async (request: RecallRequest): Promise<void> => {
      const keys = await archivedObjects(repository, wantedRanges)
      if (keys.length > 0) throw archivedError(keys, await recallObjects(repository, keys, request))
    }
    return { machine, point: point.id, createdAt: point.createdAt, disks: opened, recall, close }
  } catch (error) {
    close()
    throw error
  }
}

function wholeDisk(repository: Repository, now: DiskReader): OpenedDisk {
  const { plan } = now
  return {
    id: plan.disk,
    sizeBytes: plan.sizeBytes,
    totalBytes: plan.sizeBytes,
    write: (target, onProgress) => restoreDisk(repository, plan, target, onProgress),
  }
}

async function changedBetween(
  repository: Repository,
  now: DiskReader,
  before: DiskReader,
): Promise<readonly ByteRange[]> {
  const ranges: ByteRange[] = []
  for await (const range of changedRanges(repository, now, before)) ranges.push(range)
  return ranges
}

function changedDisk(
  repository: Repository,
  now: DiskReader,
  before: DiskReader,
  since: string,
  ranges: readonly ByteRange[],
): OpenedDisk {
  const { plan } = now
  return {
    id: plan.disk,
    sizeBytes: plan.sizeBytes,
    since: { point: since, sizeBytes: before.sizeBytes },
    totalBytes: bytesIn(ranges),
    write: (target, onProgress) => restoreDisk(repository, plan, target, onProgress, ranges),
  }
}
