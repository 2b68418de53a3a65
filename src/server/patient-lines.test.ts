import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { PatientLines } from './patient-lines.js'

/** A reader that takes so many bytes, and then says `code`. */
class Reader {
  #bytes = Buffer.alloc(0)
  room = Infinity
  code = 'EAGAIN'

  get text(): string {
    return this.#bytes.toString()
  }

  readonly write = (bytes: Uint8Array): number => {
    if (this.room === 0) throw Object.assign(new Error(this.code), { code: this.code })
    const taken = bytes.subarray(0, this.room)
    this.room -= taken.length
    this.#bytes = Buffer.concat([this.#bytes, taken])
    return taken.length
  }
}

let reader: Reader
let lines: PatientLines

beforeEach(() => {
  vi.useFakeTimers()
  reader = new Reader()
  lines = new PatientLines((lost) => `${lost} lost\n`, reader.write, 100)
})
afterEach(() => {
  vi.useRealTimers()
})

describe('lines', () => {
  it('are written at once', () => {
    lines.write('a\n')
    lines.write('ä\nb\n')
    expect(reader.text).toBe('a\nä\nb\n')
  })

  it('wait while nobody reads, and come in order, wherever they were cut', () => {
    for (let room = 0; room < 12; room++) {
      const { text } = reader
      reader.room = room
      for (const line of ['one\n', 'two ä\n', 'three\n']) lines.write(line)
      reader.room = 3
      vi.advanceTimersByTime(100)
      reader.room = Infinity
      vi.advanceTimersByTime(100)
      expect(reader.text).toBe(`${text}one\ntwo ä\nthree\n`)
    }
  })

  it('are lost and counted beyond what may wait', () => {
    reader.room = 10
    for (let i = 0; i < 100; i++) lines.write(`line ${i % 10}\n`)
    reader.room = Infinity
    vi.advanceTimersByTime(100)
    const told = reader.text.split('\n')
    expect(told.slice(0, 3)).toEqual(['line 0', 'line 1', 'line 2'])
    expect(told.at(-2)).toBe(`${100 - (told.length - 2)} lost`)
    lines.write('next\n')
    expect(reader.text.endsWith(' lost\nnext\n')).toBe(true)
  })

  it('are lost and counted where they cannot be written, as on a full disk', () => {
    reader.room = 0
    reader.code = 'ENOSPC'
    for (const line of ['a\n', 'b\nc\n']) lines.write(line)
    reader.room = Infinity
    lines.write('d\n')
    expect(reader.text).toBe('d\n3 lost\n')
  })

  it('longer than what may wait are written all the same', () => {
    const long = `${'long '.repeat(100)}\n`
    reader.room = 7
    lines.write(long)
    reader.room = Infinity
    vi.advanceTimersByTime(100)
    expect(reader.text).toBe(long)
  })
})
