import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { FastCdc } from './fastcdc.js'
import { GEAR } from './gear.js'

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

function cutWhole(bytes: Uint8Array, chunkSize: number, offset = 0): number[] {
  return [...new FastCdc(chunkSize).cut(bytes, offset, true).lengths]
}

/** Cuts the stream while it arrives in pieces of `pieceLengths`, over and over. */
function cutPiecewise(
  bytes: Uint8Array,
  chunkSize: number,
  pieceLengths: readonly number[],
  offset = 0,
): number[] {
  const cdc = new FastCdc(chunkSize)
  const all: number[] = []
  let start = 0
  let arrived = 0
  for (let i = 0; arrived < bytes.length; i++) {
    arrived = Math.min(bytes.length, arrived + (pieceLengths[i % pieceLengths.length] ?? 1))
    const { lengths, consumed } = cdc.cut(
      bytes.subarray(start, arrived),
      offset + start,
      arrived === bytes.length,
    )
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

/** Bytes that end with a block, and zeros before it, as files do if the stream begins on one. */
const file = fc
  .record({ at: fc.nat(MiB - 50_000), blocks: fc.integer({ min: 1, max: 9 }), padding: fc.nat(4000) })
  .map(({ at, blocks, padding }) => {
    const bytes = randomMiB.slice(at, at + blocks * 4096)
    return bytes.fill(0, bytes.length - padding)
  })

/** Streams with files, and random, textual and constant stretches. */
const stretch = fc.oneof(
  file,
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
      fc.property(stream, smallChunkSize, pieces, fc.nat(9000), (bytes, chunkSize, pieceLengths, offset) => {
        expect(cutPiecewise(bytes, chunkSize, pieceLengths, offset)).toEqual(
          cutWhole(bytes, chunkSize, offset),
        )
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
    expect(cdc.cut(zeros, 0, false)).toEqual({ lengths: Uint32Array.of(4096, 4096), consumed: 8192 })
    expect(cdc.cut(zeros, 0, true)).toEqual({ lengths: Uint32Array.of(4096, 4096, 1808), consumed: 10_000 })
    expect(cdc.cut(zeros.subarray(0, 10), 0, false)).toEqual({ lengths: new Uint32Array(0), consumed: 0 })
    expect(cdc.cut(new Uint8Array(0), 0, true)).toEqual({ lengths: new Uint32Array(0), consumed: 0 })
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
      expect(mean / (chunkSize / 2)).toBeGreaterThan(1)
      expect(mean / (chunkSize / 2)).toBeLessThan(1.25)
    }
  })

  it.each<[string, Uint8Array]>([
    ['random data', randomMiB],
    ['text', textMiB],
  ])('changes only the chunks around a byte that is inserted in %s', (_, bytes) => {
    fc.assert(
      fc.property(fc.nat(MiB), fc.nat(255), (position, value) => {
        // The boundaries meet again by chance, soon: of some 115 chunks, few change, and never as many as 30.
        expect(changedChunks(bytes, insertByte(bytes, position, value), CHUNK)).toBeLessThan(30)
      }),
      { numRuns: 50 },
    )
    const near = [100, 1000, 3000, 10_000].map((at) => changedChunks(bytes, insertByte(bytes, at, 7), CHUNK))
    expect(near.reduce((sum, count) => sum + count, 0)).toBeLessThan(4 * 4)
  })

  describe('where a file seems to begin', () => {
    /** Random bytes, but the last `padding` of them before `end` are zeros. */
    const padded = (end: number, padding: number, length = 60_000): Uint8Array => {
      const bytes = randomMiB.slice(0, length)
      return bytes.fill(0, end - padding, end)
    }
    const ends = (bytes: Uint8Array, offset = 0): number[] => {
      let at = 0
      return cutWhole(bytes, 65536, offset).map((length) => (at += length))
    }

    it('cuts, at a block of the disk, after 32 zeros and before something else', () => {
      expect(ends(padded(8192, 32))).toContain(8192)
      expect(ends(padded(8192, 31))).not.toContain(8192)
      const zeroAfter = padded(8192, 32)
      zeroAfter[8192] = 0
      expect(ends(zeroAfter)).not.toContain(8192)
      expect(ends(padded(8191, 40))).not.toContain(8191)
    })

    it('goes by where the bytes lie on the disk', () => {
      for (const offset of [5, 4095, 4097, 2 ** 45 + 100]) {
        const end = 8192 + 4096 - (offset % 4096)
        expect(ends(padded(end, 100), offset)).toContain(end)
        expect(ends(padded(8192, 100), offset)).not.toContain(8192)
      }
    })

    it('leaves no chunk of less than half the smallest length, and none of more than the largest', () => {
      const blocks = Uint8Array.from({ length: 200 * 4096 }, (_, i) => (i % 4096 < 2000 ? 1 + (i % 199) : 0))
      expect(new Set(cutWhole(blocks, 65536))).toEqual(new Set([4096]))
      expect(Math.min(...cutWhole(blocks, 256 * 1024))).toBe(16 * 1024)
      expect(Math.max(...cutWhole(blocks, 4096))).toBe(4096)
    })

    it('finds the same chunks of the same files in another order, where they have blocks of their own', () => {
      const files = Array.from({ length: 40 }, (_, i) => {
        const length = 5000 + 2977 * i
        const bytes = new Uint8Array(Math.ceil((length + 32) / 4096) * 4096)
        bytes.set(randomBytes(length, 100 + i))
        bytes.set([1])
        return bytes
      })
      const names = (list: readonly Uint8Array[]): Set<string> => {
        const bytes = Buffer.concat(list)
        let at = 0
        return new Set(
          cutWhole(bytes, 65536).map((length) => {
            at += length
            return createHash('sha256')
              .update(bytes.subarray(at - length, at))
              .digest('hex')
          }),
        )
      }
      const once = names(files)
      const turned = names(files.toReversed())
      expect([...turned].filter((name) => !once.has(name))).toEqual([])
    })
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
      49919, 34595, 40137, 33143, 33808, 33221, 42162, 30293, 41909, 35840, 42662, 36981, 34561, 34788, 21521,
      46707, 36340, 61926, 33546, 32163, 36707, 50395, 26592, 40442, 65536, 45124, 27558,
    ])
    expect(digest(cutWhole(randomMiB, 4096))).toBe('8c82f2c3b4b0d701')
  })

  it('are those of text', () => {
    expect(digest([...textMiB])).toBe('74403a4115f0acff')
    expect(cutWhole(textMiB, 65536)).toEqual([
      45294, 34340, 15928, 48643, 35492, 36581, 42833, 34095, 45024, 33605, 35500, 33779, 28964, 33366, 31417,
      40847, 39349, 13437, 38922, 36491, 36219, 36897, 21077, 32980, 36179, 33600, 34071, 33083, 39366, 39955,
      1242,
    ])
    expect(digest(cutWhole(textMiB, 4096))).toBe('578a09f7f4ccd6d0')
  })

  it('are those of data with runs of zeros in it, which are found by a short cut', () => {
    const bytes = randomMiB.slice()
    for (let i = 0; i < 13; i++) {
      const start = 40_000 * (i + 1) + 2500 * i * (i + 1)
      bytes.fill(0, start, start + 5000 * (i + 1))
    }
    expect(cutWhole(bytes, 65536)).toEqual([
      49919, 34595, 40137, 33143, 54748, 36578, 55439, 44865, 65536, 39710, 61131, 65536, 34236, 65536, 65536,
      46284, 65536, 41821, 65536, 40626, 34875, 7253,
    ])
    expect(digest(cutWhole(bytes, 4096))).toBe('1caa7c2ea16afc32')
  })

  it('are those of files that begin with a block', () => {
    const bytes = randomMiB.slice()
    for (let k = 0, end = 12_288; end < MiB; k++, end += 28_672) bytes.fill(0, end - 25 - 37 * k, end)
    expect([65536, 16384, 4096].map((chunkSize) => digest(cutWhole(bytes, chunkSize)))).toEqual([
      '21f2474ed2c61a34',
      'dde73daa07100041',
      '1ac3216ecdbc6860',
    ])
  })

  it('are those of every chunk size', () => {
    const bytes = randomBytes(16 * MiB, 3)
    expect(chunkSizes.map((chunkSize) => digest(cutWhole(bytes, chunkSize)))).toEqual([
      '2ceaebffe3ddde75',
      'e07f5ace3ddb1c4d',
      '3ddd8fd83f31c7ba',
      '2b5784a823aadc92',
      '684a55e329e6909e',
      '69261caeb83a73e9',
      '0618ff3388c98616',
      '1457b66904ee834a',
      '482b80c1b6d824fe',
      '56a952b610f38ff0',
      '4bd5753e1f120429',
    ])
  })
})

it('takes its random numbers from SHA-256', () => {
  const hash = (byte: number): Buffer =>
    createHash('sha256').update('everfold fastcdc gear 1').update(Uint8Array.of(byte)).digest()
  expect([...GEAR]).toEqual(Array.from({ length: 256 }, (_, byte) => hash(byte).readInt32LE(0)))
})
