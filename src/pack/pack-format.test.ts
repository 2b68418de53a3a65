import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

import { flipped, packBytes, packOf, sampleChunks, tailOffset } from '../../test/format-samples.js'
import { BinaryWriter, MalformedError } from '../binary.js'
import { bytesToHex, crc32, sha256 } from '../checksum.js'
import {
  CODEC_RAW,
  CODEC_ZSTD,
  chunkAt,
  decodePackDirectory,
  decodePackFooter,
  encodePackTail,
  type FrameEntry,
  frameOfChunk,
  isPresent,
  PACK_FOOTER_BYTES,
  PACK_HEADER_BYTES,
  type PackDirectory,
  packHeader,
  packIdOf,
} from './pack-format.js'

function decodeTail(tail: Uint8Array, objectBytes: number): PackDirectory {
  const footer = decodePackFooter(tail, objectBytes)
  const end = tail.length - PACK_FOOTER_BYTES
  return decodePackDirectory(tail.subarray(end - footer.directoryLength, end), footer, objectBytes)
}

/** What a pack is made of, before it is encoded. */
interface Draft {
  readonly frames: readonly {
    readonly chunks: readonly { length: number; present: boolean }[]
    codec: number
  }[]
  readonly generation: number
}

const draft: fc.Arbitrary<Draft> = fc.record({
  frames: fc.array(
    fc.record({
      chunks: fc.array(fc.record({ length: fc.integer({ min: 1, max: 5_000_000 }), present: fc.boolean() }), {
        minLength: 1,
        maxLength: 10,
      }),
      codec: fc.constantFrom(CODEC_RAW, CODEC_ZSTD),
    }),
    { minLength: 1, maxLength: 10 },
  ),
  generation: fc.integer({ min: 0, max: 0xffff_ffff }),
})

function encode({ frames, generation }: Draft): {
  tail: Uint8Array
  objectBytes: number
  entries: FrameEntry[]
  hashes: Uint8Array
} {
  const chunks = frames.flatMap((frame) => frame.chunks)
  const present = new Uint8Array(Math.ceil(chunks.length / 8))
  for (const [i, chunk] of chunks.entries()) if (chunk.present) present[i >> 3]! |= 1 << (i & 7)
  const entries = frames.map((frame, i): FrameEntry => {
    const plainLength = frame.chunks.reduce((sum, { length, present }) => sum + (present ? length : 0), 0)
    const storedLength = frame.codec === CODEC_RAW ? plainLength : Math.ceil(plainLength / 3)
    return { storedLength, plainLength, crc: i * 7, codec: frame.codec, chunks: frame.chunks.length }
  })
  const hashes = Buffer.concat(chunks.map((_, i) => sha256(Uint8Array.of(i))))
  const lengths = chunks.map((chunk) => chunk.length)
  const tail = encodePackTail(entries, lengths, present, hashes, generation)
  const stored = entries.reduce((sum, entry) => sum + entry.storedLength, 0)
  return { tail, objectBytes: PACK_HEADER_BYTES + stored + tail.length, entries, hashes }
}

