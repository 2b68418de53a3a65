import { type ByteRange, bytesIn } from '../byte-range.js'
import type { Progress } from '../chain/backup.js'
import { overtaken } from '../chain/commit-point.js'
import type { Repository } from '../chain/repository.js'
import { uncached } from '../store/uncached.js'
import { DiskReader } from './disk-reader.js'
import { changedRanges } from './disk-reader-diff.js'
import { type DiskTarget, restoreDisk } from './restore.js'

/** Reads what a point brought from the store itself, each chunk checked against its hash. @returns plain bytes @throws DATA_DAMAGED */
export async function readBack(
  repository: Repository,
  machine: string,
  pointId: string,
  onProgress: Progress | undefined,
): Promise<number> {
  const head = await repository.chains.get(machine)
  const index = head.state.points.findIndex(({ id }) => id === pointId)
  const point = head.state.points[index]
  if (point === undefined) throw overtaken(machine, undefined)
  let bytes = 0
  for (const disk of point.disks) {
    const before = head.state.points[index - 1]?.disks.find(({ id }) => id === disk.id)
    const readers = [await DiskReader.open(repository, head, index, disk.id)]
    try {
      const [now] = readers
      if (now === undefined) continue
      let ranges: readonly ByteRange[] = [{ offset: 0, length: now.sizeBytes }]
      if (before !== undefined) {
        const old = await DiskReader.open(repository, head, index - 1, disk.id)
        readers.push(old)
        const changed: ByteRange[] = []
        for await (const range of changedRanges(repository, now, old)) changed.push(range)
        ranges = changed
      }
      const total = bytesIn(ranges)
      const { plan } = now
      await uncached(() =>
        restoreDisk(repository, plan, NOWHERE, (done) => onProgress?.(done, total), ranges),
      )
      bytes += total
    } finally {
      for (const reader of readers) reader.close()
    }
  }
  return bytes
}

const NOWHERE: DiskTarget = { write: async () => undefined, zeros: async () => undefined }
