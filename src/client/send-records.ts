import type { ByteRange } from '../byte-range.js'
import { type EverfoldError, isEverfoldError } from '../errors.js'
import { hashesOf, isSet } from './chunk-names.js'
import { BATCH_BYTES, encodeChunks, placeChunks, type UploadSource } from './cut-batch.js'
import { isPassing } from './failure.js'
import { framedStream, type NamedChunk, recordBytes, type StreamRecord } from './framed-stream.js'
import { knownRecords } from './parcel.js'
import type { Patience } from './patience.js'
import type { UploadSession } from './sessions.js'
import type { Workers } from './workers.js'

/** What records are sent with. */
export interface Sending {
  readonly session: UploadSession
  readonly disk: string
  readonly source: UploadSource
  readonly workers: Workers
  readonly patience: Patience
  /** Bytes of one request, at most, or one record. Shrinks when connections break, so that some get through. */
  limitBytes: number
}

export const REQUEST_BYTES_MAX = 64 * 1024 * 1024
const REQUEST_BYTES_MIN = 64 * 1024
/** Times that what was damaged on its way is sent again: after that, it is damaged here. */
const DAMAGED_MAX = 3

/**
 * Sends records until the service has acknowledged all of them. After a broken connection or a restart of the service it asks what
 * has arrived, and goes on with the rest.
 * @throws what trying again does not help against
 */
export async function sendRecords(sending: Sending, records: readonly StreamRecord[]): Promise<void> {
  const { session, disk, patience } = sending
  let damaged = 0
  for (let left = records; left.length > 0; ) {
    const some = firstRecords(left, sending.limitBytes)
    try {
      await session.stream(disk, framedStream(some), patience)
      patience.progress()
      damaged = 0
      sending.limitBytes = Math.min(REQUEST_BYTES_MAX, sending.limitBytes * 2)
      left = left.slice(some.length)
    } catch (error) {
      patience.signal?.throwIfAborted()
      if (isDamaged(error) && ++damaged <= DAMAGED_MAX) {
        await patience.wait(error)
        continue
      }
      const broken = isPassing(error) || isEverfoldError(error, 'REQUEST_TIMEOUT')
      if (!broken && !isEverfoldError(error, 'CHUNK_UNKNOWN')) throw error
      await patience.wait(error)
      if (broken) {
        const sent = some.reduce((sum, record) => sum + recordBytes(record), 0)
        sending.limitBytes = Math.max(REQUEST_BYTES_MIN, Math.min(sending.limitBytes, sent / 2))
      }
      left = notArrived(left, await session.received(disk))
      if (!broken) left = await namedAnew(sending, left)
    }
  }
}

/** Was it damaged on its way, and nothing of it taken? */
function isDamaged(error: unknown): error is EverfoldError {
  return isEverfoldError(error, 'HASH_MISMATCH', 'STREAM_INVALID') && error.details['recorded'] !== true
}

function firstRecords(records: readonly StreamRecord[], limitBytes: number): readonly StreamRecord[] {
  let bytes = 0
  const end = records.findIndex((record, i) => {
    bytes += recordBytes(record)
    return i > 0 && bytes > limitBytes
  })
  return end < 0 ? records : records.slice(0, end)
}

/** Without what has arrived. @param arrived  sorted, apart */
function notArrived(
  records: readonly StreamRecord[],
  arrived: readonly ByteRange[],
): readonly StreamRecord[] {
  const isHere = (offset: number, size: number): boolean => {
    let low = 0
    for (let high = arrived.length; low < high; ) {
      const middle = (low + high) >> 1
      if ((arrived[middle]?.offset ?? 0) <= offset) low = middle + 1
      else high = middle
    }
    const range = arrived[low - 1]
    return range !== undefined && offset + size <= range.offset + range.length
  }
  return records.flatMap((record): readonly StreamRecord[] => {
    switch (record.kind) {
      case 'data':
        return isHere(record.offset, record.bytes.length) ? [] : [record]
      case 'zeros':
        return isHere(record.offset, record.size) ? [] : [record]
      case 'chunks':
        return record.chunks.every(({ offset, size }) => isHere(offset, size)) ? [] : [record]
      case 'known':
        return knownRecords(record.chunks.filter(({ offset, size }) => !isHere(offset, size)))
    }
  })
}

/** The service has lost chunks that it had: those are read again. */
async function namedAnew(
  sending: Sending,
  records: readonly StreamRecord[],
): Promise<readonly StreamRecord[]> {
  const brought = new Set<string>()
  const named: NamedChunk[] = []
  for (const record of records) {
    if (record.kind === 'chunks') for (const { name } of record.chunks) brought.add(name)
    if (record.kind === 'known') named.push(...record.chunks)
  }
  const bitmap = await sending.session.offers(hashesOf(named.map(({ name }) => name)))
  const isLost = ({ name }: NamedChunk, i: number): boolean => isSet(bitmap, i) && !brought.has(name)
  return [
    ...records.filter(({ kind }) => kind !== 'known'),
    ...(await readAgain(sending, named.filter(isLost))),
    ...knownRecords(named.filter((chunk, i) => !isLost(chunk, i))),
  ]
}

/** Reads chunks anew. If the disk has changed since, they are what it holds now: a disk in use has no other truth. */
async function readAgain(
  { source, workers, session }: Sending,
  chunks: readonly NamedChunk[],
): Promise<StreamRecord[]> {
  const records: StreamRecord[] = []
  for (let first = 0; first < chunks.length; ) {
    const pieces: { offset: number; length: number }[] = []
    let used = 0
    for (; first < chunks.length; first++) {
      const { offset, size } = chunks[first] ?? { offset: 0, size: 0 }
      if (used > 0 && used + size > BATCH_BYTES) break
      pieces.push({ offset, length: size })
      used += size
    }
    const plain = new ArrayBuffer(used)
    let at = 0
    for (const { offset, length } of pieces) {
      await source.read(new Uint8Array(plain, at, length), offset)
      at += length
    }
    const lengths = Uint32Array.from(pieces, ({ length }) => length)
    const batch = placeChunks(pieces, await workers.hash({ plain, lengths }))
    const data = batch.chunks.filter(({ zero }) => !zero)
    records.push(...(await encodeChunks(workers, batch.plain, data, session.encoding)).records)
    for (const { zero, offset, size } of batch.chunks) if (zero) records.push({ kind: 'zeros', offset, size })
  }
  return records
}
