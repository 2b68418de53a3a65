import { stopIfCancelled } from '../cancellation.js'
import type { Fence } from '../chain/pins.js'
import type { Repository } from '../chain/repository.js'
import { type BundleMember, encodeBundleTail } from '../pack/bundle-format.js'
import {
  decodePackDirectory,
  decodePackFooter,
  PACK_FOOTER_BYTES,
  type PackDirectory,
} from '../pack/pack-format.js'
import { bundleKey } from '../store/keys.js'
import { type RewrittenPack, rewritePack } from './rewrite-pack.js'
import type { SurveyedPack } from './survey.js'

export interface JoinCandidate {
  readonly pack: SurveyedPack
  /** More of it is dead than is tolerated: if it is not joined, it is to be rewritten. */
  readonly sparse: boolean
}

export interface JoinResult {
  /** Ids of packs that now lie in a bundle: their former objects can go. */
  readonly packs: readonly string[]
  readonly writtenBytes: number
  readonly leftSparse: readonly SurveyedPack[]
}

/** Fewer are left as they are: joining costs a copy, and pays only when it saves many objects. */
const JOINED_MIN = 8

/** Joins small packs, leaving their dead chunks out, into bundles of about the size of a pack. @throws STORE_FAILED, STORE_FULL, CANCELLED */
export async function joinPacks(
  repository: Repository,
  candidates: readonly JoinCandidate[],
  fence: Fence,
  dryRun: boolean,
  signal?: AbortSignal,
): Promise<JoinResult> {
  if (candidates.length < JOINED_MIN)
    return {
      packs: [],
      writtenBytes: 0,
      leftSparse: candidates.filter((one) => one.sparse).map((one) => one.pack),
    }
  if (dryRun)
    return { packs: candidates.map((one) => one.pack.place.packId), writtenBytes: 0, leftSparse: [] }
  const packs: string[] = []
  let writtenBytes = 0
  let draft = new Bundle(repository)
  const flush = async (): Promise<void> => {
    const written = await draft.write()
    packs.push(...written.packs)
    writtenBytes += written.bytes
    draft = new Bundle(repository)
  }
  try {
    for (const { pack } of candidates) {
      stopIfCancelled(signal)
      // Someone may have begun to use it since it was surveyed.
      if (fence.used(pack.place.packId)) continue
      await draft.take(pack)
      if (draft.sizeBytes >= repository.config.packSize) await flush()
    }
    await flush()
  } finally {
    draft.release()
  }
  return { packs, writtenBytes, leftSparse: [] }
}

class Bundle {
  readonly #repository: Repository
  readonly #members: BundleMember[] = []
  readonly #packs: RewrittenPack[] = []
  readonly #closed: string[] = []
  #sizeBytes = 0

  constructor(repository: Repository) {
    this.#repository = repository
  }

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  /** Closes the pack to new references and takes its live chunks in. The caller checked, in this very turn, that it is not in use. */
  async take(pack: SurveyedPack): Promise<void> {
    const { place, directory, live } = pack
    const { catalog } = this.#repository
    catalog.closePack(place.packId)
    this.#closed.push(place.packId)
    const index = await this.#repository.index()
    await index.removeChunks(
      place.packId,
      directory.hashes,
      live.map((byte) => ~byte),
    )
    const generation = ((await catalog.highestGeneration(place.packId)) ?? place.generation) + 1
    const rewritten = await rewritePack(this.#repository, directory, live, generation)
    if (rewritten === undefined) return
    this.#members.push({
      packId: place.packId,
      generation,
      offset: this.#sizeBytes,
      length: rewritten.sizeBytes,
    })
    this.#packs.push(rewritten)
    this.#sizeBytes += rewritten.sizeBytes
  }

  /** Writes the bundle, durably, and reopens its packs. */
  async write(): Promise<{ readonly packs: readonly string[]; readonly bytes: number }> {
    try {
      if (this.#members.length === 0) return { packs: [], bytes: 0 }
      const tail = encodeBundleTail(this.#members)
      const key = bundleKey(tail.id)
      await this.#repository.store.put(key, [...this.#packs.flatMap((pack) => pack.parts), tail.bytes])
      for (const [i, pack] of this.#packs.entries())
        this.#repository.catalog.add(placedAt(pack, key, this.#members[i]?.offset ?? 0))
      return {
        packs: this.#members.map((member) => member.packId),
        bytes: this.#sizeBytes + tail.bytes.length,
      }
    } finally {
      this.release()
    }
  }

  /** Opens the packs again. */
  release(): void {
    for (const packId of this.#closed.splice(0)) this.#repository.catalog.openPack(packId)
  }
}

function placedAt(pack: RewrittenPack, key: string, base: number): PackDirectory {
  const tail = pack.parts.at(-1) ?? new Uint8Array(0)
  const footer = decodePackFooter(tail, pack.sizeBytes)
  return decodePackDirectory(tail.subarray(0, tail.length - PACK_FOOTER_BYTES), footer, pack.sizeBytes, {
    key,
    base,
  })
}
