import type { Session } from '../chain/session/session.js'
import type { Upload } from '../chain/session/upload.js'
import { sha256 } from '../checksum.js'
import { runCut } from '../chunker/batch-jobs.js'
import { cutFixed } from '../chunker/fixed.js'
import { EverfoldError, isEverfoldError } from '../errors.js'
import { runEncode } from '../pack/jobs.js'
import { SimulationFailure } from './failure.js'
import type { Random } from './random.js'
import type { Service } from './service.js'
import type { Span, UploadClient, UploadedDisk } from './upload-client.js'

/** As the simulated repositories have it. */
const CHUNK_BYTES = 4096
/** Chunks of one record. */
const RECORD_CHUNKS_MAX = 8

/** What a client does in one request. */
export interface Sending {
  readonly number: number
  readonly span: Span
  /** The chunks of the span, if they were cut already. */
  readonly chunks?: readonly Span[]
  /** Waited for in the middle; undefined: the body comes at once. */
  readonly gate?: Promise<void> | undefined
}

/** Chunks of a part of a disk, cut as the service would. */
export function chunksOf({ bytes, chunker }: UploadedDisk, { start, end }: Span): Span[] {
  const lengths =
    chunker === 'fixed'
      ? cutFixed(start, end - start, CHUNK_BYTES)
      : runCut({
          plain: new Uint8Array(bytes.subarray(start, end)).buffer,
          offsets: Float64Array.of(start),
          pieces: Uint32Array.of(end - start),
          chunkSize: CHUNK_BYTES,
          final: true,
        }).lengths
  let at = start
  return Array.from(lengths, (length) => ({ start: at, end: (at += length) }))
}

export function hashOf(disk: UploadedDisk, { start, end }: Span): Uint8Array {
  return sha256(disk.bytes.subarray(start, end))
}

/** Names a chunk among those that were offered. */
export function nameOf(disk: UploadedDisk, { start, end }: Span): string {
  return `${disk.id}:${start}:${end}`
}

/**
 * One data request. What was acknowledged is noted; one that breaks off, or fails, may have brought anything.
 * @throws what the service answers; SimulationFailure if it takes what it must not
 */
export async function send(
  service: Service,
  client: UploadClient,
  session: Session,
  { number, span, chunks: cut, gate }: Sending,
  random: Random,
): Promise<void> {
  const disk = client.disks[number]
  if (disk === undefined) throw new RangeError('no such disk')
  // Sometimes other bytes first: what comes later wins.
  const isWrong = client.running === 0 && gate === undefined && random.chance(0.07)
  client.running++
  if (isWrong) client.isExclusive = true
  disk.sent.fill(1, span.start, span.end)
  if (isWrong) disk.wrong.fill(1, span.start, span.end)
  try {
    const admitted = await service.sessions.upload(session, number)
    const chunks = cut ?? chunksOf(disk, span)
    const breaksOff = random.chance(0.08) ? random.below(chunks.length + 1) : Infinity
    const { upload } = admitted
    try {
      for (let at = 0; at < chunks.length; ) {
        if (gate !== undefined && at >= chunks.length / 2) await gate
        if (at >= breaksOff || service.sessions.parking.aborted) {
          await (random.chance(0.7) ? admitted.finish() : admitted.abandon())
          return
        }
        const isKnown = isOffered(client, disk, chunks[at])
        const next = chunks.slice(at, at + random.between(1, RECORD_CHUNKS_MAX))
        const some = leading(next, (chunk) => isOffered(client, disk, chunk) === isKnown)
        if (isWrong) at += await sendNoise(upload, some, random)
        else at += await sendSome(service, client, upload, disk, some, random)
      }
    } catch (error) {
      await admitted.abandon().catch(() => undefined)
      throw error
    }
    await admitted.finish()
    disk.durable.fill(1, span.start, span.end)
    if (!isWrong) disk.wrong.fill(0, span.start, span.end)
  } finally {
    client.running--
    if (isWrong) client.isExclusive = false
  }
}

async function sendNoise(upload: Upload, chunks: readonly Span[], random: Random): Promise<number> {
  for (const { start, end } of chunks) await upload.data(start, random.bytes(end - start))
  return chunks.length
}

