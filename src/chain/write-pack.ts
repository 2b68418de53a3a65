import { isEverfoldError } from '../errors.js'
import type { IngestIndex } from '../index/index-to-come.js'
import { ownObject, type PackCatalog, readPackDirectory } from '../pack/catalog.js'
import type { PackBuilder } from '../pack/pack-builder.js'
import { isPresent, type PackDirectory } from '../pack/pack-format.js'
import type { StoreWriter } from '../store/store.js'
import type { EarlyPack } from './early-pack.js'
import type { WorkPins } from './pins.js'

export interface PackSink {
  readonly store: StoreWriter
  readonly catalog: PackCatalog
  readonly index: IngestIndex
  readonly pins: WorkPins
}

/**
 * Writes a pack durably. The same chunks in the same order make the same pack id, so it may exist: then either it is whole,
 * and serves, or it is on its way out, damaged or without some chunks, and a higher generation is written.
 * @param early  has written some of it already
 * @throws STORE_FULL, STORE_FAILED
 */
export async function writePack(
  sink: PackSink,
  builder: PackBuilder,
  early?: EarlyPack,
): Promise<{ readonly directory: PackDirectory; readonly writtenBytes: number }> {
  const { store, catalog, pins, index } = sink
  const { id } = builder.seal().directory
  pins.pin(id)
  await catalog.whenOpen(id)
  await catalog.quarantine.load(store)
  let generation = catalog.quarantine.freeGeneration(id)
  if (await index.hasPack(id))
    generation = Math.max(generation, ((await catalog.highestGeneration(id)) ?? -1) + 1)
  for (; ; generation++) {
    const sealed = builder.seal(generation)
    const outcome =
      (await early?.put(sealed.key, sealed.parts)) ?? (await store.put(sealed.key, sealed.parts))
    if (outcome === 'created') {
      catalog.add(sealed.directory)
      return { directory: sealed.directory, writtenBytes: sealed.directory.sizeBytes }
    }
    const found = await wholePack(store, id, generation)
    if (found === undefined) continue
    catalog.add(found)
    return { directory: found, writtenBytes: 0 }
  }
}

async function wholePack(
  store: StoreWriter,
  id: string,
  generation: number,
): Promise<PackDirectory | undefined> {
  try {
    const directory = await readPackDirectory(store, ownObject(id, generation))
    for (let chunk = 0; chunk < directory.chunkCount; chunk++)
      if (!isPresent(directory, chunk)) return undefined
    return directory
  } catch (error) {
    if (isEverfoldError(error, 'DATA_DAMAGED', 'OBJECT_NOT_FOUND', 'OBJECT_ARCHIVED')) return undefined
    throw error
  }
}
