import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import binding from 'zstd-napi/binding.js'

import { flipped, sampleChunks } from '../../test/format-samples.js'
import { withWindow } from '../../test/framed-stream.js'
import { crc32, sha256 } from '../checksum.js'
import { runCut } from '../chunker/batch-jobs.js'
import { FastCdc } from '../chunker/fastcdc.js'
import { CHUNK_FRAME_DAMAGED, CHUNK_GOOD, CHUNK_HASH_WRONG } from './chunk-state.js'
import { type DecodeJob, type EncodeResult, runCheck, runDecode, runEncode, runHash } from './jobs.js'
import { CODEC_RAW, CODEC_ZSTD } from './pack-format.js'

/** Chunks in a batch, with `gap` bytes that are not wanted before each, in frames of `perFrame`. */
function encode(
  chunks: readonly Uint8Array[],
  gap: number,
  perFrame: number,
  level = 3,
  room?: SharedArrayBuffer,
): EncodeResult {
  const gapBytes = new Uint8Array(gap).fill(0xee)
  const plain = new Uint8Array(Buffer.concat(chunks.flatMap((chunk) => [gapBytes, chunk]))).buffer
  let at = 0
  const offsets = Uint32Array.from(chunks, (chunk) => (at += gap + chunk.length) - chunk.length)
  const lengths = Uint32Array.from(chunks, (chunk) => chunk.length)
  const frames = Math.ceil(chunks.length / perFrame)
  const frameChunks = Uint32Array.from({ length: frames }, (_, i) =>
    Math.min(perFrame, chunks.length - i * perFrame),
  )
  return runEncode({ plain, offsets, lengths, frameChunks, level, verify: true, room })
}

/** The job that gets those chunks back for which `wanted` says so, with `hole` bytes between the frames. */
function decodeJob(
  chunks: readonly Uint8Array[],
  encoded: EncodeResult,
  perFrame: number,
  wanted: (i: number) => boolean = () => true,
  hole = 0,
): DecodeJob {
  const job = {
    stored: [] as Uint8Array[],
    storedOffset: [] as number[],
    storedLength: [] as number[],
    plainLength: [] as number[],
    crc: [] as number[],
    codec: [] as number[],
    wanted: [] as number[],
    chunkOffset: [] as number[],
    chunkLength: [] as number[],
    hashes: [] as Uint8Array[],
  }
  let from = 0
  let to = 0
  for (let frame = 0; frame < encoded.storedLength.length; frame++) {
    const length = encoded.storedLength[frame]!
    job.stored.push(new Uint8Array(hole).fill(0xdd), encoded.stored.subarray(from, from + length))
    from += length
    to += hole + length
    let offset = 0
    let count = 0
    for (let i = frame * perFrame; i < Math.min(chunks.length, (frame + 1) * perFrame); i++) {
      const chunk = chunks[i]!
      if (wanted(i)) {
        count++
        job.chunkOffset.push(offset)
        job.chunkLength.push(chunk.length)
        job.hashes.push(sha256(chunk))
      }
      offset += chunk.length
    }
    if (count === 0) continue
    job.storedOffset.push(to - length)
    job.storedLength.push(length)
    job.plainLength.push(offset)
    job.crc.push(encoded.crc[frame]!)
    job.codec.push(encoded.codec[frame]!)
    job.wanted.push(count)
  }
  return {
    stored: new Uint8Array(Buffer.concat(job.stored)).buffer,
    storedOffset: Uint32Array.from(job.storedOffset),
    storedLength: Uint32Array.from(job.storedLength),
    plainLength: Uint32Array.from(job.plainLength),
    crc: Uint32Array.from(job.crc),
    codec: Uint8Array.from(job.codec),
    wanted: Uint32Array.from(job.wanted),
    chunkOffset: Uint32Array.from(job.chunkOffset),
    chunkLength: Uint32Array.from(job.chunkLength),
    hashes: Buffer.concat(job.hashes),
  }
}

afterEach(() => {
  vi.restoreAllMocks()
})

