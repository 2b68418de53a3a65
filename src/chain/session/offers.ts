import { isEverfoldError } from '../../errors.js'
import { HASH_BYTES } from '../../index/chunk-index.js'
import type { Repository } from '../repository.js'
import type { Session } from './session.js'

/**
 * Which chunks the repository lacks. Those that it has are held for the session, as long as this process has it.
 * @param hashes  n × 32 bytes
 * @returns a bitmap, least significant bit first: bit i is set if chunk i is lacking
 * @throws STORE_FAILED
 */
export async function lackingOf(
  repository: Repository,
  session: Session,
  hashes: Uint8Array,
): Promise<Uint8Array> {
  const count = hashes.length / HASH_BYTES
  const lacking = new Uint8Array(Math.ceil(count / 8))
  const { catalog } = repository
  const found = await (await repository.index()).lookup(hashes)
  const directories = await Promise.all(
    found.packs.map(async (id) => {
      try {
        return await catalog.directory(id)
      } catch (error) {
        if (isEverfoldError(error, 'OBJECT_NOT_FOUND', 'DATA_DAMAGED', 'OBJECT_ARCHIVED')) return undefined
        throw error
      }
    }),
  )
  for (let i = 0; i < count; i++) {
    const pack = directories[found.packOf[i] ?? -1]
    const chunk = found.position[i] ?? 0
    const own = hashes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES)
    // The pack's own directory has the say; it is held in the turn in which that is decided.
    const has =
      session.closed === undefined &&
      pack !== undefined &&
      chunk < pack.chunkCount &&
      catalog.mayReference(pack, chunk) &&
      Buffer.compare(pack.hashes.subarray(chunk * HASH_BYTES, (chunk + 1) * HASH_BYTES), own) === 0
    if (has) session.pins.pin(pack.id)
    else lacking[i >> 3] = (lacking[i >> 3] ?? 0) | (1 << (i & 7))
  }
  return lacking
}
