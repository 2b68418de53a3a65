/** A table or manifest of LevelDB is not what LevelDB wrote. Becomes IndexUnusable. */
export class CorruptTable extends Error {}

/**
 * Sequence numbers have 56 bits at most, offsets fewer; a double is exact up to 53, and nothing here uses
 * more.
 */
const VARINT_BYTES_MAX = 8

/** Reads LevelDB's variable-length numbers from a range of bytes. Throws CorruptTable at the end of the range. */
export class VarintReader {
  position: number
  readonly #bytes: Buffer
  readonly #end: number

  constructor(bytes: Buffer, start: number, end: number) {
    this.#bytes = bytes
    this.position = start
    this.#end = Math.min(end, bytes.length)
  }

  get atEnd(): boolean {
    return this.position >= this.#end
  }

  /** Seven bits a byte, lowest first; the top bit says that more follow. */
  varint(): number {
    let value = 0
    for (let i = 0; i < VARINT_BYTES_MAX && !this.atEnd; i++) {
      const byte = this.#bytes[this.position++] ?? 0
      value += (byte & 0x7f) * 2 ** (7 * i)
      if (byte < 0x80) return value
    }
    throw new CorruptTable('a number that does not end')
  }

  /** Passes over a length and as many bytes. */
  skipBytes(): void {
    const bytes = this.varint()
    if (bytes > this.#end - this.position) throw new CorruptTable('bytes beyond the end')
    this.position += bytes
  }
}
