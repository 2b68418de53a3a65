import type { Repository } from '../chain/repository.js'
import { isEverfoldError } from '../errors.js'
import type { DamagedPack } from '../pack/quarantine.js'
import { type DamagedRange, DamageMap } from './damage.js'

/**
 * Records what verification found damaged: no new point refers to it from now on, so that the same chunks are stored again
 * when they come again. On a full disk this is left for the next time.
 * @param partial  Only a sample was looked at: what was known before stays known.
 * @throws STORE_FAILED
 */
export async function quarantineDamage(
  repository: Repository,
  found: readonly DamagedPack[],
  partial: boolean,
): Promise<void> {
  const { quarantine } = repository.catalog
  try {
    await quarantine.load(repository.store)
    const damaged = partial ? merge(quarantine.state.damaged, found) : found
    if (JSON.stringify(damaged) === JSON.stringify(quarantine.state.damaged)) return
    await quarantine.record(repository.store, { damaged })
    const index = await repository.index()
    for (const pack of found) {
      const directory = await repository.catalog.directory(pack.pack)
      const which = new Uint8Array(Math.ceil(directory.chunkCount / 8))
      for (const chunk of pack.chunks ?? []) which[chunk >> 3] = (which[chunk >> 3] ?? 0) | (1 << (chunk & 7))
      await index.removeChunks(pack.pack, directory.hashes, which)
    }
  } catch (error) {
    if (!isEverfoldError(error, 'STORE_FULL', 'OBJECT_NOT_FOUND', 'DATA_DAMAGED')) throw error
  }
}

function merge(before: readonly DamagedPack[], found: readonly DamagedPack[]): DamagedPack[] {
  const merged = new Map(before.map((pack) => [pack.pack, pack]))
  for (const pack of found) {
    const known = merged.get(pack.pack)
    const chunks = new Set([
      ...(known?.generation === pack.generation ? (known.chunks ?? []) : []),
      ...(pack.chunks ?? []),
    ])
    merged.set(pack.pack, { ...pack, chunks: [...chunks].sort((a, b) => a - b) })
  }
  return [...merged.values()]
}

/** Where points are damaged, by what is in quarantine now: no data is read. @throws STORE_FAILED */
export async function knownDamage(repository: Repository): Promise<DamagedRange[]> {
  const { quarantine } = repository.catalog
  await quarantine.load(repository.store)
  if (quarantine.state.damaged.length === 0) return []
  const damage = new DamageMap(false)
  for (const pack of quarantine.state.damaged) {
    try {
      const directory = await repository.catalog.directory(pack.pack)
      damage.know(directory)
      if (directory.generation === pack.generation)
        for (const chunk of pack.chunks ?? []) damage.loseChunk(directory, chunk)
    } catch (error) {
      if (!isEverfoldError(error, 'OBJECT_NOT_FOUND', 'DATA_DAMAGED')) throw error
    }
  }
  const states = []
  for (const machine of await repository.chains.machines())
    states.push((await repository.chains.get(machine)).state)
  return damage.locate(repository, states)
}
