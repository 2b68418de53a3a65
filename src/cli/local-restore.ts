import { findPointOf } from '../chain/find-point.js'
import type { Repository } from '../chain/repository.js'
import { DiskReader } from '../restore/disk-reader.js'
import { type ByteRange, changedRanges } from '../restore/disk-reader-diff.js'
import { restoreDisk } from '../restore/restore.js'
import { settleAll } from '../settle-all.js'
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
    return other === undefined || before === undefined
      ? wholeDisk(repository, now)
      : changedDisk(repository, now, before, other.point.id)
  }
  try {
    const opened = await settleAll(disks.map(one))
    return { machine, point: point.id, createdAt: point.createdAt, disks: opened, close }
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

async function changedDisk(
  repository: Repository,
  now: DiskReader,
  before: DiskReader,
  since: string,
): Promise<OpenedDisk> {
  const ranges: ByteRange[] = []
  for await (const range of changedRanges(repository, now, before)) ranges.push(range)
  const { plan } = now
  return {
    id: plan.disk,
    sizeBytes: plan.sizeBytes,
    since: { point: since, sizeBytes: before.sizeBytes },
    totalBytes: ranges.reduce((sum, { length }) => sum + length, 0),
    write: (target, onProgress) => restoreDisk(repository, plan, target, onProgress, ranges),
  }
}
