/** Holes of a disk that is uploaded. */

import { afterAll, beforeAll, expect, it } from 'vitest'
import type { ByteRange } from '../src/byte-range.js'
import { EverfoldClient } from '../src/client/everfold-client.js'
import { diskLike, MIB, noise } from './disk-bytes.js'
import { Served } from './server-process.js'
import { Workspace } from './workspace.js'

const SIZE = 66 * MIB + 5

let at: Workspace
let served: Served
let client: EverfoldClient

beforeAll(async () => {
  at = await Workspace.make()
  served = await Served.start(at)
  client = new EverfoldClient({ url: served.url, token: served.adminToken ?? '' })
})
afterAll(async () => {
  expect(await served.stop()).toBe(0)
  await at.remove()
})

/** Zeros but for pieces at some offsets. */
function disk(pieces: Readonly<Record<number, Buffer>>): Buffer {
  const bytes = Buffer.alloc(SIZE)
  for (const [offset, piece] of Object.entries(pieces)) bytes.set(piece, Number(offset))
  return bytes
}

/** Backs up a disk with these holes. @returns the point, and what was read */
async function backUp(
  bytes: Buffer,
  holes: readonly ByteRange[],
  changed?: readonly ByteRange[],
): Promise<{ readonly point: string; readonly readBytes: number; readonly asked: boolean }> {
  let readBytes = 0
  let asked = false
  const source = {
    sizeBytes: SIZE,
    read: async (into: Uint8Array, offset: number) => {
      readBytes += into.length
      into.set(bytes.subarray(offset, offset + into.length))
    },
    holes: async () => {
      asked = true
      return holes
    },
  }
  const { point } = await client.backUp({ machine: 'm', disks: [{ id: 'vda', source, changed }] })
  return { point, readBytes, asked }
}

it('reads no holes of a whole disk, nor of a long feed, and all that a short one names', async () => {
  const old = diskLike('old', 2 * MIB)
  const data = noise('data', MIB)
  const first = disk({ 0: data, [10 * MIB]: old, [65 * MIB]: data })
  const firstHoles = [{ offset: 20 * MIB, length: 40 * MIB }]
  const whole = await backUp(first, firstHoles)
  expect(whole).toMatchObject({ asked: true, readBytes: SIZE - 40 * MIB })

  const trimmed = disk({ 0: noise('new', MIB), [65 * MIB]: data })
  const long = await backUp(trimmed, [{ offset: MIB, length: 64 * MIB }], [{ offset: 0, length: 65 * MIB }])
  expect(long).toMatchObject({ asked: true, readBytes: MIB })

  const written = disk({ 0: noise('new', MIB), [30 * MIB]: data, [65 * MIB]: data })
  const short = await backUp(written, [{ offset: 0, length: SIZE }], [{ offset: 30 * MIB, length: 2 * MIB }])
  expect(short).toMatchObject({ asked: false, readBytes: 2 * MIB })

  for (const [{ point }, bytes] of [
    [whole, first],
    [long, trimmed],
    [short, written],
  ] as const) {
    const restored = await client.disk('m', point, 'vda')
    for await (const piece of restored.read([{ offset: 0, length: SIZE }]))
      expect(
        Buffer.compare(piece.bytes, bytes.subarray(piece.offset, piece.offset + piece.bytes.length)),
      ).toBe(0)
  }
})