describe('runEncode and runDecode', () => {
  it('give back the chunks that are wanted, whatever the gaps, frames and levels', () => {
    const lengths = fc.array(fc.integer({ min: 1, max: 9000 }), { minLength: 1, maxLength: 12 })
    const options = fc.record({
      gap: fc.constantFrom(0, 0, 1, 5000),
      perFrame: fc.integer({ min: 1, max: 6 }),
      level: fc.constantFrom(0, 1, 3, 9),
      // None, too little, and enough.
      roomBytes: fc.constantFrom(-1, 0, 4 << 20),
      hole: fc.constantFrom(0, 0, 17),
      mask: fc.constantFrom(0xffff, 0xffff, 0b1010_1010_1010, 0b1, 0b1000_0001_1000),
    })
    fc.assert(
      fc.property(
        lengths,
        fc.string(),
        options,
        (sizes, seed, { gap, perFrame, level, hole, mask, roomBytes }) => {
          const chunks = sampleChunks(seed, sizes)
          const encoded = encode(
            chunks,
            gap,
            perFrame,
            level,
            roomBytes < 0 ? undefined : new SharedArrayBuffer(roomBytes),
          )
          expect(encoded.stored.buffer instanceof SharedArrayBuffer).toBe(roomBytes > 1000)
          expect(encoded.storedLength.reduce((sum, n) => sum + n, 0)).toBe(encoded.stored.byteLength)
          const wanted = (i: number): boolean => (mask >> i) % 2 === 1
          const result = runDecode(decodeJob(chunks, encoded, perFrame, wanted, hole))
          expect([...result.state].every((state) => state === CHUNK_GOOD)).toBe(true)
          expect(result.crcWrong.includes(1)).toBe(false)
          const expected = Buffer.concat(chunks.filter((_, i) => wanted(i)))
          expect(Buffer.compare(result.plain, expected)).toBe(0)
        },
      ),
      { numRuns: 300 },
    )
  })

  it('store as it is what does not shrink, and everything at level 0', () => {
    const [noise, text] = sampleChunks('codec', [20_000, 20_000]) as [Uint8Array, Uint8Array]
    expect(encode([noise], 0, 1)).toMatchObject({
      codec: Uint8Array.of(CODEC_RAW),
      storedLength: Uint32Array.of(20_000),
    })
    expect(Buffer.compare(encode([noise], 0, 1).stored, noise)).toBe(0)
    const compressed = encode([text], 0, 1)
    expect(compressed.codec[0]).toBe(CODEC_ZSTD)
    expect(compressed.stored.byteLength).toBeLessThan(500)
    expect(encode([text], 0, 1, 0).codec[0]).toBe(CODEC_RAW)
  })

  it('store incompressible frames of every size as they are, also many in a row', () => {
    for (const size of [1, 2, 63, 64, 255, 4096, 131_072, 1 << 20]) {
      const chunks = Array.from({ length: 5 }, (_, i) => sampleChunks(`${size} ${i}`, [size])[0]!)
      const encoded = encode(chunks, 0, 1)
      expect([...encoded.codec]).toEqual([0, 0, 0, 0, 0])
      expect(Buffer.compare(encoded.stored, Buffer.concat(chunks))).toBe(0)
    }
  })

  it('are not disturbed by a larger job before', () => {
    const large = sampleChunks('large', [300_000, 300_000])
    expect(runDecode(decodeJob(large, encode(large, 0, 2), 2)).state).toEqual(Uint8Array.of(0, 0))
    const small = sampleChunks('small', [10, 300])
    const result = runDecode(decodeJob(small, encode(small, 1, 2), 2))
    expect(result.plain.byteLength).toBe(310)
    expect(Buffer.compare(result.plain, Buffer.concat(small))).toBe(0)
  })

  it('give back the buffer of the batch, to be filled again', () => {
    const plain = new ArrayBuffer(100)
    const job = {
      plain,
      offsets: Uint32Array.of(0),
      lengths: Uint32Array.of(100),
      frameChunks: Uint32Array.of(1),
    }
    expect(runEncode({ ...job, level: 3, verify: true }).plain).toBe(plain)
    expect(runHash({ plain, lengths: Uint32Array.of(50) }).plain).toBe(plain)
    const cut = runCut({
      plain,
      offsets: Float64Array.of(0),
      pieces: Uint32Array.of(100),
      chunkSize: 4096,
      final: true,
    })
    expect(cut.plain).toBe(plain)
  })
})