describe('the tail of a pack', () => {
  it('gives back every frame and chunk that was put in', () => {
    fc.assert(
      fc.property(draft, (given) => {
        const { tail, objectBytes, entries, hashes } = encode(given)
        const directory = decodeTail(tail, objectBytes)
        expect(directory).toMatchObject({
          id: packIdOf(hashes),
          generation: given.generation,
          sizeBytes: objectBytes,
          frameCount: entries.length,
        })
        expect(Buffer.compare(directory.hashes, hashes)).toBe(0)
        let chunk = 0
        let start = 0
        let offset = PACK_HEADER_BYTES
        for (const [i, frame] of given.frames.entries()) {
          expect(directory.frameFirst[i]).toBe(chunk)
          expect(directory.frameOffset[i]).toBe(offset)
          offset += entries[i]!.storedLength
          expect(directory.framePlain[i]).toBe(entries[i]!.plainLength)
          expect(directory.frameCrc[i]).toBe(entries[i]!.crc)
          expect(directory.frameCodec[i]).toBe(frame.codec)
          for (const { length, present } of frame.chunks) {
            expect(isPresent(directory, chunk)).toBe(present)
            expect(directory.chunkLength[chunk]).toBe(length)
            expect(directory.chunkStart[chunk]).toBe(start)
            expect(frameOfChunk(directory, chunk)).toBe(i)
            expect(chunkAt(directory, start)).toBe(chunk)
            expect(chunkAt(directory, start + length - 1)).toBe(chunk)
            start += length
            chunk++
          }
        }
        expect(directory.chunkCount).toBe(chunk)
        expect(directory.frameOffset[entries.length]).toBe(offset)
      }),
    )
  })

  const pack = packOf(sampleChunks('tail', [4096, 4096, 100, 8192, 1]))
  const object = packBytes(pack)
  const tail = object.subarray(tailOffset(pack).directory)

  it('rejects every flipped bit of directory and footer', () => {
    expect(decodeTail(tail, object.length).id).toBe(pack.directory.id)
    for (let bit = 0; bit < tail.length * 8; bit++)
      expect(() => decodeTail(flipped(tail, bit), object.length), `bit ${bit}`).toThrow(MalformedError)
  })

  it('rejects every truncation, and an object of another size', () => {
    for (let length = 0; length < tail.length; length++) {
      const cut = tail.subarray(0, length)
      expect(() => decodeTail(cut, object.length - tail.length + length)).toThrow(MalformedError)
    }
    for (const size of [object.length - 1, object.length + 1, 0])
      expect(() => decodeTail(tail, size)).toThrow(MalformedError)
  })
})

/** A directory with a footer that fits it, whatever it says: what damage alone does not make. */
function forge(directory: Uint8Array, directoryOffset: number): { tail: Uint8Array; objectBytes: number } {
  const footer = new BinaryWriter()
  footer.u64(directoryOffset)
  footer.u32(directory.length)
  footer.u32(0)
  footer.bytes(sha256(directory))
  footer.u32(crc32(footer.view()))
  footer.bytes(Buffer.from('evfp'))
  const tail = Buffer.concat([directory, footer.view()])
  return { tail, objectBytes: directoryOffset + tail.length }
}

function directoryBytes(frames: number, chunks: number, rest: Uint8Array): Uint8Array {
  const out = new BinaryWriter()
  out.u32(frames)
  out.u32(chunks)
  out.bytes(rest)
  return out.view()
}

interface Shape {
  stored?: number
  plain?: number
  chunks?: number
  codec?: number
  reserved?: number
  length?: number
  present?: number
}

/** A pack of one frame and one chunk of ten bytes, but for what is asked for. */
function oneChunk(shape: Shape): { tail: Uint8Array; objectBytes: number } {
  const {
    stored = 10,
    plain = 10,
    chunks = 1,
    codec = CODEC_RAW,
    reserved = 0,
    length = 10,
    present = 1,
  } = shape
  const rest = new BinaryWriter()
  rest.u32(stored)
  rest.u32(plain)
  rest.u32(0)
  rest.u16(chunks)
  rest.u8(codec)
  rest.u8(reserved)
  rest.u32(length)
  rest.u8(present)
  rest.bytes(new Uint8Array(32))
  return forge(directoryBytes(1, 1, rest.view()), PACK_HEADER_BYTES + stored)
}

function encodeAgain(directory: PackDirectory): Uint8Array {
  const entries = Array.from({ length: directory.frameCount }, (_, i) => ({
    storedLength: directory.frameOffset[i + 1]! - directory.frameOffset[i]!,
    plainLength: directory.framePlain[i]!,
    crc: directory.frameCrc[i]!,
    codec: directory.frameCodec[i]!,
    chunks: directory.frameFirst[i + 1]! - directory.frameFirst[i]!,
  }))
  const { chunkLength, present, hashes, generation } = directory
  return encodePackTail(entries, chunkLength, present, hashes, generation)
}

