import { createCipheriv, createHash } from 'node:crypto'

/** Random bytes that a seed repeats: a key stream of AES-128 in counter mode. */
export class SeededBytes {
  readonly #stream: ReturnType<typeof createCipheriv>

  constructor(seed: string) {
    const key = createHash('sha256').update(seed).digest()
    this.#stream = createCipheriv('aes-128-ctr', key.subarray(0, 16), key.subarray(16))
  }

  next(bytes: number): Buffer {
    return this.#stream.update(Buffer.alloc(bytes))
  }

  /** A whole number from 0 to `limit` - 1. */
  below(limit: number): number {
    return Math.floor((this.next(6).readUIntBE(0, 6) / 2 ** 48) * limit)
  }
}
