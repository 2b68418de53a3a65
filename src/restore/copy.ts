import { backUp, type DiskBackup, type Progress } from '../chain/backup.js'
import type { DiskState, PointState } from '../chain/chain-state.js'
import type { ChainHead } from '../chain/chains.js'
import type { Repository } from '../chain/repository.js'
import { EverfoldError } from '../errors.js'
import { type ByteExtent, ByteExtents } from '../feed/byte-extents.js'
import type { DiskSource } from '../feed/disk-source.js'
import { bringPins, bringPolicy } from './copy-pins.js'
import { DiskReader } from './disk-reader.js'
import { changedRanges } from './disk-reader-diff.js'
import { readBack } from './read-back.js'

export interface CopiedMachine {
  readonly machine: string
  /** Points that were copied, oldest first. */
  readonly copied: readonly string[]
  /** Bytes that were read from the one repository, and that the other one had to take. */
  readonly readBytes: number
  readonly storedBytes: number
  /** Points that were there, and were pinned now as they are here. */
  readonly pinned: readonly string[]
  /** Bytes of the copied points that were read back and are right; null: that was not wanted. */
  readonly verifiedBytes: number | null
}

export interface CopyOptions {
  /** Reads back from the other repository what the copied points brought. */
  readonly verify?: boolean
  /** Called before each point, and as its bytes are done. */
  readonly onPoint?: (point: string) => void
  readonly onProgress?: Progress
}

/**
 * Brings the points of a machine that came after those which are there already to another repository, oldest first, with their names
 * and times. Each is a backup like any other: chunks that are there are not sent, what is read was checked against its hash, and a
 * point is there whole or not at all. Cut short, it goes on where it was. Pins come along, also later ones; a machine's retention policy comes with
 * its first point.
 * @throws CONFLICT if the machine has other points there; MACHINE_UNKNOWN; DATA_DAMAGED also for what cannot be read back; and as
 *         {@link DiskReader.read} and {@link backUp}
 */
export async function copyMachine(
  from: Repository,
  to: Repository,
  machine: string,
  options: CopyOptions = {},
): Promise<CopiedMachine> {
  const copied: string[] = []
  let readBytes = 0
  let storedBytes = 0
  let verifiedBytes = 0
  const first = await from.chains.get(machine)
  if ((await to.chains.find(machine)) === undefined) await bringPolicy(to, first.state)
  for (;;) {
    const head = await from.chains.get(machine)
    const there = await to.chains.find(machine)
    const next = nextToCopy(machine, head.state.points, there?.state.points ?? [])
    const point = head.state.points[next]
    if (point === undefined) break
    options.onPoint?.(point.id)
    const result = await copyPoint(from, to, head, next, there, options.onProgress)
    copied.push(result.point)
    readBytes += result.readBytes
    storedBytes += result.storedBytes
    if (options.verify === true)
      verifiedBytes += await readBack(to, machine, result.point, options.onProgress)
  }
  const pinned = await bringPins(from, to, machine)
  return {
    machine,
    copied,
    readBytes,
    storedBytes,
    pinned,
    verifiedBytes: options.verify === true ? verifiedBytes : null,
  }
}

/** The place of the first point that is newer than what is there: what was removed there since does not come back. */
function nextToCopy(machine: string, points: readonly PointState[], there: readonly PointState[]): number {
  const newest = there.at(-1)
  if (newest === undefined) return 0
  const common = points.findLastIndex(({ id }) => there.some((other) => other.id === id))
  if (common < 0)
    throw new EverfoldError(
      'CONFLICT',
      `"${machine}" has points in the repository that is copied to, and none of them is in the one that is copied from. Copy to another repository, or delete the machine there first.`,
      { details: { machine } },
    )
  if (points[common]?.id === newest.id) return common + 1
  // The newest that is there was removed here: what came after it is new.
  const later = points.findIndex(({ createdAt }, i) => i > common && createdAt > newest.createdAt)
  return later < 0 ? points.length : later
}

async function copyPoint(
  from: Repository,
  to: Repository,
  head: ChainHead,
  index: number,
  there: ChainHead | undefined,
  onProgress: Progress | undefined,
): Promise<{ readonly point: string; readonly readBytes: number; readonly storedBytes: number }> {
  const { points, machine } = head.state
  const point = points[index]
  if (point === undefined) throw new RangeError(`no point ${index}`)
  const newest = there?.state.points.at(-1)
  const isSure = there !== undefined && there.damaged.length === 0 && there.state.newestLost !== true
  // Only what differs from the point before has to be read, if that one is there.
  const before = isSure && points[index - 1]?.id === newest?.id ? points[index - 1] : undefined
  const readers: DiskReader[] = []
  const open = async (at: number, disk: DiskState): Promise<DiskReader> => {
    const reader = await DiskReader.open(from, head, at, disk.id)
    readers.push(reader)
    return reader
  }
  try {
    const disks: DiskBackup[] = []
    for (const disk of point.disks) {
      const now = await open(index, disk)
      const old = before?.disks.find(({ id }) => id === disk.id)
      const changed = old && (await differing(from, now, await open(index - 1, old)))
      const isNew = newest?.disks.some(({ id }) => id === disk.id) !== true
      disks.push({ id: disk.id, source: sourceOf(now), changed, ...(isNew && { chunker: disk.chunker }) })
    }
    const { id, createdAt, consistency, pin, note } = point
    const copyOf = { id, createdAt, ...(consistency && { consistency }), ...(pin && { pin }) }
    return await backUp(to, {
      machine,
      disks,
      copyOf,
      ...(note !== undefined && { note }),
      ...(onProgress && { onProgress }),
    })
  } finally {
    for (const reader of readers) reader.close()
  }
}

async function differing(repository: Repository, now: DiskReader, before: DiskReader): Promise<ByteExtents> {
  const ranges: ByteExtent[] = []
  for await (const range of changedRanges(repository, now, before)) ranges.push(range)
  return ByteExtents.from(ranges)
}

function sourceOf(reader: DiskReader): DiskSource {
  const { machine, point, disk } = reader.plan
  return {
    name: `${disk} of ${machine} at ${point}`,
    sizeBytes: reader.sizeBytes,
    read: async (into, offset) => {
      into.set(await reader.read(offset, into.length))
    },
    // Points do not change.
    checkUnchanged: async () => undefined,
    close: async () => undefined,
  }
}
