import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { crc32 } from '../checksum.js'
import { runCut } from '../chunker/batch-jobs.js'
import { runHash } from '../pack/jobs.js'
import { InlineWorkers } from './inline-workers.js'

const CHUNK_SIZE = 4096

/** Noise with holes, so that there are boundaries and zeros. */
const content = fc
  .array(fc.tuple(fc.nat(0xffff), fc.integer({ min: 1, max: 20_000 }), fc.boolean()), {
    minLength: 1,
    maxLength: 6,
  })
  .map((parts) =>
    parts.map(([seed, length, zero]) =>
      Uint8Array.from({ length }, (_, i) => (zero ? 0 : Math.imul((i + seed) ^ (i >> 5), 0x9e3779b1) >>> 24)),
    ),
  )

describe('InlineWorkers', () => {
  it('cuts and names as the engine does', async () => {
    await fc.assert(
      fc.asyncProperty(content, fc.boolean(), async (parts, final) => {
        const pieces = Uint32Array.from(parts, ({ length }) => length)
        const offsets = Float64Array.from(parts, (_, i) => i * 1000)
        const bytes = (): ArrayBuffer => new Uint8Array(parts.flatMap((part) => [...part])).buffer
        const job = { offsets, pieces, chunkSize: CHUNK_SIZE, final }
        const ours = await new InlineWorkers().cut({ plain: bytes(), ...job })
        const { lengths } = runCut({ plain: bytes(), ...job })
        expect(ours.lengths).toEqual(lengths)
        const named = await new InlineWorkers().hash({ plain: bytes(), lengths })
        const expected = runHash({ plain: bytes(), lengths })
        expect(Buffer.from(named.hashes)).toEqual(Buffer.from(expected.hashes))
        expect(named.zeros).toEqual(expected.zeros)
      }),
      { numRuns: 50 },
    )
  })

  it('puts chosen chunks into frames as they are', async () => {
    const plain = Uint8Array.from({ length: 100 }, (_, i) => i).buffer
    const job = { offsets: Uint32Array.of(10, 20, 50), lengths: Uint32Array.of(5, 2, 3) }
    const { stored, storedLength, codec, crc } = await new InlineWorkers().encode({
      ...job,
      plain,
      frameChunks: Uint32Array.of(2, 1),
      level: 3,
      verify: false,
    })
    expect([...new Uint8Array(stored)]).toEqual([10, 11, 12, 13, 14, 20, 21, 50, 51, 52])
    expect([[...storedLength], [...codec]]).toEqual([
      [7, 3],
      [0, 0],
    ])
    expect([...crc]).toEqual([crc32(stored.subarray(0, 7)), crc32(stored.subarray(7))])
  })
})
