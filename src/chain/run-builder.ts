import { ExtentList, SAME, ZEROS } from './extent-list.js'
import { overlay } from './overlay.js'
import type { PackTable } from './pack-table.js'

/** Collects what a session learns of one disk, in any order, into the extents of its run. */
export class RunBuilder {
  readonly #stride: number
  readonly #packs: PackTable
  /**
   * Each sorted; a later one wins over an earlier one. More than one only if data came out of order; then each has over twice the
   * extents of the one after it, so that there are few, and n extents in any order cost n log n.
   */
  readonly #lists: ExtentList[] = []
  #lastChunk = -1

  constructor(stride: number, packs: PackTable) {
    this.#stride = stride
    this.#packs = packs
  }

  /** How many there are: what was written over may count until they are put together. */
  get extents(): number {
    return this.#lists.reduce((sum, list) => sum + list.length, 0)
  }

  zeros(offset: number, length: number): void {
    this.#listFor(offset).append(offset, length, ZEROS, 0, 0)
    this.#lastChunk = -1
  }

  /** As at the newest point. */
  same(offset: number, length: number): void {
    this.#listFor(offset).append(offset, length, SAME, 0, 0)
    this.#lastChunk = -1
  }

  /** A whole chunk of a pack (by slot in the table), `length` bytes long. */
  chunk(offset: number, length: number, pack: number, chunk: number): void {
    const list = this.#listFor(offset)
    const last = list.length - 1
    // Where lengths vary, only we know that this chunk follows the last one: say it in the terms of that extent.
    const follows =
      this.#stride === 0 &&
      last >= 0 &&
      list.end === offset &&
      list.pack[last] === pack &&
      chunk === this.#lastChunk + 1
    if (follows)
      list.append(
        offset,
        length,
        pack,
        list.chunk[last] ?? 0,
        (list.skip[last] ?? 0) + (list.size[last] ?? 0),
      )
    else list.append(offset, length, pack, chunk, 0)
    this.#lastChunk = chunk
  }

  /** All extents, once every pack has its name. */
  finish(): ExtentList {
    let all = new ExtentList(this.#stride, this.#packs)
    for (const list of this.#lists)
      all = all.length === 0 ? this.#canonical(list) : overlay(all, this.#canonical(list))
    return all
  }

  /** One slot per pack, so that neighbours in a pack that was named twice are joined. */
  #canonical(list: ExtentList): ExtentList {
    const out = new ExtentList(list.stride, list.packs, list.length)
    for (let i = 0; i < list.length; i++) {
      const slot = list.pack[i] ?? ZEROS
      const pack = slot < 0 ? slot : this.#packs.firstOf(slot)
      out.append(list.startOf(i), list.size[i] ?? 0, pack, list.chunk[i] ?? 0, list.skip[i] ?? 0)
    }
    return out
  }

  #listFor(offset: number): ExtentList {
    const last = this.#lists.at(-1)
    if (last !== undefined && offset >= last.end) return last
    putTogether(this.#lists)
    const next = new ExtentList(this.#stride, this.#packs)
    this.#lists.push(next)
    this.#lastChunk = -1
    return next
  }
}

/** Overlays the newest of some lists, oldest first, until each has over twice the extents of the one after it. */
export function putTogether(lists: ExtentList[]): void {
  for (;;) {
    const newer = lists.at(-1)
    const older = lists.at(-2)
    if (newer === undefined || older === undefined || older.length > 2 * newer.length) return
    lists.splice(-2, 2, overlay(older, newer))
  }
}
