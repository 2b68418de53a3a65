import type { Repository } from '../chain/repository.js'
import { isEverfoldError } from '../errors.js'
import { inOrder } from '../in-order.js'
import { listPacks, type PackPlace, readPackDirectory } from '../pack/catalog.js'
import { isPresent, type PackDirectory } from '../pack/pack-format.js'
import type { References } from './live.js'

/** One generation of a pack, and how much of it is needed. Bytes. */
export interface SurveyedPack {
  readonly place: PackPlace
  readonly directory: PackDirectory
  /** Bitmap: chunks that some run refers to. */
  readonly live: Uint8Array
  readonly liveChunks: number
  readonly presentPlain: number
  readonly livePlain: number
  /** The live chunks' share of the stored bytes, by their plain lengths within each frame. */
  readonly liveStored: number
}

/** All places of packs by id, as the store lists them: a hint, of what could be removed at most. */
export async function placesById(repository: Repository): Promise<Map<string, PackPlace[]>> {
  const places = new Map<string, PackPlace[]>()
  for await (const place of listPacks(repository.store)) {
    const list = places.get(place.packId)
    if (list === undefined) places.set(place.packId, [place])
    else list.push(place)
  }
  for (const list of places.values()) list.sort((a, b) => b.generation - a.generation)
  return places
}

/** The generations of one pack that can be read, newest first, and how many the store lists. */
export interface SurveyedGenerations {
  readonly listed: number
  readonly packs: readonly SurveyedPack[]
}

/** Packs whose directories are read ahead: that is waiting for the store, most of the time. */
const SURVEYS_AHEAD = 8

/** Surveys all generations of many packs, in order, reading ahead. @throws STORE_FAILED */
export function surveyAll(
  repository: Repository,
  packs: Iterable<readonly PackPlace[]>,
  references: References,
): AsyncGenerator<SurveyedGenerations, void, undefined> {
  return inOrder(packs, SURVEYS_AHEAD, async (generations) => {
    const surveyed = await Promise.all(generations.map((place) => survey(repository, place, references)))
    return { listed: generations.length, packs: surveyed.filter((pack) => pack !== undefined) }
  })
}

/** Surveys one generation; undefined if it is damaged, gone or archived: then it is left alone. @throws STORE_FAILED */
export async function survey(
  repository: Repository,
  place: PackPlace,
  references: References,
): Promise<SurveyedPack | undefined> {
  let directory: PackDirectory
  try {
    directory = await readPackDirectory(repository.store, place)
  } catch (error) {
    if (isEverfoldError(error, 'DATA_DAMAGED', 'OBJECT_NOT_FOUND', 'OBJECT_ARCHIVED')) return undefined
    throw error
  }
  const live = new Uint8Array(Math.ceil(directory.chunkCount / 8))
  references.chunksOf(directory, (chunk) => {
    live[chunk >> 3] = (live[chunk >> 3] ?? 0) | (1 << (chunk & 7))
  })
  return { place, directory, live, ...measure(directory, live) }
}

function measure(
  directory: PackDirectory,
  live: Uint8Array,
): Pick<SurveyedPack, 'liveChunks' | 'presentPlain' | 'livePlain' | 'liveStored'> {
  let liveChunks = 0
  let presentPlain = 0
  let livePlain = 0
  let liveStored = 0
  for (let frame = 0; frame < directory.frameCount; frame++) {
    let frameLive = 0
    for (
      let chunk = directory.frameFirst[frame] ?? 0;
      chunk < (directory.frameFirst[frame + 1] ?? 0);
      chunk++
    ) {
      if (isBitSet(live, chunk)) liveChunks++
      if (isBitSet(live, chunk) && isPresent(directory, chunk)) frameLive += directory.chunkLength[chunk] ?? 0
    }
    const plain = directory.framePlain[frame] ?? 0
    presentPlain += plain
    livePlain += frameLive
    if (plain > 0) liveStored += (storedLength(directory, frame) * frameLive) / plain
  }
  return { liveChunks, presentPlain, livePlain, liveStored }
}

/** Are all chunks that runs refer to present in this generation? */
export function holdsAllLive(pack: SurveyedPack): boolean {
  for (let chunk = 0; chunk < pack.directory.chunkCount; chunk++)
    if (isBitSet(pack.live, chunk) && !isPresent(pack.directory, chunk)) return false
  return true
}

export function storedLength(directory: PackDirectory, frame: number): number {
  return (directory.frameOffset[frame + 1] ?? 0) - (directory.frameOffset[frame] ?? 0)
}

export function isBitSet(bitmap: Uint8Array, i: number): boolean {
  return ((bitmap[i >> 3] ?? 0) & (1 << (i & 7))) !== 0
}
