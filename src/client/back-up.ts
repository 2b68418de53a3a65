import { type ByteRange, bytesIn, fedRanges, splitByHoles } from '../byte-range.js'
import type { BackedUp, NewSession } from './answers.js'
import { BatchMemory } from './batch-memory.js'
import { BATCH_BYTES, type UploadSource } from './cut-batch.js'
import { REQUESTS_DEFAULT, type SentDisk, sendDisk, type Transfer, type UploadParts } from './disk-upload.js'
import type { Http } from './http.js'
import { InlineWorkers } from './inline-workers.js'
import { PATIENCE_MS_DEFAULT } from './patience.js'
import { Sessions, type UploadSession } from './sessions.js'
import type { Workers } from './workers.js'

/** What changed is read where it is less: to find holes, more has to be loaded, and the file is synced. */
const FED_BYTES_WITH_HOLES_MIN = 64 * 1024 * 1024

/** A disk to back up. */
export interface BackupDisk {
  readonly id: string
  readonly source: UploadSource & {
    /** Asked before the point is made. @throws if it is not what it was */
    checkUnchanged?(): Promise<void>
  }
  /** What changed since the newest point, sorted and apart; undefined: everything is looked at. */
  readonly changed?: Iterable<ByteRange> | undefined
  readonly chunker?: 'cdc' | 'fixed'
}

export interface BackupOptions {
  readonly machine: string
  readonly disks: readonly BackupDisk[]
  readonly note?: string
  readonly consistency?: NewSession['consistency']
  /** Default: offers. */
  readonly transfer?: Transfer
  /** Who cuts, names and compresses; default: the caller's own thread, without compression. */
  readonly workers?: Workers
  /** Requests that bring data at once, of up to 32 MiB each. */
  readonly requests?: number
  /** How long to go on without any progress. Milliseconds; default: 10 minutes. */
  readonly patienceMs?: number
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void
  /** Waits until the machine's saved retention policy was applied, to be told what it did. */
  readonly waitForRetention?: boolean
  /** Gives it up; the session is dropped. */
  readonly signal?: AbortSignal
}

/**
 * Takes one recovery point of a machine: all of its disks, or nothing. Goes on after broken connections and restarts of the
 * service, as long as there is some progress now and then.
 * @returns once the point is durable
 * @throws what the service and the sources say: no point was made then. SERVICE_FAILED in the very last step leaves open whether it
 *         was made
 */
export async function backUp(http: Http, options: BackupOptions): Promise<BackedUp> {
  const { machine, disks, onProgress } = options
  const patienceMs = options.patienceMs ?? PATIENCE_MS_DEFAULT
  const abort = new AbortController()
  const signal = AbortSignal.any([abort.signal, ...(options.signal === undefined ? [] : [options.signal])])
  const session = await new Sessions(http).create(machine, requestOf(options), { patienceMs, signal })
  try {
    const workers = options.workers ?? new InlineWorkers()
    const parts: UploadParts = {
      session,
      workers,
      memory: new BatchMemory(workers, Math.max(BATCH_BYTES, session.chunkSize) + session.chunkSize),
      transfer: options.transfer ?? 'offers',
      requests: options.requests ?? REQUESTS_DEFAULT,
      patience: http.patience(patienceMs, signal),
      giveUp: () => abort.abort(),
    }
    const sent: SentDisk[] = []
    for (const [i, disk] of disks.entries()) sent.push(await sentDisk(session, disk, i))
    const totalBytes = sent.reduce((sum, { ranges }) => sum + bytesIn(ranges), 0)
    let before = 0
    for (const disk of sent) {
      await sendDisk(parts, disk, (done) => onProgress?.(before + done, totalBytes))
      before += bytesIn(disk.ranges)
    }
    for (const { source } of disks) await source.checkUnchanged?.()
    signal.throwIfAborted()
    return await session.commit({ forRetention: options.waitForRetention === true })
  } catch (error) {
    // Its space comes back at once; if this fails, once the session has expired.
    await session.drop().catch(() => undefined)
    throw error
  }
}

function requestOf({ disks, note, consistency }: BackupOptions): NewSession {
  const isAnyFed = disks.some(({ changed }) => changed !== undefined)
  return {
    disks: disks.map(({ id, source: { sizeBytes }, changed, chunker }) => ({
      id,
      sizeBytes,
      content: changed === undefined ? 'whole' : 'changes',
      ...(chunker === undefined ? {} : { chunker }),
    })),
    ...(isAnyFed ? { parent: 'newest' } : {}),
    ...(note === undefined ? {} : { note }),
    ...(consistency === undefined ? {} : { consistency }),
  }
}

async function sentDisk(
  session: UploadSession,
  { source, changed }: BackupDisk,
  index: number,
): Promise<SentDisk> {
  const about = session.begun.disks[index]
  if (about === undefined) throw new RangeError('the service answers for every disk')
  const { id, chunker, sizeBytes, missing } = about
  const parentBytes = missing?.[0]?.offset ?? sizeBytes
  const wanted =
    changed === undefined ? [{ offset: 0, length: sizeBytes }] : fedRanges(changed, sizeBytes, parentBytes)
  const mayAsk = changed === undefined || bytesIn(wanted) >= FED_BYTES_WITH_HOLES_MIN
  const holes = mayAsk ? await source.holes?.(session.chunkSize) : undefined
  const { data, zeros } = splitByHoles(wanted, holes ?? [])
  return { id, source, contentDefined: chunker === 'cdc', ranges: data, holes: zeros }
}
