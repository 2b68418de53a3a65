import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { FastCdc } from './fastcdc.js'

/** The same bytes for the same seed, for ever: the golden values rest on it (mulberry32). */
function randomBytes(length: number, seed: number): Uint8Array {
  let state = seed
  return Uint8Array.from({ length }, () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) & 0xff
  })
}

/** A log of the kind that programs write: a small alphabet, and much that repeats. */
function textBytes(length: number, seed: number): Uint8Array {
  const words = ['error', 'backup', 'of', 'disk', 'the', 'point', 'was', 'stored', 'in', 'seconds', 'machine']
  const random = randomBytes(length, seed)
  let text = ''
  for (let i = 0; text.length < length; i++) {
    const value = random[i] ?? 0
    text += value < 20 ? `${words[value % 11] ?? ''} ${String(i)}\n` : `${words[value % 11] ?? ''} `
  }
  return Buffer.from(text.slice(0, length))
}

function cutWhole(bytes: Uint8Array, chunkSize: number): number[] {
  return [...new FastCdc(chunkSize).cut(bytes, true).lengths]
}

/** Cuts the stream while it arrives in pieces of `pieceLengths`, over and over. */
function cutPiecewise(bytes: Uint8Array, chunkSize: number, pieceLengths: readonly number[]): number[] {
  const cdc = new FastCdc(chunkSize)
  const all: number[] = []
  let start = 0
  let arrived = 0
  for (let i = 0; arrived < bytes.length; i++) {
    arrived = Math.min(bytes.length, arrived + (pieceLengths[i % pieceLengths.length] ?? 1))
    const { lengths, consumed } = cdc.cut(bytes.subarray(start, arrived), arrived === bytes.length)
    expect(consumed).toBe(lengths.reduce((sum, length) => sum + length, 0))
    expect(arrived - start - consumed).toBeLessThan(chunkSize)
    all.push(...lengths)
    start += consumed
  }
  return all
}

/** How many of the chunks of `after` are not those of `before`, counted from the first to the last that differs. */
function changedChunks(before: Uint8Array, after: Uint8Array, chunkSize: number): number {
  const [old, now] = [before, after].map((bytes) => {
    let end = 0
    return cutWhole(bytes, chunkSize).map((length) => {
      end += length
      return createHash('sha256')
        .update(bytes.subarray(end - length, end))
        .digest('hex')
    })
  }) as [string[], string[]]
  const shorter = Math.min(old.length, now.length)
  let same = 0
  while (same < shorter && old[same] === now[same]) same++
  let sameAtEnd = 0
  while (sameAtEnd < shorter - same && old.at(-1 - sameAtEnd) === now.at(-1 - sameAtEnd)) sameAtEnd++
  return now.length - same - sameAtEnd
}

function insertByte(bytes: Uint8Array, position: number, value: number): Uint8Array {
  return Buffer.concat([bytes.subarray(0, position), Uint8Array.of(value), bytes.subarray(position)])
}

const MiB = 1 << 20
const randomMiB = randomBytes(MiB, 1)
const textMiB = textBytes(MiB, 2)
const CHUNK = 16 * 1024
const chunkSizes = Array.from({ length: 11 }, (_, i) => 2 ** (12 + i))

/** Streams with random, textual and constant stretches. */
const stretch = fc.oneof(
  fc
    .record({ source: fc.constantFrom(randomMiB, textMiB), at: fc.nat(MiB - 50_000), length: fc.nat(50_000) })
    .map(({ source, at, length }) => source.subarray(at, at + length)),
  fc
    .record({ value: fc.nat(255), length: fc.nat(50_000) })
    .map(({ value, length }) => new Uint8Array(length).fill(value)),
)
const stream = fc.array(stretch, { maxLength: 5 }).map((stretches) => Buffer.concat(stretches))
const smallChunkSize = fc.constantFrom(4096, 8192, CHUNK)

