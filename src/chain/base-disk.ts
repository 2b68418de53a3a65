import { isEqualHash, sha256 } from '../checksum.js'
import type { HashResult } from '../chunker/batch-jobs.js'
import { isZeroChunk } from '../chunker/hash.js'
import { copyBytes } from '../copy-bytes.js'
import { isEverfoldError } from '../errors.js'
import type { ChunkReader, Span } from '../pack/chunk-reader.js'
import { planTasks } from '../pack/chunk-reader.js'
import { chunkAt, type PackDirectory, plainPosition } from '../pack/pack-format.js'
import { type ExtentList, ZEROS } from './extent-list.js'

/** What the previous point holds where a new chunk lies. */
export type BaseCell =
  | { readonly kind: 'zeros' }
  /** Exactly one whole chunk of a pack. */
  | { readonly kind: 'chunk'; readonly directory: PackDirectory; readonly chunk: number }
  /** Several extents, or parts of chunks. */
  | { readonly kind: 'mixed' }
  /** Beyond the end of the previous point, or its bytes cannot be read. */
  | { readonly kind: 'none' }

/** A part of the disk as the previous point has it, in bytes of the disk. */
export type BasePart = BaseCell & { readonly offset: number; readonly length: number }

/** The disk as the previous point has it, to compare a full read with. */
export class BaseDisk {
  readonly #extents: ExtentList
  readonly #reader: ChunkReader
  readonly #sizeBytes: number

  constructor(extents: ExtentList, sizeBytes: number, reader: ChunkReader) {
    this.#extents = extents
    this.#sizeBytes = sizeBytes
    this.#reader = reader
  }

  /** Extents that it holds in memory. */
  get extents(): number {
    return this.#extents.length
  }

  /** Loads the directories that {@link cellAt} needs for [start, end), and that are not there yet. */
  async prepare(start: number, end: number, directories: Map<number, PackDirectory>): Promise<void> {
    for (
      let i = this.#extents.indexAt(start);
      i < this.#extents.length && this.#extents.startOf(i) < end;
      i++
    ) {
      const pack = this.#extents.pack[i] ?? ZEROS
      if (pack === ZEROS || directories.has(pack)) continue
      // Of a lost or damaged pack there is none: what it held is stored anew.
      const directory = await this.#reader.catalog.directoryIfWhole(this.#extents.packs.idOf(pack))
      if (directory !== undefined) directories.set(pack, directory)
    }
  }

