/**
 * Chunk hash → address. A cache of what the store says: losing it loses nothing, and no answer is believed before
 * the pack's own directory confirmed it (invariant 4).
 */

/** Bytes of a chunk hash (SHA-256). */
export const HASH_BYTES = 32

/** Answers of a batched look-up: hash i was last seen as chunk `position[i]` of pack `packs[packOf[i]]`. */
export interface LookupResult {
  /** Pack ids (hex) that `packOf` points into. */
  readonly packs: readonly string[]
  /** One per hash: index into `packs`, or -1 when the hash is not known. */
  readonly packOf: Int32Array
  /** One per hash: the chunk's place in the pack's directory. */
  readonly position: Uint32Array
}

/** A pack and the hashes of all of its chunks, concatenated. */
export interface PackHashes {
  readonly packId: string
  readonly hashes: Uint8Array
}

export interface ChunkIndex {
  /** Looks `hashes` (n × 32 bytes, concatenated) up in one go. Entries that fail their checksum are misses. */
  lookup(hashes: Uint8Array): Promise<LookupResult>

  /**
   * Records that chunk i of the pack has `hashes[i]` (n × 32 bytes), for each i whose bit is not set in `except`
   * (a bitmap, least significant bit first). The pack is in the store already. Need not be durable; atomic.
   */
  addPack(packId: string, hashes: Uint8Array, except?: Uint8Array): Promise<void>

  /**
   * Forgets chunks of a pack: those whose bit is set in `which` (all when absent), where the entry still points to
   * this very pack. Durable when the promise resolves: invariant 2.
   */
  removeChunks(packId: string, hashes: Uint8Array, which?: Uint8Array): Promise<void>

  /** Forgets that the pack is known (after all of its chunks were removed). Durable. */
  forgetPack(packId: string): Promise<void>

  /**
   * Forgets packs with all of their chunks: entries that still point to one of these packs, and the packs themselves.
   * `hashes` are all hashes of the pack (n × 32 bytes). Those that are not recorded are passed over. Atomic, and durable when
   * the promise resolves: invariant 2. One synced write, however many packs.
   */
  removePacks(packs: readonly PackHashes[]): Promise<void>

  /** Is this pack recorded? */
  hasPack(packId: string): Promise<boolean>

  /** Ids of all packs recorded, in no promised order. */
  packIds(): AsyncIterable<string>

  /** Small notes beside the index (chain heads, state of the last shutdown): a cache as well, checksummed. */
  getNote(name: string): Promise<string | undefined>
  /** Durable when the promise resolves. */
  putNote(name: string, value: string | undefined): Promise<void>

  /** Empties everything, durably: what a rebuild starts from. */
  clear(): Promise<void>

  /** Approximate count of chunk entries and bytes on disk, for statistics. */
  sizes(): Promise<{ readonly diskBytes: number }>

  close(): Promise<void>
}