describe('FastCdc', () => {
  it('cuts chunks within its limits that cover the stream', () => {
    fc.assert(
      fc.property(stream, smallChunkSize, (bytes, chunkSize) => {
        const lengths = cutWhole(bytes, chunkSize)
        expect(lengths.reduce((sum, length) => sum + length, 0)).toBe(bytes.length)
        expect(lengths.every((length) => length > 0 && length <= chunkSize)).toBe(true)
        expect(lengths.slice(0, -1).every((length) => length >= chunkSize / 16)).toBe(true)
      }),
    )
  })

  it('cuts a stream in the same places however it arrives', () => {
    const pieces = fc.array(
      fc.oneof(fc.integer({ min: 100, max: 3000 }), fc.integer({ min: 1, max: 40_000 })),
      { minLength: 1, maxLength: 10 },
    )
    fc.assert(
      fc.property(stream, smallChunkSize, pieces, (bytes, chunkSize, pieceLengths) => {
        expect(cutPiecewise(bytes, chunkSize, pieceLengths)).toEqual(cutWhole(bytes, chunkSize))
      }),
    )
  })

  it('cuts a stream in the same places when it arrives byte by byte', () => {
    const bytes = randomMiB.subarray(0, 20_000)
    expect(cutPiecewise(bytes, 4096, [1])).toEqual(cutWhole(bytes, 4096))
  })

  it('leaves an undecided tail to the next call, and nothing at the end', () => {
    const cdc = new FastCdc(4096)
    const zeros = new Uint8Array(10_000)
    expect(cdc.cut(zeros, false)).toEqual({ lengths: Uint32Array.of(4096, 4096), consumed: 8192 })
    expect(cdc.cut(zeros, true)).toEqual({ lengths: Uint32Array.of(4096, 4096, 1808), consumed: 10_000 })
    expect(cdc.cut(zeros.subarray(0, 10), false)).toEqual({ lengths: new Uint32Array(0), consumed: 0 })
    expect(cdc.cut(new Uint8Array(0), true)).toEqual({ lengths: new Uint32Array(0), consumed: 0 })
  })

  it.each(chunkSizes)('cuts zeros, and ones, into chunks of the largest length (%i)', (chunkSize) => {
    for (const value of [0, 0xff]) {
      const lengths = cutWhole(new Uint8Array(chunkSize * 2 + 1).fill(value), chunkSize)
      expect(lengths).toEqual([chunkSize, chunkSize, 1])
    }
  })

  it('gives chunks of about the normal length on random data', () => {
    for (const chunkSize of [4096, CHUNK]) {
      const mean = MiB / cutWhole(randomMiB, chunkSize).length
      expect(mean / (chunkSize / 4)).toBeGreaterThan(1)
      expect(mean / (chunkSize / 4)).toBeLessThan(1.25)
    }
  })

  it.each<[string, Uint8Array]>([
    ['random data', randomMiB],
    ['text', textMiB],
  ])('changes only the chunks around a byte that is inserted in %s', (_, bytes) => {
    fc.assert(
      fc.property(fc.nat(MiB), fc.nat(255), (position, value) => {
        // The boundaries meet again by chance, soon: of some 230 chunks, few change, and never as many as 30.
        expect(changedChunks(bytes, insertByte(bytes, position, value), CHUNK)).toBeLessThan(30)
      }),
      { numRuns: 50 },
    )
    const near = [100, 1000, 3000, 10_000].map((at) => changedChunks(bytes, insertByte(bytes, at, 7), CHUNK))
    expect(near.reduce((sum, count) => sum + count, 0)).toBeLessThan(4 * 4)
  })

  it('refuses what is no chunk size', () => {
    expect(() => new FastCdc(5000)).toThrow(expect.objectContaining({ code: 'ARGUMENT_INVALID' }))
  })
})

// The values were computed by a second program, written from the paper's pseudo-code in another language.
describe('FastCdc’s boundaries, which may never change', () => {
  const digest = (lengths: readonly number[]): string =>
    createHash('sha256').update(lengths.join(' ')).digest('hex').slice(0, 16)

  it('are those of random data', () => {
    expect(digest([...randomMiB])).toBe('ede408e8c6b6e800')
    expect(cutWhole(randomMiB, 65536)).toEqual([
      22220, 20989, 5096, 28380, 9670, 44371, 16971, 20041, 18591, 5273, 6124, 17401, 18878, 19277, 18813,
      8804, 16832, 16613, 20662, 17845, 27440, 17396, 22376, 12078, 19987, 19199, 5933, 20598, 22860, 12414,
      16771, 18146, 28497, 23467, 18451, 5200, 16805, 4511, 17242, 20757, 19966, 18537, 24259, 23639, 18762,
      23143, 21768, 19692, 16586, 21027, 18393, 22212, 28277, 18136, 19178, 20767, 10171, 1084,
    ])
    expect(digest(cutWhole(randomMiB, 4096))).toBe('99a8cd41d764afa3')
  })

  it('are those of text', () => {
    expect(digest([...textMiB])).toBe('74403a4115f0acff')
    expect(cutWhole(textMiB, 65536)).toEqual([
      13162, 18084, 26503, 22429, 15517, 16751, 12701, 16668, 16766, 18652, 7762, 20832, 17549, 6008, 22202,
      25009, 15404, 20468, 19400, 4961, 14431, 13839, 16668, 20966, 23029, 21138, 14393, 12648, 19272, 23768,
      18320, 17573, 18071, 20593, 32528, 21696, 9252, 24150, 14991, 17156, 18641, 18041, 12469, 16562, 15700,
      7361, 7442, 18462, 20725, 10067, 26653, 21708, 8988, 17880, 13853, 24962, 8800, 14694, 4844, 12365,
      9115, 17944, 9990,
    ])
    expect(digest(cutWhole(textMiB, 4096))).toBe('19f7f1d526dbe27b')
  })

  it('are those of every chunk size', () => {
    const bytes = randomBytes(16 * MiB, 3)
    expect(chunkSizes.map((chunkSize) => digest(cutWhole(bytes, chunkSize)))).toEqual([
      'cbc287e7bfdc26fd',
      'c7b42a6082a0d5cf',
      'b2e7e5354b58c958',
      '653a5ee3e4172d6c',
      '71bc920facc9bd3a',
      'ae9a95b44ca454c2',
      'c4c51ca1a0461b36',
      'c577403d291ea019',
      '1457b66904ee834a',
      '482b80c1b6d824fe',
      '478e484588bfa26b',
    ])
  })
})