  /** What lies at [offset, offset + length), by metadata alone. `directories` come from {@link prepare}. */
  cellAt(offset: number, length: number, directories: ReadonlyMap<number, PackDirectory>): BaseCell {
    if (offset + length > this.#sizeBytes) return { kind: 'none' }
    const list = this.#extents
    const i = list.indexAt(offset)
    if (list.startOf(i) > offset) return { kind: 'none' }
    if (list.endOf(i) < offset + length) return { kind: 'mixed' }
    const cell = this.#cellFrom(i, offset, offset + length, length, directories)
    return cell.kind === 'chunk' && cell.length < length ? { kind: 'mixed' } : cell
  }

  /**
   * [start, end), chunk by chunk, by metadata alone; zeros by at most `chunkSize` bytes. `directories` come from {@link prepare}, for as far
   * as parts are taken.
   */
  *partsIn(
    start: number,
    end: number,
    chunkSize: number,
    directories: ReadonlyMap<number, PackDirectory>,
  ): Generator<BasePart, void, undefined> {
    const list = this.#extents
    let i = list.indexAt(start)
    for (let at = start; at < end; ) {
      while (i < list.length && list.endOf(i) <= at) i++
      if (at >= this.#sizeBytes || i === list.length || list.startOf(i) > at) {
        const next = i < list.length && at < this.#sizeBytes ? list.startOf(i) : end
        const length = Math.min(next, end) - at
        yield { kind: 'none', offset: at, length }
        at += length
      } else {
        const extentEnd = Math.min(list.endOf(i), this.#sizeBytes, end)
        const cell = this.#cellFrom(i, at, extentEnd, chunkSize, directories)
        yield { ...cell, offset: at }
        at += cell.length
      }
    }
  }

  /** The cell that begins at `at` within extent `i`, and how far it goes. */
  #cellFrom(
    i: number,
    at: number,
    end: number,
    chunkSize: number,
    directories: ReadonlyMap<number, PackDirectory>,
  ): BaseCell & { readonly length: number } {
    const list = this.#extents
    const pack = list.pack[i] ?? ZEROS
    if (pack === ZEROS) return { kind: 'zeros', length: Math.min(end - at, chunkSize) }
    const directory = directories.get(pack)
    const start =
      directory && plainPosition(directory, list.chunk[i] ?? 0, list.skip[i] ?? 0, list.size[i] ?? 0)
    if (directory === undefined || start === undefined) return { kind: 'none', length: end - at }
    const position = start + at - list.startOf(i)
    const chunk = chunkAt(directory, position)
    const chunkStart = directory.chunkStart[chunk] ?? 0
    const chunkLength = directory.chunkLength[chunk] ?? 0
    const length = Math.min(chunkStart + chunkLength - position, end - at)
    // What is damaged is to be stored again, although it did not change: so that it heals.
    if (this.#reader.catalog.quarantine.isDamaged(directory, chunk)) return { kind: 'none', length }
    if (length === chunkLength) return { kind: 'chunk', directory, chunk, length }
    return { kind: 'mixed', length }
  }

  /** Is chunk `i` of those that were hashed the same as this part of the disk, where it lies? What cannot be read back is not. */
  async isSame(
    part: BasePart,
    { hashes, zeros }: Pick<HashResult, 'hashes' | 'zeros'>,
    i: number,
  ): Promise<boolean> {
    const isZero = isZeroChunk(zeros, i)
    if (part.kind === 'zeros') return isZero
    if (part.kind === 'chunk') return !isZero && isEqualHash(part.directory.hashes, part.chunk, hashes, i)
    if (part.kind === 'none') return false
    const hash = await this.hashOf(part.offset, part.length)
    if (hash === undefined) return false
    return isZero
      ? isEqualHash(hash, 0, sha256(new Uint8Array(part.length)), 0)
      : isEqualHash(hash, 0, hashes, i)
  }

  /** [start, end) in parts that are zeros here too, and that are not. */
  *zerosIn(
    start: number,
    end: number,
  ): Generator<{ readonly offset: number; readonly length: number; readonly same: boolean }> {
    const list = this.#extents
    let at = start
    for (let i = list.indexAt(start); i < list.length && list.startOf(i) < end; i++) {
      if (list.pack[i] !== ZEROS) continue
      const from = Math.max(start, list.startOf(i))
      const to = Math.min(end, list.endOf(i), this.#sizeBytes)
      if (from >= to) continue
      if (at < from) yield { offset: at, length: from - at, same: false }
      yield { offset: from, length: to - from, same: true }
      at = to
    }
    if (at < end) yield { offset: at, length: end - at, same: false }
  }

  /**
   * Where the chunk begins that reaches from within [start, end) beyond it, or `start` if it began before; `end` if there is none, or none
   * that can be read.
   */
  async chunkAcross(start: number, end: number): Promise<number> {
    const list = this.#extents
    const i = list.indexAt(end - 1)
    const pack = list.pack[i] ?? ZEROS
    if (list.startOf(i) >= end || Math.min(list.endOf(i), this.#sizeBytes) <= end || pack === ZEROS)
      return end
    const directory = await this.#reader.catalog.directoryIfWhole(list.packs.idOf(pack))
    const first =
      directory && plainPosition(directory, list.chunk[i] ?? 0, list.skip[i] ?? 0, list.size[i] ?? 0)
    if (directory === undefined || first === undefined) return end
    const position = first + end - list.startOf(i)
    const chunkStart = directory.chunkStart[chunkAt(directory, position)] ?? position
    return Math.max(start, list.startOf(i), end - (position - chunkStart))
  }

  /** SHA-256 of [offset, offset + length), read back from the packs; undefined if it cannot be read. */
  async hashOf(offset: number, length: number): Promise<Uint8Array | undefined> {
    const bytes = new Uint8Array(length)
    const part = this.#extents.slice(offset, offset + length)
    if (part.totalBytes !== length) return undefined
    try {
      const spans: Span[] = []
      for (let i = 0; i < part.length; i++) {
        const pack = part.pack[i] ?? ZEROS
        if (pack === ZEROS) continue
        const directory = await this.#reader.catalog.directory(part.packs.idOf(pack))
        const length = part.size[i] ?? 0
        const position = plainPosition(directory, part.chunk[i] ?? 0, part.skip[i] ?? 0, length)
        if (position === undefined) return undefined
        spans.push({ directory, position, length, target: part.startOf(i) - offset })
      }
      for (const task of planTasks(spans)) {
        const { plain, damaged } = await this.#reader.run(task)
        if (damaged.length > 0) return undefined
        for (const piece of task.pieces)
          copyBytes(bytes, piece.target, plain.subarray(piece.from, piece.from + piece.length))
      }
    } catch (error) {
      if (isEverfoldError(error, 'OBJECT_NOT_FOUND', 'DATA_DAMAGED', 'OBJECT_ARCHIVED')) return undefined
      throw error
    }
    return sha256(bytes)
  }
}
