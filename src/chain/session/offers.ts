import { isEqualHash } from '../../checksum.js'
import { inOrder } from '../../in-order.js'
import { HASH_BYTES } from '../../index/chunk-index.js'
import type { Repository } from '../repository.js'
import type { Session } from './session.js'

/** Directories that are looked at together: an offer may be of chunks of as many packs as it has chunks, and more than memory holds. */
const DIRECTORIES_AT_ONCE = 32

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
  const { catalog } = repository
  const found = await (await repository.index()).lookup(hashes)
  const lacking = allOf(hashes.length / HASH_BYTES)
  const asked: number[][] = found.packs.map(() => [])
  for (const [i, pack] of found.packOf.entries()) asked[pack]?.push(i)
  const located = inOrder(found.packs.entries(), DIRECTORIES_AT_ONCE, async ([number, id]) => ({
    pack: await catalog.directoryIfWhole(id),
    chunks: asked[number] ?? [],
  }))
  for await (const { pack, chunks } of located) {
    if (pack === undefined) continue
    for (const i of chunks) {
      const chunk = found.position[i] ?? 0
      // The pack's own directory has the say; it is held in the turn in which that is decided.
      const has =
        session.closed === undefined &&
        chunk < pack.chunkCount &&
        catalog.mayReference(pack, chunk) &&
        isEqualHash(pack.hashes, chunk, hashes, i)
      if (!has) continue
      session.pins.pin(pack.id)
      lacking[i >> 3] = (lacking[i >> 3] ?? 0) & ~(1 << (i & 7))
    }
  }
  return lacking
}

/** A bitmap of which the first `count` bits are set. */
function allOf(count: number): Uint8Array {
  const bits = new Uint8Array(Math.ceil(count / 8)).fill(0xff)
  const rest = count % 8
  if (rest > 0) bits[bits.length - 1] = (1 << rest) - 1
  return bits
}