describe('runDecode on damaged bytes', () => {
  const chunks = sampleChunks('damage', [300, 500, 200, 400])
  const encoded = encode(chunks, 0, 2)

  /** Every chunk is either good, and then has its bytes, or zeros that are called damaged. */
  function expectHonest(job: DecodeJob): ReturnType<typeof runDecode> {
    const result = runDecode(job)
    let at = 0
    for (const [i, chunk] of chunks.entries()) {
      const bytes = result.plain.subarray(at, at + chunk.length)
      const good = result.state[i] === CHUNK_GOOD
      expect(Buffer.compare(bytes, good ? chunk : new Uint8Array(chunk.length))).toBe(0)
      at += chunk.length
    }
    return result
  }

  it('notices every flipped bit, and never calls a bad chunk good', () => {
    for (let bit = 0; bit < encoded.stored.byteLength * 8; bit++) {
      const job = decodeJob(chunks, encoded, 2)
      const result = expectHonest({ ...job, stored: flipped(new Uint8Array(job.stored), bit).buffer })
      const frame = bit < encoded.storedLength[0]! * 8 ? 0 : 1
      expect([...result.crcWrong], `bit ${bit}`).toEqual(frame === 0 ? [1, 0] : [0, 1])
      expect([...result.state.subarray(2 - 2 * frame, 4 - 2 * frame)]).toEqual([CHUNK_GOOD, CHUNK_GOOD])
    }
  })

  it('calls only the damaged chunk of an uncompressed frame damaged', () => {
    const raw = encode(chunks, 0, 4, 0)
    for (let bit = 0; bit < raw.stored.byteLength * 8; bit += 7) {
      const job = decodeJob(chunks, raw, 4)
      const result = expectHonest({ ...job, stored: flipped(new Uint8Array(job.stored), bit).buffer })
      const hit = [300, 800, 1000, 1400].findIndex((end) => bit >> 3 < end)
      expect([...result.state]).toEqual([0, 1, 2, 3].map((i) => (i === hit ? CHUNK_HASH_WRONG : CHUNK_GOOD)))
    }
  })

  it('gives good chunks, and says so, where the checksum of the frame alone is wrong', () => {
    const job = decodeJob(chunks, encoded, 2)
    const result = expectHonest({ ...job, crc: job.crc?.map((crc, i) => (i === 1 ? crc ^ 4 : crc)) })
    expect([...result.state]).toEqual([0, 0, 0, 0])
    expect([...result.crcWrong]).toEqual([0, 1])
  })

  it('trusts no hash of another chunk', () => {
    const job = decodeJob(chunks, encoded, 2)
    const result = expectHonest({ ...job, hashes: flipped(job.hashes, 32 * 8 + 1) })
    expect([...result.state]).toEqual([CHUNK_GOOD, CHUNK_HASH_WRONG, CHUNK_GOOD, CHUNK_GOOD])
  })

  it('says that a frame is damaged when it is cut short, longer, or of another length than it was', () => {
    const job = decodeJob(chunks, encoded, 2)
    for (const by of [-1, 1]) {
      // One byte more of the object than there is gives the last frame what it had.
      const cut = expectHonest({ ...job, storedLength: job.storedLength.map((n) => n + by) })
      expect([...cut.state.subarray(0, 2)]).not.toContain(CHUNK_GOOD)
      const other = expectHonest({ ...job, plainLength: job.plainLength.map((n) => n + by) })
      expect([...other.state]).toEqual(new Array<number>(4).fill(CHUNK_FRAME_DAMAGED))
    }
  })
})

