import { EverfoldError } from '../errors.js'

/**
 * Reads JSON (RFC 8259) from bytes, one value at a time, into whatever the caller keeps.
 *
 * `JSON.parse` would do, but a feed of millions of extents then becomes millions of objects, and a hostile one
 * of the same size (`[[],[],…`, or `[[[[…`) takes the whole process down with it. Here nothing is kept but what the
 * caller asks for, so a feed costs no memory but its own bytes and the extents in it.
 *
 * Every error is an `EverfoldError` FEED_INVALID.
 */
export class JsonCursor {
  readonly #bytes: Uint8Array
  readonly #where: string
  #at = 0
  #valueStart = 0

  /** @param where  Names the input in messages. A UTF-8 byte order mark is skipped. */
  constructor(bytes: Uint8Array, where: string) {
    this.#bytes = bytes
    this.#where = where
    if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) this.#at = 3
  }

  /** The next byte that is no white space, not consumed; -1 at the end. */
  peek(): number {
    for (;;) {
      const byte = this.#bytes[this.#at] ?? -1
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return byte
      this.#at++
    }
  }

  /** Consumes an array; `readItem` must consume each item. */
  array(readItem: (index: number) => void): void {
    this.#take(OPEN_BRACKET)
    if (this.#accept(CLOSE_BRACKET)) return
    for (let index = 0; ; index++) {
      readItem(index)
      if (this.#accept(CLOSE_BRACKET)) return
      this.#take(COMMA)
    }
  }

  /**
   * Consumes an object; `readValue` must consume each member's value.
   *
   * @param keys  The keys that matter: `readValue` gets the position of a member's key here, or -1 for any other.
   */
  object(keys: readonly string[], readValue: (key: number) => void): void {
    this.#take(OPEN_BRACE)
    if (this.#accept(CLOSE_BRACE)) return
    do {
      if (this.peek() !== QUOTE) this.#failHere()
      const key = this.#key(keys)
      this.#take(COLON)
      readValue(key)
    } while (this.#accept(COMMA))
    this.#take(CLOSE_BRACE)
  }

  /** Consumes a value of any kind. Returns it if it is a whole number from 0 to 2^53 - 1, else -1 (see `excerpt`). */
  wholeNumber(): number {
    const first = this.peek()
    this.#valueStart = this.#at
    if (first >= ONE && first <= NINE) {
      let value = 0
      let at = this.#at
      let byte = first
      do {
        value = value * 10 + byte - ZERO
        byte = this.#bytes[++at] ?? -1
      } while (byte >= ZERO && byte <= NINE)
      // Up to 15 digits are exact; anything else goes the long way.
      if (at - this.#at <= 15 && byte !== DOT && (byte | 0x20) !== LOWER_E) {
        this.#at = at
        return value
      }
    }
    this.skip()
    const isNumber = first === MINUS || (first >= ZERO && first <= NINE)
    if (!isNumber || this.#at - this.#valueStart > NUMBER_LENGTH_MAX) return -1
    const value = Number(text(this.#bytes, this.#valueStart, this.#at))
    return Number.isSafeInteger(value) && value >= 0 ? value + 0 : -1 // + 0 makes 0 of -0
  }

  /** Consumes a value of any kind. */
  skip(depth = 0): void {
    const first = this.peek()
    if (depth === 0) this.#valueStart = this.#at
    if (depth > DEPTH_MAX) this.fail(`is nested more than ${DEPTH_MAX} deep`)
    if (first === QUOTE) this.#string()
    else if (first === OPEN_BRACKET)
      this.array(() => {
        this.skip(depth + 1)
      })
    else if (first === OPEN_BRACE)
      this.object([], () => {
        this.skip(depth + 1)
      })
    else if (first === MINUS || (first >= ZERO && first <= NINE)) this.#number()
    else if (!LITERALS.some((literal) => this.#literal(literal))) this.#failHere()
  }

  /** The beginning of the value that `wholeNumber` or `skip` consumed last, as it is written, for messages. */
  excerpt(): string {
    const end = Math.min(this.#at, this.#valueStart + EXCERPT_LENGTH_MAX)
    return text(this.#bytes, this.#valueStart, end) + (end < this.#at ? '…' : '')
  }

  /** Requires that nothing but white space is left. */
  end(): void {
    if (this.peek() !== -1) this.#failHere()
  }

  /** @throws EverfoldError FEED_INVALID: `<where> <problem>`. */
  fail(problem: string, details: Readonly<Record<string, unknown>> = {}): never {
    throw new EverfoldError('FEED_INVALID', `${this.#where} ${problem}`, {
      details: { feed: this.#where, ...details },
    })
  }

  #key(keys: readonly string[]): number {
    const start = this.#at + 1
    const escaped = this.#string()
    const length = this.#at - 1 - start
    if (escaped && length <= KEY_LENGTH_MAX) {
      return keys.indexOf(String(JSON.parse(text(this.#bytes, start - 1, this.#at))))
    }
    return keys.findIndex((key) => key.length === length && this.#isAt(key, start))
  }

  /** Consumes a string; tells whether it has escapes. */
  #string(): boolean {
    let escaped = false
    for (this.#at++; ; this.#at++) {
      const byte = this.#bytes[this.#at] ?? -1
      if (byte < 0x20) this.#failHere()
      if (byte === QUOTE) break
      if (byte !== BACKSLASH) continue
      escaped = true
      this.#escape()
    }
    this.#at++
    return escaped
  }

  /** From a backslash to the last byte of its escape. */
  #escape(): void {
    const kind = this.#bytes[++this.#at] ?? -1
    if (ESCAPES.includes(kind)) return
    if (kind !== LOWER_U) this.#failHere()
    for (let digits = 0; digits < 4; digits++) {
      const byte = this.#bytes[++this.#at] ?? -1
      const isHex = (byte >= ZERO && byte <= NINE) || ((byte | 0x20) >= LOWER_A && (byte | 0x20) <= LOWER_F)
      if (!isHex) this.#failHere()
    }
  }

  #number(): void {
    if (this.#bytes[this.#at] === MINUS) this.#at++
    if (this.#bytes[this.#at] === ZERO) this.#at++
    else this.#digits()
    if (this.#bytes[this.#at] === DOT) {
      this.#at++
      this.#digits()
    }
    if (((this.#bytes[this.#at] ?? 0) | 0x20) !== LOWER_E) return
    this.#at++
    const sign = this.#bytes[this.#at]
    if (sign === PLUS || sign === MINUS) this.#at++
    this.#digits()
  }

  /** At least one digit. */
  #digits(): void {
    const start = this.#at
    for (;;) {
      const byte = this.#bytes[this.#at] ?? -1
      if (byte < ZERO || byte > NINE) break
      this.#at++
    }
    if (this.#at === start) this.#failHere()
  }

  #literal(literal: string): boolean {
    if (!this.#isAt(literal, this.#at)) return false
    this.#at += literal.length
    return true
  }

  #isAt(ascii: string, at: number): boolean {
    for (let i = 0; i < ascii.length; i++) if (this.#bytes[at + i] !== ascii.charCodeAt(i)) return false
    return true
  }

  #accept(byte: number): boolean {
    if (this.peek() !== byte) return false
    this.#at++
    return true
  }

  #take(byte: number): void {
    if (!this.#accept(byte)) this.#failHere()
  }

  #failHere(): never {
    const what = this.#at >= this.#bytes.length ? 'ends too early' : 'goes wrong'
    this.fail(`is not valid JSON: it ${what} at byte ${this.#at}`, { byte: this.#at })
  }
}

/** Deeper than any real feed, and far from the end of the stack. */
const DEPTH_MAX = 64
/** Longer than any key that is asked for, even if every character of it is written as an escape. */
const KEY_LENGTH_MAX = 128
/** Longer than any way of writing a whole number that a program would choose. */
const NUMBER_LENGTH_MAX = 64
const EXCERPT_LENGTH_MAX = 40

const LITERALS = ['true', 'false', 'null']
const ESCAPES: readonly number[] = Array.from('"\\/bfnrt', (character) => character.charCodeAt(0))
const QUOTE = 0x22
const PLUS = 0x2b
const COMMA = 0x2c
const MINUS = 0x2d
const DOT = 0x2e
const ZERO = 0x30
const ONE = 0x31
const NINE = 0x39
const COLON = 0x3a
const OPEN_BRACKET = 0x5b
const BACKSLASH = 0x5c
const CLOSE_BRACKET = 0x5d
const LOWER_A = 0x61
const LOWER_E = 0x65
const LOWER_F = 0x66
const LOWER_U = 0x75
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d

function text(bytes: Uint8Array, start: number, end: number): string {
  return new TextDecoder().decode(bytes.subarray(start, end))
}