/** Sends some of these chunks in one record. @returns how many */
async function sendSome(
  service: Service,
  client: UploadClient,
  upload: Upload,
  disk: UploadedDisk,
  chunks: readonly Span[],
  random: Random,
): Promise<number> {
  const start = chunks[0]?.start ?? 0
  const isZero = (span: Span): boolean =>
    !disk.bytes.subarray(span.start, span.end).some((byte) => byte !== 0)
  if (isOffered(client, disk, chunks[0]) && random.chance(0.8)) {
    await sendKnown(service, client, upload, disk, chunks)
    return chunks.length
  }
  const zero = leading(chunks, isZero)
  if (zero.length > 0 && random.chance(0.7)) {
    await upload.zeros(start, (zero.at(-1)?.end ?? start) - start)
    return zero.length
  }
  const full = leading(chunks, (span) => !isZero(span))
  if (full.length > 0 && random.chance(0.5)) {
    const frame = full.slice(0, random.between(1, service.framePlainMax / CHUNK_BYTES))
    await sendFrame(upload, disk, frame, service.level, random)
    return frame.length
  }
  for (let at = start, end = chunks.at(-1)?.end ?? start; at < end; ) {
    const length = Math.min(end - at, random.between(1, 3 * CHUNK_BYTES))
    await upload.data(at, disk.bytes.subarray(at, at + length))
    at += length
  }
  return chunks.length
}

/** Chunks by name. What the service said it has it must have, as long as it lives. */
async function sendKnown(
  service: Service,
  client: UploadClient,
  upload: Upload,
  disk: UploadedDisk,
  chunks: readonly Span[],
): Promise<void> {
  const isHeld = chunks.every((chunk) => client.offered.get(nameOf(disk, chunk)) === service)
  try {
    await upload.known(named(disk, chunks))
  } catch (error) {
    if (!isEverfoldError(error, 'CHUNK_UNKNOWN')) throw error
    for (const chunk of chunks) client.offered.delete(nameOf(disk, chunk))
    if (isHeld && !service.mayForget())
      throw new SimulationFailure(`${client.machine.name}: a chunk that was said to be there is not`, error)
    throw error
  }
}

/** A frame that the client compressed; now and then a false one, which must be refused. */
async function sendFrame(
  upload: Upload,
  disk: UploadedDisk,
  chunks: readonly Span[],
  level: number,
  random: Random,
): Promise<void> {
  const start = chunks[0]?.start ?? 0
  const end = chunks.at(-1)?.end ?? start
  const { stored, codec, crc } = runEncode({
    plain: new Uint8Array(disk.bytes.subarray(start, end)).buffer,
    offsets: Uint32Array.from(chunks, (chunk) => chunk.start - start),
    lengths: Uint32Array.from(chunks, (chunk) => chunk.end - chunk.start),
    frameChunks: Uint32Array.of(chunks.length),
    level,
    verify: false,
  })
  const names = named(disk, chunks)
  const isFalse = random.chance(0.04)
  const spoiled = random.below(names.hashes.length)
  if (isFalse) names.hashes[spoiled] = (names.hashes[spoiled] ?? 0) ^ 1
  const complain = (): Error =>
    new EverfoldError('HASH_MISMATCH', 'A chunk does not have its hash.', { details: { isFalse } })
  const fill = async (into: Uint8Array): Promise<number> => {
    into.set(stored)
    return crc[0] ?? 0
  }
  await upload.frame(names, { codec: codec[0] ?? 0, length: stored.length, fill, complain })
  if (!isFalse) return
  // It is told now, or at the end.
  await upload.finish()
  throw new SimulationFailure('a frame was taken whose chunk does not have its hash')
}

export function named(
  disk: UploadedDisk,
  chunks: readonly Span[],
): { offsets: Float64Array; lengths: Uint32Array; hashes: Uint8Array } {
  return {
    offsets: Float64Array.from(chunks, (chunk) => chunk.start),
    lengths: Uint32Array.from(chunks, (chunk) => chunk.end - chunk.start),
    hashes: Buffer.concat(chunks.map((chunk) => hashOf(disk, chunk))),
  }
}

function isOffered(client: UploadClient, disk: UploadedDisk, chunk: Span | undefined): boolean {
  return chunk !== undefined && client.offered.has(nameOf(disk, chunk))
}

function leading(chunks: readonly Span[], holds: (chunk: Span) => boolean): readonly Span[] {
  const end = chunks.findIndex((chunk) => !holds(chunk))
  return end < 0 ? chunks : chunks.slice(0, end)
}