describe('a frame that somebody else made', () => {
  it('is read in part, too, where it asks for a larger window than is given', () => {
    const chunks = sampleChunks('window', [100_000, 100_000, 100_000, 100_000])
    const made = encode(chunks, 0, chunks.length)
    const stored = withWindow(made.stored, 31)
    const storedLength = Uint32Array.of(stored.length)
    const encoded = { ...made, stored, storedLength, crc: Uint32Array.of(crc32(stored)) }
    const { bad } = runCheck({
      stored: new Uint8Array(stored).buffer,
      storedLength,
      codec: encoded.codec,
      frameChunks: Uint32Array.of(chunks.length),
      lengths: Uint32Array.from(chunks, ({ length }) => length),
      hashes: Buffer.concat(chunks.map((chunk) => sha256(chunk))),
    })
    expect(bad).toBeUndefined()
    for (const [i, chunk] of chunks.entries()) {
      const result = runDecode(decodeJob(chunks, encoded, chunks.length, (one) => one === i))
      expect([...result.state]).toEqual([CHUNK_GOOD])
      expect(Buffer.compare(result.plain, chunk)).toBe(0)
    }
  })
})

describe('the check of what was compressed', () => {
  const chunks = [Buffer.alloc(5000, 'compresses well ')]
  const original = binding.CCtx.prototype.compress2

  it.each([
    ['flips a bit', (into: Uint8Array) => void (into[into.length >> 1]! ^= 1)],
    ['writes zeros', (into: Uint8Array) => void into.fill(0)],
  ])('catches a compressor that %s', (_, spoil) => {
    vi.spyOn(binding.CCtx.prototype, 'compress2').mockImplementation(function (
      this: binding.CCtx,
      into,
      source,
    ) {
      const size = original.call(this, into, source)
      spoil(into.subarray(0, size))
      return size
    })
    expect(() => encode(chunks, 0, 1)).toThrow()
  })

  it('catches a compressor that compresses something else, or only a part', () => {
    for (const other of [Buffer.alloc(5000, 'compresses WELL '), chunks[0]!.subarray(1), Buffer.alloc(0)]) {
      vi.spyOn(binding.CCtx.prototype, 'compress2').mockImplementation(function (this: binding.CCtx, into) {
        return original.call(this, into, other)
      })
      expect(() => encode(chunks, 0, 1)).toThrow('did not decompress to its source')
    }
  })
})

describe('runCut and runHash', () => {
  it('cut the used bytes alone, as FastCdc does', () => {
    const [bytes] = sampleChunks('cut', [100_000]) as [Uint8Array]
    // Where files seem to begin, if the bytes lie at 1,000 on the disk.
    for (const block of [12_288, 40_960, 61_440]) bytes.fill(0, block - 1100, block - 1000)
    const plain = new ArrayBuffer(150_000)
    new Uint8Array(plain).set(bytes)
    const cutAt = (offset: number, final: boolean): Uint32Array =>
      runCut({
        plain,
        offsets: Float64Array.of(offset),
        pieces: Uint32Array.of(bytes.length),
        chunkSize: 8192,
        final,
      }).lengths
    for (const final of [true, false])
      for (const offset of [0, 1000])
        expect(cutAt(offset, final)).toEqual(new FastCdc(8192).cut(bytes, offset, final).lengths)
    expect(cutAt(0, true)).not.toEqual(cutAt(1000, true))
  })

  it('hash each chunk, and mark those of zeros', () => {
    const bytes = Buffer.concat([Buffer.from('one'), new Uint8Array(4096), Buffer.from('two')])
    const plain = new Uint8Array(bytes).buffer
    const { hashes, zeros } = runHash({ plain, lengths: Uint32Array.of(3, 4096, 3) })
    const expected = [sha256(Buffer.from('one')), new Uint8Array(32), sha256(Buffer.from('two'))]
    expect(Buffer.compare(hashes, Buffer.concat(expected))).toBe(0)
    expect([...zeros]).toEqual([0b010])
  })
})
