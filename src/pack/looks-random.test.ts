import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { looksRandom } from './looks-random.js'

const PROGRAM = readFileSync(process.execPath).subarray(0, 16 * 1024 * 1024)
const FRAME_BYTES = 256 * 1024

function framesOf(bytes: Uint8Array): Uint8Array[] {
  const frames: Uint8Array[] = []
  for (let at = 0; at + FRAME_BYTES <= bytes.length; at += FRAME_BYTES)
    frames.push(bytes.subarray(at, at + FRAME_BYTES))
  return frames
}

function share(bytes: Uint8Array): number {
  const frames = framesOf(bytes)
  return frames.filter(looksRandom).length / frames.length
}

describe('a guess whether bytes are compressed already', () => {
  it('takes random bytes and compressed ones for what they are', () => {
    expect(share(randomBytes(8 * 1024 * 1024))).toBe(1)
    expect(share(gzipSync(PROGRAM))).toBeGreaterThan(0.9)
  })

  it.each([
    ['zeros', new Uint8Array(FRAME_BYTES)],
    ['text', Buffer.from('Everfold keeps one full, then incrementals for ever. '.repeat(20_000))],
    ['base64', Buffer.from(randomBytes(FRAME_BYTES).toString('base64'))],
    ['hexadecimal', Buffer.from(randomBytes(FRAME_BYTES).toString('hex'))],
    [
      'numbers that grow',
      new Uint8Array(Float64Array.from({ length: FRAME_BYTES / 8 }, (_, i) => i * 3).buffer),
    ],
    ['wide characters', Buffer.from('Ein Satz, der sich wiederholt. '.repeat(20_000), 'utf16le')],
  ])('does not take %s for it', (_name, bytes) => {
    expect(share(bytes)).toBe(0)
  })

  it('hardly ever takes a program for it', () => {
    expect(share(PROGRAM)).toBeLessThan(0.05)
  })

  it('does not guess about a few bytes', () => {
    expect(looksRandom(randomBytes(1023))).toBe(false)
    expect(looksRandom(new Uint8Array(0))).toBe(false)
  })
})
