import type { Repository } from '../chain/repository.js'
import { isEqualHash, SHA256_BYTES } from '../checksum.js'
import { EverfoldError, isEverfoldError } from '../errors.js'
import { listPacks } from '../pack/catalog.js'
import { planTasks } from '../pack/chunk-reader.js'
import { isPresent, type PackDirectory } from '../pack/pack-format.js'
import type { CondemnedObject, DamagedPack } from '../pack/quarantine.js'
import { packsPrefix } from '../store/keys.js'
import { rewritePack } from './rewrite-pack.js'

export interface HealResult {
  /** Chunks that are whole again, and that are still damaged. */
  readonly healedChunks: number
  readonly damagedChunks: number
}

/**
 * Heals damaged chunks of which a later backup has brought a good copy: writes a new generation of their pack with it, so
 * that all points that refer to them are whole again.
 * @throws STORE_FAILED, STORE_FULL
 */
export async function healDamage(repository: Repository): Promise<HealResult> {
  const { quarantine } = repository.catalog
  await quarantine.load(repository.store)
  if (quarantine.state.damaged.length === 0) return { healedChunks: 0, damagedChunks: 0 }
  return repository.collecting.run('gc', async () => {
    let healedChunks = 0
    const left: DamagedPack[] = []
    const replaced: DamagedPack[] = []
    for (const damaged of quarantine.state.damaged) {
      const healed = await healPack(repository, damaged)
      healedChunks += healed.chunks
      if (healed.chunks > 0) replaced.push(damaged)
      if (healed.left !== undefined) left.push(healed.left)
    }
    if (healedChunks > 0) {
      const condemned: CondemnedObject[] = []
      for (const pack of replaced) condemned.push(...(await outdated(repository, pack)))
      await quarantine.record(repository.store, {
        damaged: left,
        condemned: [...quarantine.state.condemned, ...condemned],
      })
    }
    return { healedChunks, damagedChunks: left.reduce((sum, pack) => sum + (pack.chunks?.length ?? 1), 0) }
  })
}

/**
 * The generation that was damaged and all before it: none of them is to be read any more. An object that holds other packs too
 * stays: collection empties it in time.
 */
async function outdated(repository: Repository, damaged: DamagedPack): Promise<CondemnedObject[]> {
  const { quarantine } = repository.catalog
  const objects: CondemnedObject[] = []
  for await (const { packId, generation, key } of listPacks(repository.store, damaged.pack))
    if (
      packId === damaged.pack &&
      generation <= damaged.generation &&
      key.startsWith(packsPrefix) &&
      quarantine.condemnedObject(key) === undefined
    )
      objects.push({ key, packs: [{ id: packId, generation }], round: quarantine.state.round })
  return objects
}

async function healPack(
  repository: Repository,
  damaged: DamagedPack,
): Promise<{ readonly chunks: number; readonly left: DamagedPack | undefined }> {
  if (damaged.chunks === undefined) return { chunks: 0, left: damaged }
  let directory: PackDirectory
  try {
    directory = await repository.catalog.directory(damaged.pack)
  } catch (error) {
    // Gone with garbage collection: nothing needed it.
    if (isEverfoldError(error, 'OBJECT_NOT_FOUND')) return { chunks: 0, left: undefined }
    if (isEverfoldError(error, 'DATA_DAMAGED')) return { chunks: 0, left: damaged }
    throw error
  }
  // The same chunks in the same order came again: they were written as a new generation.
  if (
    directory.generation > damaged.generation &&
    damaged.chunks.every((chunk) => isPresent(directory, chunk))
  )
    return { chunks: damaged.chunks.length, left: undefined }
  const replacements = new Map<number, Uint8Array>()
  const missing: number[] = []
  for (const chunk of damaged.chunks) {
    const copy = await findCopy(repository, directory, chunk)
    if (copy === undefined) missing.push(chunk)
    else replacements.set(chunk, copy)
  }
  if (replacements.size === 0) return { chunks: 0, left: damaged }
  const keep = new Uint8Array(Math.ceil(directory.chunkCount / 8))
  const stillBad = new Set(missing)
  for (let chunk = 0; chunk < directory.chunkCount; chunk++)
    if ((isPresent(directory, chunk) || replacements.has(chunk)) && !stillBad.has(chunk))
      keep[chunk >> 3] = (keep[chunk >> 3] ?? 0) | (1 << (chunk & 7))
  const generation = ((await repository.catalog.highestGeneration(directory.id)) ?? directory.generation) + 1
  const rewritten = await rewritePack(repository, directory, keep, generation, replacements)
  if (rewritten === undefined) return { chunks: 0, left: damaged }
  // Somebody else's, of which a short listing did not tell: next time.
  if ((await repository.store.put(rewritten.directory.key, rewritten.parts)) === 'exists')
    return { chunks: 0, left: damaged }
  repository.catalog.add(rewritten.directory)
  await (await repository.index()).addPack(
    directory.id,
    directory.hashes,
    keep.map((byte) => ~byte),
  )
  const left = { ...damaged, key: rewritten.directory.key, generation, chunks: missing }
  return { chunks: replacements.size, left: missing.length === 0 ? undefined : left }
}

/** A good copy of a chunk in another pack, checked against its hash; undefined if there is none. */
async function findCopy(
  repository: Repository,
  directory: PackDirectory,
  chunk: number,
): Promise<Uint8Array | undefined> {
  const hash = directory.hashes.subarray(chunk * SHA256_BYTES, (chunk + 1) * SHA256_BYTES)
  const found = await (await repository.index()).lookup(hash)
  const packId = found.packs[found.packOf[0] ?? -1]
  const position = found.position[0] ?? 0
  if (packId === undefined || packId === directory.id) return undefined
  try {
    const other = await repository.catalog.directory(packId)
    const isSame = isEqualHash(other.hashes, position, directory.hashes, chunk)
    if (!isSame || !repository.catalog.mayReference(other, position)) return undefined
    const span = {
      directory: other,
      position: other.chunkStart[position] ?? 0,
      length: other.chunkLength[position] ?? 0,
      target: 0,
    }
    const [task] = planTasks([span])
    if (task === undefined) return undefined
    const { plain, damaged } = await repository.reader.run(task)
    return damaged.length === 0 ? plain : undefined
  } catch (error) {
    if (error instanceof EverfoldError && ['OBJECT_NOT_FOUND', 'DATA_DAMAGED'].includes(error.code))
      return undefined
    throw error
  }
}
