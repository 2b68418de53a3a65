/** The client's framed streams, taken apart by the service's decoder. */

import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { crc32 } from '../src/checksum.js'
import { hashesOf, nameAt } from '../src/client/chunk-names.js'
import { encodeChunks, placeChunks } from '../src/client/cut-batch.js'
import { framedStream, type NamedChunk, type StreamRecord } from '../src/client/framed-stream.js'
import { InlineWorkers } from '../src/client/inline-workers.js'
import { InlineCrew } from '../src/pack/inline-crew.js'
import { runCheck } from '../src/pack/jobs.js'
import { readExtentsStream, type StreamTarget } from '../src/server/extents-stream.js'
import { noise } from './disk-bytes.js'

const CHUNK_SIZE = 4096
const FRAME_SIZE = 16 * 1024
const DISK_BYTES = 2 ** 40

const offset = fc.integer({ min: 0, max: DISK_BYTES - 1024 * 1024 })
const chunk = fc.record({
  offset,
  size: fc.integer({ min: 1, max: CHUNK_SIZE }),
  name: fc.uint8Array({ minLength: 32, maxLength: 32 }).map((hash) => nameAt(hash, 0)),
})
const record: fc.Arbitrary<StreamRecord> = fc.oneof(
  fc.record({
    kind: fc.constant('data' as const),
    offset,
    bytes: fc.uint8Array({ minLength: 1, maxLength: 5000 }),
  }),
  fc.record({ kind: fc.constant('zeros' as const), offset, size: fc.integer({ min: 1, max: 1024 * 1024 }) }),
  fc.record({
    kind: fc.constant('known' as const),
    chunks: fc.array(chunk, { minLength: 1, maxLength: 300 }),
  }),
  fc.array(chunk, { minLength: 1, maxLength: 4 }).map((chunks) => {
    const stored = new Uint8Array(
      noise(
        'frame',
        chunks.reduce((sum, { size }) => sum + size, 0),
      ),
    )
    return { kind: 'chunks' as const, chunks, frame: { codec: 0, stored, crc: crc32(stored) } }
  }),
)

/** Records with neighbouring data put together: the decoder hands data on in pieces, and where a record ended is not told. */
function joined(records: readonly StreamRecord[]): StreamRecord[] {
  const result: StreamRecord[] = []
  for (const record of records) {
    const last = result.at(-1)
    if (record.kind === 'data' && last?.kind === 'data' && last.offset + last.bytes.length === record.offset)
      result.splice(-1, 1, { ...last, bytes: Uint8Array.of(...last.bytes, ...record.bytes) })
    else result.push(record)
  }
  return result
}

/** What the decoder hands on, as records again. */
async function decoded(stream: Uint8Array, piece: number): Promise<StreamRecord[]> {
  const records: StreamRecord[] = []
  const named = (chunks: Parameters<StreamTarget['known']>[0]): NamedChunk[] =>
    Array.from(chunks.lengths, (size, i) => ({
      offset: chunks.offsets[i]!,
      size,
      name: nameAt(chunks.hashes, i),
    }))
  const body = async function* (): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < stream.length; at += piece) yield stream.subarray(at, at + piece)
  }
  await readExtentsStream(body(), {
    sizeBytes: DISK_BYTES,
    chunkSize: CHUNK_SIZE,
    frameSize: FRAME_SIZE,
    onGrid: false,
    data: async (at, bytes) => void records.push({ kind: 'data', offset: at, bytes: bytes.slice() }),
    zeros: async (at, size) => void records.push({ kind: 'zeros', offset: at, size }),
    known: async (chunks) => void records.push({ kind: 'known', chunks: named(chunks) }),
    frame: async (chunks, codec, length, fill) => {
      const stored = new Uint8Array(length)
      const crc = await fill(stored)
      records.push({ kind: 'chunks', chunks: named(chunks), frame: { codec, stored, crc } })
    },
  })
  return records
}

describe('a framed stream of the client', () => {
  it('is understood by the service as it was meant, in whatever pieces it comes', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(record, { maxLength: 8 }),
        fc.integer({ min: 1, max: 3000 }),
        async (records, piece) => {
          const stream = new Uint8Array(Buffer.concat(framedStream(records)))
          expect(joined(await decoded(stream, piece))).toEqual(joined(records))
        },
      ),
      { numRuns: 60 },
    )
  })

  it('has frames that hold the chunks that they name', async () => {
    const bytes = Buffer.concat([noise('a', 9000), Buffer.alloc(20_000, 'text '), noise('b', 3000)])
    const lengths = Uint32Array.of(4000, 4096, 4096, 4096, 4096, 4096, 4096, 3424)
    for (const workers of [new InlineWorkers(), new InlineCrew()]) {
      const plainBytes = new Uint8Array(bytes).buffer
      const pieces = [
        { offset: 10_000, length: 4000 },
        { offset: 100_000, length: bytes.length - 4000 },
      ]
      const batch = placeChunks(pieces, await workers.hash({ plain: plainBytes, lengths }))
      const wanted = batch.chunks.filter((_, i) => i !== 3)
      const { records } = await encodeChunks(workers, batch.plain, wanted, {
        frameSize: FRAME_SIZE,
        level: 3,
      })
      const offsets: number[] = []
      for (const one of await decoded(Buffer.concat(framedStream(records)), 1000)) {
        if (one.kind !== 'chunks') throw new Error(one.kind)
        const sizes = Uint32Array.from(one.chunks, ({ size }) => size)
        const hashes = hashesOf(one.chunks.map(({ name }) => name))
        const stored = new Uint8Array(one.frame.stored).buffer
        const frames = {
          storedLength: Uint32Array.of(stored.byteLength),
          codec: Uint8Array.of(one.frame.codec),
          frameChunks: Uint32Array.of(sizes.length),
        }
        expect(runCheck({ stored, ...frames, lengths: sizes, hashes }).bad).toBeUndefined()
        for (const { offset: at, size, name } of one.chunks) {
          offsets.push(at)
          const from = at < 100_000 ? at - 10_000 : at - 100_000 + 4000
          expect(
            createHash('sha256')
              .update(bytes.subarray(from, from + size))
              .digest(),
          ).toEqual(Buffer.from(name, 'latin1'))
        }
      }
      expect(offsets).toEqual(wanted.map(({ offset: at }) => at))
    }
  })
})
