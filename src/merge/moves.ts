import type { PackDirectory } from '../pack/pack-format.js'

/** Where the chunks of one pack lie as well. Arrays by chunk. */
export interface MovedPack {
  readonly directory: PackDirectory
  /** Number of the pack in {@link Moves.packIds}, or NOT_MOVED. */
  readonly pack: Int32Array
  readonly chunk: Uint32Array
}

export const NOT_MOVED = -1

/** The second address of chunks that were copied: the first one goes on to mean the same bytes, as long as its pack is there. */
export class Moves {
  /** The packs that were written. */
  readonly packIds: string[] = []
  readonly #packs = new Map<string, MovedPack>()

  /** @param from  packs of which chunks may be moved */
  constructor(from: Iterable<PackDirectory>) {
    for (const directory of from)
      this.#packs.set(directory.id, {
        directory,
        pack: new Int32Array(directory.chunkCount).fill(NOT_MOVED),
        chunk: new Uint32Array(directory.chunkCount),
      })
  }

  /** Takes note of a pack whose chunks are copies, in this order. */
  add(packId: string, chunks: readonly { readonly packId: string; readonly chunk: number }[]): void {
    const number = this.packIds.push(packId) - 1
    for (const [i, source] of chunks.entries()) {
      const moved = this.#packs.get(source.packId)
      if (moved === undefined) throw new RangeError(`pack ${source.packId} is none of those that are moved`)
      moved.pack[source.chunk] = number
      moved.chunk[source.chunk] = i
    }
  }

  of(packId: string): MovedPack | undefined {
    return this.#packs.get(packId)
  }
}
