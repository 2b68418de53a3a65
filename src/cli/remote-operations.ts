import { bytesIn } from '../byte-range.js'
import {
  type ClientOptions,
  EverfoldClient,
  type Extent,
  type JobRequest,
  type RemoteDisk,
} from '../client/everfold-client.js'
import { bytesToRead } from '../feed/disk-source.js'
import type { RebuildResult } from '../index/rebuild.js'
import type { GcResult } from '../merge/gc.js'
import type { Statistics } from '../merge/statistics.js'
import { ThreadCrew } from '../pack/crew.js'
import type { DiskTarget } from '../restore/restore.js'
import type { VerifyResult } from '../restore/verify.js'
import { tellHealed } from './healed.js'
import { abortedBySignals } from './interrupted.js'
import type { OnProgress, OpenedDisk, OpenedPoint, Operations, WantedDisk } from './operations.js'
import { sendPieces } from './send-pieces.js'

/** What commands do, through the service that the options name. */
export function connect(options: ClientOptions): Operations {
  return remoteOperations(new EverfoldClient({ ...options, sendPieces }))
}

/** What commands do, through a service. */
export function remoteOperations(client: EverfoldClient): Operations {
  const job = (request: JobRequest, onProgress: OnProgress): Promise<unknown> =>
    abortedBySignals((signal) =>
      client.jobs.run(request, ({ done, total }) => onProgress(done, total), { signal }),
    )
  return {
    backUp: (work) =>
      abortedBySignals(async (signal) => {
        const workers = new ThreadCrew()
        workers.prepare()
        workers.expect(bytesToRead(work.disks))
        try {
          const { healedChunks, ...outcome } = await client.backUp({
            ...work,
            workers,
            signal,
            waitForRetention: true,
          })
          if (healedChunks !== undefined) tellHealed(healedChunks)
          return outcome
        } finally {
          await workers.close()
        }
      }),
    listPoints: (machine, fast) => client.listPoints({ fast, ...(machine === undefined ? {} : { machine }) }),
    openPoint: (machine, point, disks, patienceMs) => openPoint(client, machine, point, disks, patienceMs),
    verify: async (sample, onProgress) =>
      (await job({ kind: 'verify', ...(sample < 1 ? { sample } : {}) }, onProgress)) as VerifyResult,
    collectGarbage: async ({ dryRun, deadShareMax, rounds }, onProgress) => {
      const request: JobRequest = {
        kind: 'gc',
        ...(dryRun ? { dryRun } : {}),
        ...(deadShareMax === undefined ? {} : { deadShare: deadShareMax }),
        ...(rounds === 1 ? {} : { rounds }),
      }
      return (await job(request, onProgress)) as GcResult
    },
    reindex: async (onProgress) => (await job({ kind: 'reindex' }, onProgress)) as RebuildResult,
    statistics: async () => (await client.stats()) as Statistics,
    retain: async ({ machine, policy, save, dryRun }) =>
      client.retain(machine, {
        ...(policy === undefined ? {} : { policy }),
        ...(save ? { save } : {}),
        ...(dryRun ? { dryRun } : {}),
      }),
    forgetPolicy: async (machine) => {
      await client.forgetRetention(machine)
    },
    pin: (machine, point, { reason, untilMs }) =>
      client.pin(machine, point, {
        reason,
        ...(untilMs === undefined ? {} : { until: new Date(untilMs).toISOString() }),
      }),
    unpin: (machine, point) => client.unpin(machine, point),
    fold: (machine, keep) => client.fold(machine, keep),
    deletePoint: (machine, point) => client.deletePoint(machine, point),
    countPoints: async (machine) => {
      const { points } = await client.points(machine)
      return { points: points.length, pinned: points.filter(({ pin }) => pin !== undefined).length }
    },
    deleteMachine: (machine) => client.deleteMachine(machine),
    createToken: ({ expiresMs, ...request }) =>
      client.createToken({
        ...request,
        ...(expiresMs === undefined ? {} : { expiresAt: new Date(expiresMs).toISOString() }),
      }),
    listTokens: () => client.tokens(),
    revokeToken: (id) => client.revokeToken(id),
  }
}

async function openPoint(
  client: EverfoldClient,
  machine: string,
  wanted: string,
  disks: readonly WantedDisk[],
  patienceMs: number | undefined,
): Promise<OpenedPoint> {
  const { point, createdAt } = await client.point(machine, wanted)
  const opened: OpenedDisk[] = []
  for (const { id, since } of disks) {
    const disk = await client.disk(machine, point, id)
    const before = since === undefined ? undefined : (await client.point(machine, since)).point
    opened.push(
      before === undefined
        ? wholeDisk(id, disk, patienceMs)
        : await changedDisk(id, disk, before, await client.disk(machine, before, id), patienceMs),
    )
  }
  return { machine, point, createdAt, disks: opened, close: () => undefined }
}

function wholeDisk(id: string, disk: RemoteDisk, patienceMs: number | undefined): OpenedDisk {
  const { sizeBytes } = disk
  return {
    id,
    sizeBytes,
    totalBytes: sizeBytes,
    write: (target, onProgress) => writeDisk(disk, disk.extents(), target, onProgress, patienceMs),
  }
}

async function changedDisk(
  id: string,
  disk: RemoteDisk,
  since: string,
  before: RemoteDisk,
  patienceMs: number | undefined,
): Promise<OpenedDisk> {
  const ranges: Extent[] = []
  for await (const range of disk.extents(since)) ranges.push(range)
  return {
    id,
    sizeBytes: disk.sizeBytes,
    since: { point: since, sizeBytes: before.sizeBytes },
    totalBytes: bytesIn(ranges),
    write: (target, onProgress) => writeDisk(disk, ranges, target, onProgress, patienceMs),
  }
}

/** Fetches what holds data, several ranges at once; what holds zeros is only told to the target. */
async function writeDisk(
  disk: RemoteDisk,
  extents: Iterable<Extent> | AsyncIterable<Extent>,
  target: DiskTarget,
  onProgress: (doneBytes: number) => void,
  patienceMs: number | undefined,
): Promise<void> {
  let done = 0
  const advance = (bytes: number): void => {
    done += bytes
    onProgress(done)
  }
  const data = async function* (): AsyncGenerator<Extent> {
    for await (const extent of extents) {
      if (extent.zero !== true) yield extent
      else {
        await target.zeros(extent.offset, extent.length)
        advance(extent.length)
      }
    }
  }
  const options = patienceMs === undefined ? {} : { patienceMs }
  for await (const { offset, bytes } of disk.read(data(), options)) {
    await target.write(bytes, offset)
    advance(bytes.length)
  }
}
