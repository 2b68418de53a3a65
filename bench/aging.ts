import type { FileHandle } from 'node:fs/promises'
import type { ByteExtent } from '../src/feed/byte-extents.js'
import { KiB } from './image.js'
import type { SeededBytes } from './seeded-bytes.js'

/** The grid in which hypervisors record changes. */
const blockBytes = 64 * KiB
const pageBytes = 4 * KiB
/** Shares of the blocks that hold data: where most writes go to, and where a log goes round in circles. */
const hotShare = 0.1
const logShare = 0.05
/** Blocks of one file that is moved or copied. */
const movedBlocksMax = 8

const zeros = Buffer.alloc(blockBytes)

/**
 * Ages a disk as work does. Of the blocks written each time about 40 % are scattered over a hot tenth, 20 % over all of the disk, 20 % go
 * on with a log, and 20 % are file data moved from elsewhere, off the grid that it had. New data is the disk's own,
 * so that it compresses as that does, with a stamp in each page, so that it is new.
 */
export class AgingDisk {
  readonly #image: FileHandle
  readonly #random: SeededBytes
  /** Offsets of blocks that hold data, in order. Others are never written: the disk holds as much data as before. */
  readonly #blocks: readonly number[]
  readonly #hotFrom: number
  readonly #logFrom: number
  #logAt = 0

  private constructor(image: FileHandle, blocks: readonly number[], random: SeededBytes) {
    this.#image = image
    this.#blocks = blocks
    this.#random = random
    this.#hotFrom = random.below(Math.floor(blocks.length * (1 - hotShare)))
    this.#logFrom = random.below(Math.floor(blocks.length * (1 - logShare)))
  }

  static async open(image: FileHandle, random: SeededBytes): Promise<AgingDisk> {
    const blocks: number[] = []
    const block = Buffer.alloc(blockBytes)
    const { size } = await image.stat()
    for (let offset = 0; offset + blockBytes <= size; offset += blockBytes) {
      await image.read(block, 0, blockBytes, offset)
      if (!block.equals(zeros)) blocks.push(offset)
    }
    return new AgingDisk(image, blocks, random)
  }

  /** Bytes of blocks that hold data. */
  get dataBytes(): number {
    return this.#blocks.length * blockBytes
  }

  /** Writes about `count` blocks. @returns where, sorted and apart */
  async age(count: number): Promise<ByteExtent[]> {
    const written = new Set<number>()
    const write = async (block: number, data: Buffer): Promise<void> => {
      const offset = this.#blocks[block % this.#blocks.length] ?? 0
      await this.#image.write(data, 0, blockBytes, offset)
      written.add(offset)
    }
    const all = this.#blocks.length
    while (written.size < count) {
      const dice = this.#random.below(10)
      if (dice < 4)
        await write(this.#hotFrom + this.#random.below(Math.ceil(all * hotShare)), await this.#newData())
      else if (dice < 6) await write(this.#random.below(all), await this.#newData())
      else if (dice < 8) {
        const length = Math.max(1, Math.floor(all * logShare))
        await write(this.#logFrom + (this.#logAt++ % length), await this.#newData())
      } else {
        const length = 1 + this.#random.below(Math.min(movedBlocksMax, count - written.size))
        const from = this.#random.below(all - length)
        const to = this.#random.below(all - length)
        for (let i = 0; i < length; i += 1) await write(to + i, await this.#oldData(from + i, 5 * pageBytes))
      }
    }
    return [...written].sort((a, b) => a - b).map((offset) => ({ offset, length: blockBytes }))
  }

  async #oldData(block: number, shift: number): Promise<Buffer> {
    const data = Buffer.alloc(blockBytes)
    await this.#image.read(data, 0, blockBytes, (this.#blocks[block] ?? 0) + shift)
    return data
  }

  async #newData(): Promise<Buffer> {
    const data = await this.#oldData(this.#random.below(this.#blocks.length), 0)
    for (let at = 0; at < blockBytes; at += pageBytes) this.#random.next(16).copy(data, at)
    return data
  }
}
