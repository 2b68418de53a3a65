import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ByteRange } from '../byte-range.js'
import { runCut } from '../chunker/batch-jobs.js'
import { FastCdc } from './fastcdc.js'
import { type ByteSource, fillBatches, type PlainBatch } from './fill-batches.js'

const chunkSize = 4096
const batchBytes = 64 * 1024

const disk = { contentDefined: true }

/** A disk of repeating noise: it has boundaries, and every byte is known. */
const content = Uint8Array.from(
  { length: 512 * 1024 },
  (_, i) => (Math.imul(i ^ (i >> 7), 0x9e3779b1) >>> 24) & 0xff,
)
// Blocks after which a file seems to begin.
for (let end = 8192; end < content.length; end += 20_480) content.fill(0, end - 100, end)

const source: ByteSource = {
  read: async (into, offset) => into.set(content.subarray(offset, offset + into.length)),
}

/** Feeds ranges to a sink that cuts as an ingest does. */
async function feed(
  ranges: readonly ByteRange[],
  { reads = false } = {},
): Promise<{ batches: number; chunks: string[]; read: number }> {
  const chunks: string[] = []
  let batches = 0
  const sink = {
    reads,
    takeBuffer: () => new ArrayBuffer(batchBytes),
    submit: async (batch: PlainBatch<unknown>): Promise<Uint8Array> => {
      batches++
      const { start = 0 } = batch
      let filled = start
      for (const { offset, length } of batch.pieces) {
        await batch.unread?.read(new Uint8Array(batch.plain, filled, length), offset)
        filled += length
      }
      if (batch.unread !== undefined) expect({ start, final: batch.final }).toEqual({ start: 0, final: true })
      const pieces = Uint32Array.from(batch.pieces, (piece) => piece.length)
      const offsets = Float64Array.from(batch.pieces, (piece) => piece.offset)
      const { plain, final } = batch
      const { lengths } = runCut({ plain, start, offsets, pieces, chunkSize, final })
      const rest = [...lengths]
      let from = start
      for (const piece of batch.pieces) {
        let within = 0
        for (let length = rest.shift(); length !== undefined; length = rest.shift()) {
          expect(
            Buffer.from(batch.plain, from, length).equals(
              content.subarray(piece.offset + within, piece.offset + within + length),
            ),
          ).toBe(true)
          chunks.push(`${piece.offset + within}+${length}`)
          from += length
          within += length
          if (within >= piece.length) break
        }
      }
      const used = pieces.reduce((sum, length) => sum + length, 0)
      return new Uint8Array(batch.plain.slice(from, start + used))
    },
  }
  const from = reads ? { ...source, descriptor: 3 } : source
  const read = await fillBatches(sink, disk, from, ranges, chunkSize, () => undefined)
  return { batches, chunks, read }
}

/** Each range cut in one go. */
function cutWhole(ranges: readonly ByteRange[]): string[] {
  return ranges.flatMap(({ offset, length }) => {
    let at = offset
    const { lengths } = new FastCdc(chunkSize).cut(content.subarray(offset, offset + length), offset, true)
    return [...lengths].map((size) => `${(at += size) - size}+${size}`)
  })
}

const sortedRanges = fc
  .array(fc.tuple(fc.nat(3000), fc.integer({ min: 1, max: 90_000 })), { maxLength: 30 })
  .map((steps) => {
    const ranges: ByteRange[] = []
    let end = 0
    for (const [gap, length] of steps) {
      if (end + 1 + gap + length > content.length) break
      ranges.push({ offset: end + 1 + gap, length })
      end += 1 + gap + length
    }
    return ranges
  })

describe('reading what a feed names, to be cut by content', () => {
  it('puts many small ranges into one batch', async () => {
    const ranges = Array.from({ length: 60 }, (_, i) => ({ offset: i * 8192, length: 1024 }))
    const { batches, read } = await feed(ranges)
    expect(batches).toBe(1)
    expect(read).toBe(60 * 1024)
  })

  it('puts no more pieces into a batch than a pack can number chunks', async () => {
    const ranges = Array.from({ length: 20_000 }, (_, i) => ({ offset: i * 3, length: 1 }))
    const { batches, chunks } = await feed(ranges)
    expect(chunks).toHaveLength(20_000)
    expect(batches).toBe(2)
  })

  it.each([false, true])(
    'cuts each range by itself, wherever batches end; read by whoever cuts: %s',
    async (reads) => {
      await fc.assert(
        fc.asyncProperty(sortedRanges, async (ranges) => {
          const { chunks, read } = await feed(ranges, { reads })
          expect(chunks).toEqual(cutWhole(ranges))
          expect(read).toBe(ranges.reduce((sum, { length }) => sum + length, 0))
        }),
        { numRuns: 200 },
      )
    },
  )
})
