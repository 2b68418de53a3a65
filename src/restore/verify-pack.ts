import { stopIfCancelled } from '../cancellation.js'
import type { Repository } from '../chain/repository.js'
import { isEverfoldError } from '../errors.js'
import { Gate } from '../gate.js'
import { type PackPlace, readPackDirectory } from '../pack/catalog.js'
import { decodeJob } from '../pack/chunk-reader.js'
import { CHUNK_GOOD } from '../pack/chunk-state.js'
import type { DecodeResult } from '../pack/jobs.js'
import { isPresent, PACK_HEADER_BYTES, type PackDirectory, packHeader } from '../pack/pack-format.js'
import { settleAll } from '../settle-all.js'
import { readAgainIfDamaged } from '../store/read-again.js'
import type { DamageMap } from './damage.js'

/** Bytes that are read and checked together: stored, and plain. */
const READ_STORED_BYTES = 4 * 1024 * 1024
const READ_PLAIN_BYTES = 8 * 1024 * 1024
const READS_IN_FLIGHT = 3

export interface VerifiedPack {
  readonly chunks: number
  readonly bytes: number
}

export const NOTHING_VERIFIED: VerifiedPack = { chunks: 0, bytes: 0 }

/** Checks one pack object, or a sample of its frames; one that is removed meanwhile is passed over. @throws STORE_FAILED, CANCELLED */
export async function verifyPack(
  repository: Repository,
  object: PackPlace,
  sample: number,
  damage: DamageMap,
  signal: AbortSignal | undefined,
): Promise<VerifiedPack> {
  try {
    return await verifyObject(repository, object, sample, damage, signal)
  } catch (error) {
    if (!isEverfoldError(error, 'OBJECT_NOT_FOUND')) throw error
    damage.forget(object.packId, object.key)
    return NOTHING_VERIFIED
  }
}

async function verifyObject(
  repository: Repository,
  object: PackPlace,
  sample: number,
  damage: DamageMap,
  signal: AbortSignal | undefined,
): Promise<VerifiedPack> {
  stopIfCancelled(signal)
  let directory: PackDirectory
  try {
    directory = await readPackDirectory(repository.store, object)
    const isWhole = await readAgainIfDamaged(
      async () => Buffer.compare(await readHeader(repository, object), packHeader()) === 0,
      (whole) => whole,
    )
    if (!isWhole) damage.note(object.key, 'its header is damaged; its chunks may be whole')
  } catch (error) {
    if (!isEverfoldError(error, 'DATA_DAMAGED')) throw error
    damage.losePack(error.message, object.key)
    return NOTHING_VERIFIED
  }
  damage.know(directory)
  let chunks = 0
  let bytes = 0
  const gate = new Gate(READS_IN_FLIGHT)
  await settleAll(
    [...frameGroups(directory)].map(async (group) => {
      await gate.enter()
      try {
        stopIfCancelled(signal)
        if (sample < 1 && randomShare(repository) >= sample) return
        // Others count meanwhile.
        const checked = await verifyFrames(repository, object, directory, group, damage)
        chunks += checked
        bytes += (directory.frameOffset[group.end] ?? 0) - (directory.frameOffset[group.first] ?? 0)
      } finally {
        gate.leave()
      }
    }),
  )
  return { chunks, bytes }
}

function readHeader(repository: Repository, object: PackPlace): Promise<Uint8Array> {
  return repository.store.read(object.key, object.base, PACK_HEADER_BYTES)
}

interface FrameGroup {
  readonly first: number
  readonly end: number
}

function* frameGroups(directory: PackDirectory): Generator<FrameGroup> {
  let first = 0
  let plain = 0
  for (let frame = 0; frame < directory.frameCount; frame++) {
    const stored = (directory.frameOffset[frame + 1] ?? 0) - (directory.frameOffset[first] ?? 0)
    plain += directory.framePlain[frame] ?? 0
    if (frame > first && (stored > READ_STORED_BYTES || plain > READ_PLAIN_BYTES)) {
      yield { first, end: frame }
      first = frame
      plain = directory.framePlain[frame] ?? 0
    }
  }
  yield { first, end: directory.frameCount }
}

async function verifyFrames(
  repository: Repository,
  object: PackPlace,
  directory: PackDirectory,
  group: FrameGroup,
  damage: DamageMap,
): Promise<number> {
  const chunks: number[] = []
  const end = directory.frameFirst[group.end] ?? 0
  for (let chunk = directory.frameFirst[group.first] ?? 0; chunk < end; chunk++)
    if (isPresent(directory, chunk)) chunks.push(chunk)
  const read = async (): Promise<DecodeResult> => {
    const from = directory.frameOffset[group.first] ?? 0
    const stored = await repository.store.read(
      object.key,
      from,
      (directory.frameOffset[group.end] ?? 0) - from,
    )
    return repository.crew.decode(decodeJob(directory, chunks, stored, from))
  }
  try {
    const result = await readAgainIfDamaged(read, isClean)
    for (const [i, chunk] of chunks.entries())
      if (result.state[i] !== CHUNK_GOOD) damage.loseChunk(directory, chunk)
    if (result.crcWrong.includes(1)) damage.note(object.key, 'the checksum of a frame is wrong')
  } catch (error) {
    if (!isEverfoldError(error, 'DATA_DAMAGED')) throw error
    for (const chunk of chunks) damage.loseChunk(directory, chunk)
  }
  return chunks.length
}

function isClean(result: DecodeResult): boolean {
  return !result.crcWrong.includes(1) && result.state.every((state) => state === CHUNK_GOOD)
}

function randomShare(repository: Repository): number {
  const [a = 0, b = 0, c = 0] = repository.environment.random(3)
  return (a + b * 256 + c * 65536) / 2 ** 24
}
