import type { ReadWhole } from '../pack/read-whole.js'
import type { Random } from './random.js'

interface OpenDisk {
  readonly bytes: Buffer
  /** Nothing beyond it can be read. */
  readonly endsAt: number
  readonly random: Random
}

/** Of a hundred reads so many fail, as of a file system that is slow to answer: whoever asked reads it in another way. */
const FAILING_SHARE = 0.03

/** Disks that threads read by their descriptors, as they do with files. */
export class OpenDisks {
  readonly #open = new Map<number, OpenDisk>()
  #descriptors = 0
  readonly #misused: (what: string) => void

  /** @param misused  told of what must not be done */
  constructor(misused: (what: string) => void) {
    this.#misused = misused
  }

  /** @param endsAt  where it ends by now, if it shrank */
  open(bytes: Buffer, endsAt: number, random: Random): number {
    this.#open.set(++this.#descriptors, { bytes, endsAt, random })
    return this.#descriptors
  }

  close(descriptor: number): void {
    this.#open.delete(descriptor)
  }

  readonly read: ReadWhole = (descriptor, into, offset) => {
    const disk = this.#open.get(descriptor)
    if (disk === undefined) {
      // By then its descriptor may be that of another file.
      this.#misused('a disk was read after its backup had ended')
      return false
    }
    const isWhole = offset + into.length <= disk.endsAt && !disk.random.chance(FAILING_SHARE)
    const length = isWhole ? into.length : disk.random.below(into.length)
    into.set(disk.bytes.subarray(offset, offset + length))
    return isWhole
  }
}
