import { ExtentList, ZEROS } from '../chain/extent-list.js'
import { chunkAt } from '../pack/pack-format.js'
import { type MovedPack, type Moves, NOT_MOVED } from './moves.js'

/** The same bytes of the disk, from where their chunks lie now. Neighbours that follow each other there are joined. */
export function moveExtents(list: ExtentList, moves: Moves): ExtentList {
  const mover = new Mover(list, moves)
  return mover.move()
}

class Mover {
  readonly #list: ExtentList
  readonly #out: ExtentList
  readonly #moved: readonly (MovedPack | undefined)[]
  readonly #slots: readonly number[]
  /** The chunk that goes on with the same extent, if the last one was appended to its end: a slot, and a number. */
  #nextPack = ZEROS
  #nextChunk = 0

  constructor(list: ExtentList, moves: Moves) {
    this.#list = list
    const { packs } = list
    const slots = Array.from({ length: packs.size }, (_, slot) => moves.of(packs.idOf(slot)))
    this.#moved = slots
    this.#slots = moves.packIds.map((id) => packs.slotOf(id))
    this.#out = new ExtentList(list.stride, packs, list.length)
  }

  move(): ExtentList {
    const list = this.#list
    for (let i = 0; i < list.length; i++) {
      const moved = this.#moved[list.pack[i] ?? ZEROS]
      if (moved !== undefined) this.#takeChunks(i, moved)
      else {
        this.#out.appendPart(list, i, list.startOf(i), list.endOf(i))
        this.#nextPack = ZEROS
      }
    }
    return this.#out
  }

  /** Chunk by chunk: each may have gone elsewhere, or stayed. */
  #takeChunks(i: number, { directory, pack, chunk }: MovedPack): void {
    const list = this.#list
    const begin = (directory.chunkStart[list.chunk[i] ?? 0] ?? 0) + (list.skip[i] ?? 0)
    const end = begin + (list.size[i] ?? 0)
    const origin = list.startOf(i) - begin
    for (let from = begin, at = chunkAt(directory, begin); from < end; at++) {
      const start = directory.chunkStart[at] ?? 0
      const next = directory.chunkStart[at + 1] ?? end
      const to = Math.min(end, next)
      const target = pack[at] ?? NOT_MOVED
      const isMoved = target !== NOT_MOVED
      const slot = isMoved ? (this.#slots[target] ?? ZEROS) : (list.pack[i] ?? ZEROS)
      this.#append(origin + from, to - from, slot, isMoved ? (chunk[at] ?? 0) : at, from - start, to === next)
      from = to
    }
  }

  #append(offset: number, length: number, slot: number, chunk: number, skip: number, toEnd: boolean): void {
    const out = this.#out
    const last = out.length - 1
    // Where lengths vary, only we know that this chunk follows the last one: say it in the terms of that extent.
    const follows =
      out.stride === 0 &&
      last >= 0 &&
      out.end === offset &&
      slot === this.#nextPack &&
      chunk === this.#nextChunk &&
      skip === 0
    if (follows)
      out.append(offset, length, slot, out.chunk[last] ?? 0, (out.skip[last] ?? 0) + (out.size[last] ?? 0))
    else out.append(offset, length, slot, chunk, skip)
    this.#nextPack = toEnd ? slot : ZEROS
    this.#nextChunk = chunk + 1
  }
}
