import { writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { systemErrorCode } from '../errors.js'

/** Bytes of lines that wait until whoever reads them goes on. */
const WAITING_BYTES_MAX = 1024 * 1024
const AGAIN_MS = 100
const END_AGAIN_MS = 10
const END_MS = 1000
const NEWLINE = 0x0a

/** Writes some of the bytes at once, as fs.writeSync. */
export type WriteSome = (bytes: Uint8Array) => number

/**
 * Lines to a descriptor: at once, where it takes them. Where it does not, because nobody reads or the disk is full, the work that they tell of goes
 * on: so many wait, and what is more is lost, which is said once it takes lines again.
 */
export class PatientLines {
  readonly #write: WriteSome
  readonly #waitingMax: number
  readonly #complaint: (lost: number) => string
  #waiting: Uint8Array[] = []
  #waitingBytes = 0
  #lost = 0
  #again: NodeJS.Timeout | undefined

  /** @param complaint  a line that says how many were lost */
  constructor(
    complaint: (lost: number) => string,
    write: WriteSome = (bytes) => writeSync(2, bytes),
    waitingMax = WAITING_BYTES_MAX,
  ) {
    this.#complaint = complaint
    this.#write = write
    this.#waitingMax = waitingMax
  }

  /** Takes one or more lines, each with its end. Never throws. */
  write(lines: string): void {
    const bytes = Buffer.from(lines)
    this.flush()
    const isRoom = this.#waitingBytes === 0 || this.#waitingBytes + bytes.length <= this.#waitingMax
    if (!isRoom) {
      this.#lost += linesIn(bytes)
      return
    }
    this.#push(bytes)
    if (this.#waiting.length === 1) this.flush()
  }

  /** Writes what waits, as far as it is taken. Never throws. */
  flush(): void {
    clearTimeout(this.#again)
    while (this.#waitingBytes > 0 && this.#writeFirst());
    if (this.#waitingBytes > 0) this.#again = setTimeout(() => this.flush(), AGAIN_MS).unref()
  }

  /** Waits a moment for whoever reads: nothing is written later. */
  async end(): Promise<void> {
    for (let waitedMs = 0; waitedMs < END_MS && this.#waitingBytes > 0; waitedMs += END_AGAIN_MS) {
      await sleep(END_AGAIN_MS)
      this.flush()
    }
  }

  #push(bytes: Uint8Array): void {
    this.#waiting.push(bytes)
    this.#waitingBytes += bytes.length
  }

  /** @returns whether some of it was taken */
  #writeFirst(): boolean {
    const [first] = this.#waiting
    if (first === undefined) return false
    let taken: number
    try {
      taken = this.#write(first)
    } catch (error) {
      // It has taken nothing, and may take it later. Else it never will, as where a disk is full: what comes later is tried anew.
      if (systemErrorCode(error) !== 'EAGAIN') this.#loseAll()
      return false
    }
    this.#waitingBytes -= taken
    if (taken < first.length) this.#waiting[0] = first.subarray(taken)
    else this.#waiting.shift()
    if (this.#waiting.length === 0 && this.#lost > 0) {
      this.#push(Buffer.from(this.#complaint(this.#lost)))
      this.#lost = 0
    }
    return taken > 0
  }

  #loseAll(): void {
    for (const bytes of this.#waiting) this.#lost += linesIn(bytes)
    this.#waiting = []
    this.#waitingBytes = 0
  }
}

function linesIn(bytes: Uint8Array): number {
  return bytes.reduce((count, byte) => count + (byte === NEWLINE ? 1 : 0), 0)
}
