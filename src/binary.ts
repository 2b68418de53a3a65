/** Little-endian binary encoding for Everfold's objects: a growing writer and a checking reader. */

/** Thrown by {@link BinaryReader} when bytes are not what a writer of ours could have made. */
export class MalformedError extends Error {
  override readonly name = 'MalformedError'
}

/** A number of up to 53 bits has eight groups of seven. */
const VARINT_BYTES_MAX = 8

export class BinaryWriter {
  #bytes: Uint8Array<ArrayBuffer>
  #view: DataView
  #length = 0

  constructor(expectedBytes = 1024) {
    this.#bytes = new Uint8Array(expectedBytes)
    this.#view = new DataView(this.#bytes.buffer)
  }

  get length(): number {
    return this.#length
  }

  u8(value: number): void {
    const at = this.#grow(1)
    this.#bytes[at] = value
  }

  u16(value: number): void {
    const at = this.#grow(2)
    this.#view.setUint16(at, value, true)
  }

  u32(value: number): void {
    const at = this.#grow(4)
    this.#view.setUint32(at, value, true)
  }

  /** An unsigned integer up to 2^53 - 1, in eight bytes. */
  u64(value: number): void {
    const at = this.#grow(8)
    this.#view.setUint32(at, value % 0x1_0000_0000, true)
    this.#view.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true)
  }

  /** LEB128: seven bits a byte, least significant first; up to 2^53 - 1. */
  varint(value: number): void {
    // Most are short. What is this small, V8 compiles into the loop that calls it.
    if (value >= 0x80) this.#longVarint(value)
    else this.u8(value)
  }

  #longVarint(value: number): void {
    let at = this.#grow(VARINT_BYTES_MAX)
    let rest = value
    // Bit operations take 31 bits, and are several times as fast.
    while (rest > 0x7fff_ffff) {
      this.#bytes[at++] = (rest % 0x80) | 0x80
      rest = Math.floor(rest / 0x80)
    }
    for (; rest >= 0x80; rest >>= 7) this.#bytes[at++] = (rest & 0x7f) | 0x80
    this.#bytes[at++] = rest
    this.#length = at
  }

  /** A signed integer, zigzag-coded so that small magnitudes stay short. */
  signedVarint(value: number): void {
    this.varint(value < 0 ? -2 * value - 1 : 2 * value)
  }

  bytes(source: Uint8Array): void {
    const at = this.#grow(source.length)
    this.#bytes.set(source, at)
  }

  /** What was written, as a view that later writes may invalidate. */
  view(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length)
  }

  #grow(count: number): number {
    const at = this.#length
    this.#length += count
    if (this.#length > this.#bytes.length) this.#enlarge()
    return at
  }

  #enlarge(): void {
    const larger = new Uint8Array(Math.max(this.#length, this.#bytes.length * 2))
    larger.set(this.#bytes)
    this.#bytes = larger
    this.#view = new DataView(larger.buffer)
  }
}

export class BinaryReader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get position(): number {
    return this.#at
  }

  get remaining(): number {
    return this.#bytes.length - this.#at
  }

  u8(): number {
    const byte = this.#bytes[this.#at]
    if (byte === undefined) throw endsEarly()
    this.#at++
    return byte
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2), true)
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true)
  }

  u64(): number {
    const at = this.#take(8)
    const value = this.#view.getUint32(at, true) + this.#view.getUint32(at + 4, true) * 0x1_0000_0000
    if (!Number.isSafeInteger(value)) throw new MalformedError('a number is over 2^53')
    return value
  }

  varint(): number {
    const first = this.u8()
    return first < 0x80 ? first : this.#longVarint(first & 0x7f)
  }

  #longVarint(first: number): number {
    let value = first
    let scale = 0x80
    for (let length = 2; length <= VARINT_BYTES_MAX; length++) {
      const byte = this.u8()
      value += (byte & 0x7f) * scale
      if (byte < 0x80) {
        if (byte === 0) throw new MalformedError('a number is not in its shortest form')
        if (!Number.isSafeInteger(value)) throw new MalformedError('a number is over 2^53')
        return value
      }
      scale *= 0x80
    }
    throw new MalformedError('a number is too long')
  }

  signedVarint(): number {
    const coded = this.varint()
    if (coded <= 0x7fff_ffff) return (coded >>> 1) ^ -(coded & 1)
    return coded % 2 === 0 ? coded / 2 : -(coded + 1) / 2
  }

  /** A view of the next `length` bytes. */
  bytes(length: number): Uint8Array {
    const at = this.#take(length)
    return this.#bytes.subarray(at, at + length)
  }

  /** @throws MalformedError unless every byte was read. */
  end(): void {
    if (this.remaining !== 0) throw new MalformedError(`${this.remaining} bytes are left over`)
  }

  #take(length: number): number {
    const at = this.#at
    if (length < 0 || at + length > this.#bytes.length) throw endsEarly()
    this.#at = at + length
    return at
  }
}

/**
 * Fills `into` with 32-bit numbers that are written one after the other. Many at once are copied in a fraction of the time that it takes
 * to read each, where code has not been running for long above all.
 * @param bytes  as many as fill it
 */
export function copyNumbers(into: Uint32Array, bytes: Uint8Array): void {
  const copy = new Uint8Array(into.buffer, into.byteOffset, into.byteLength)
  copy.set(bytes)
  if (!isLittleEndian) Buffer.from(into.buffer, into.byteOffset, into.byteLength).swap32()
}

/** Is this processor? Typed arrays are as it is. */
const isLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1

function endsEarly(): MalformedError {
  return new MalformedError('the bytes end too early')
}
