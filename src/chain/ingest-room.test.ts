import { expect, it } from 'vitest'
import { noise } from '../../test/disk-bytes.js'
import { openInMemory } from '../../test/memory-repository.js'
import { crc32, sha256 } from '../checksum.js'
import { CODEC_RAW } from '../pack/pack-format.js'
import { MemoryStore } from '../store/memory-store.js'
import { SharedRoom } from './ingest-room.js'
import { openIngest } from './open-ingest.js'
import { type NamedChunks, type ReceivedFrame, ReceivedFrames } from './received-frames.js'
import { Repository } from './repository.js'
import { RunBuilder } from './run-builder.js'

const KiB = 1024
const MiB = 1024 * KiB
const OPEN_PACKS = 4 * MiB
const BUFFER = 512 * KiB
const CHUNK = 50 * KiB

/** A frame of three chunks: less than half of the memory that it comes in. */
function frameOf(name: string): { readonly chunks: NamedChunks; readonly frame: ReceivedFrame } {
  const bytes = noise(name, 3 * CHUNK)
  const hashes = [0, 1, 2].map((i) => sha256(bytes.subarray(i * CHUNK, (i + 1) * CHUNK)))
  const offsets = Float64Array.of(0, CHUNK, 2 * CHUNK)
  return {
    chunks: { offsets, lengths: Uint32Array.of(CHUNK, CHUNK, CHUNK), hashes: Buffer.concat(hashes) },
    frame: {
      codec: CODEC_RAW,
      length: bytes.length,
      fill: async (into) => {
        into.set(bytes)
        return crc32(bytes)
      },
      complain: () => new Error('it has its hashes'),
    },
  }
}

it('holds the memory of all open packs to its limit, however little of it their bytes are', async () => {
  const store = new MemoryStore()
  await Repository.init(store, {})
  const repository = await openInMemory(store)
  const index = await repository.index()
  const threads = 1
  const room = new SharedRoom(threads, repository.config.chunkSize, OPEN_PACKS)
  // So that buffers are of this size.
  for (let i = 0; i < 100; i++) room.receive(1)
  expect(room.takeBuffer().byteLength).toBe(BUFFER)
  const lent = new Set<ArrayBufferLike>()
  const giveBack = room.giveBack.bind(room)
  room.giveBack = (buffer) => {
    lent.delete(buffer)
    giveBack(buffer)
  }
  const pins = repository.pins.begin()
  const uploads = Array.from({ length: 30 }, () => {
    const ingest = openIngest(repository, index, pins, { room })
    const run = new RunBuilder(0, ingest.packs)
    return { ingest, disk: { run, contentDefined: true, base: undefined } }
  })
  let most = 0
  for (let round = 0; round < 4; round++)
    for (const [i, { ingest, disk }] of uploads.entries()) {
      const buffer = room.takeBuffer(BUFFER)
      lent.add(buffer)
      most = Math.max(most, lent.size * BUFFER)
      const frames = new ReceivedFrames(buffer)
      const { frame, chunks } = frameOf(`${i} ${round}`)
      await frames.add(frame, chunks)
      await ingest.frames(disk, frames)
    }
  // What is under way is in memory, too.
  expect(most).toBeLessThanOrEqual(OPEN_PACKS + (threads * 4 + 2 + 2) * BUFFER)
  for (const { ingest } of uploads) await ingest.finish()
  expect(lent.size).toBe(0)
  expect(room.packBytes).toBe(0)
  pins.end()
})