describe('a directory that no writer made, with right checksums', () => {
  const reject = ({ tail, objectBytes }: { tail: Uint8Array; objectBytes: number }): void => {
    expect(() => decodeTail(tail, objectBytes)).toThrow(MalformedError)
  }

  it('is rejected in every detail', () => {
    const good = oneChunk({})
    expect(decodeTail(good.tail, good.objectBytes).chunkCount).toBe(1)
    const wrong: Shape[] = [
      { plain: 11 },
      { plain: 11, stored: 11 },
      { stored: 9 },
      { chunks: 0 },
      { chunks: 2 },
      { codec: 2 },
      { reserved: 1 },
      { length: 0, plain: 0, stored: 0 },
      { present: 0 },
      { present: 0, plain: 0 },
      { codec: CODEC_ZSTD, stored: 0 },
      { present: 3 },
      { present: 0x81 },
    ]
    for (const shape of wrong) reject(oneChunk(shape))
  })

  it('allocates nothing for counts that it cannot hold', () => {
    const before = process.memoryUsage().arrayBuffers
    for (const count of [1, 0xffff, 0x1_0000, 0x7fff_ffff, 0xffff_ffff]) {
      reject(forge(directoryBytes(count, 1, new Uint8Array(60)), 8))
      reject(forge(directoryBytes(1, count, new Uint8Array(60)), 8))
      reject(forge(directoryBytes(count, count, new Uint8Array(60)), 8))
    }
    reject(forge(directoryBytes(0, 0, new Uint8Array(0)), 8))
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(50e6)
  })

  it('is rejected where it lies within the header', () => {
    const { tail } = oneChunk({})
    reject(forge(tail.subarray(0, tail.length - PACK_FOOTER_BYTES), 4))
  })

  it('throws MalformedError, or decodes to what encodes to the same bytes', () => {
    const small = fc.record({
      frames: fc.array(
        fc.record({
          chunks: fc.array(fc.record({ length: fc.integer({ min: 1, max: 3 }), present: fc.boolean() }), {
            minLength: 1,
            maxLength: 5,
          }),
          codec: fc.constantFrom(CODEC_RAW, CODEC_ZSTD),
        }),
        { minLength: 1, maxLength: 3 },
      ),
      generation: fc.constant(0),
    })
    const change = fc.record({ at: fc.nat(), value: fc.oneof(fc.nat(3), fc.nat(0xff)) })
    let decoded = 0
    let rejected = 0
    fc.assert(
      fc.property(small, fc.array(change, { maxLength: 2 }), (given, changes) => {
        const { tail, hashes, objectBytes } = encode(given)
        const bytes = tail.slice(0, tail.length - PACK_FOOTER_BYTES)
        for (const { at, value } of changes) bytes[at % (bytes.length - hashes.length)] = value
        const forged = forge(bytes, objectBytes - tail.length)
        try {
          const directory = decodeTail(forged.tail, forged.objectBytes)
          expect(Buffer.compare(encodeAgain(directory), forged.tail)).toBe(0)
          expect(directory.present.at(-1)! >> (((directory.chunkCount - 1) & 7) + 1)).toBe(0)
          decoded++
        } catch (error) {
          if (!(error instanceof MalformedError)) throw error
          rejected++
        }
      }),
      { numRuns: 5000 },
    )
    expect(decoded).toBeGreaterThan(1000)
    expect(rejected).toBeGreaterThan(1000)
  })

  it('throws nothing but MalformedError on arbitrary bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.maxSafeNat(), (bytes, size) => {
        expect(() => decodePackFooter(bytes, size)).toThrow(MalformedError)
        const forged = forge(bytes, PACK_HEADER_BYTES)
        expect(() => decodeTail(forged.tail, forged.objectBytes)).toThrow(MalformedError)
      }),
      { numRuns: 2000 },
    )
  })
})

describe('the golden bytes of a pack', () => {
  it('are its header, and the id of a list of hashes', () => {
    expect(bytesToHex(packHeader())).toBe('4556465001000000')
    const hashes = Buffer.concat([sha256(Buffer.from('one')), sha256(Buffer.from('two'))])
    expect(packIdOf(hashes)).toBe('99d538b432b8fccd1d4752df2f9793a27b82ad9be1c8493ae50b37ee349bb1d3')
    expect(packIdOf(hashes)).toBe(
      bytesToHex(sha256(Buffer.concat([Buffer.from('everfold pack 1\0'), hashes]))),
    )
  })
})
