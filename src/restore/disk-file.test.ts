import { randomBytes } from 'node:crypto'
import { mkdtemp, open, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { sharedAlignedMemory } from '../aligned-memory.js'
import { DiskFile } from './disk-file.js'

const DISK_BYTES = 6 * 1024 * 1024 + 1234
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'everfold-disk-file-'))
})

afterAll(() => rm(folder, { recursive: true }))

/** Where pieces begin: anywhere, and often on a page, where the two ways of writing meet. */
const begins = fc.oneof(
  fc.integer({ min: 1, max: DISK_BYTES - 1 }),
  fc.integer({ min: 1, max: 1500 }).map((page) => page * 4096),
)

const aligned = Buffer.from(sharedAlignedMemory(DISK_BYTES + 4096))

it.each([
  ['memory of its own', Buffer.alloc(DISK_BYTES)],
  ['memory in which they lie within a block as on the disk', aligned.subarray(0, DISK_BYTES)],
  ['memory in which they lie otherwise', aligned.subarray(77, 77 + DISK_BYTES)],
])(
  'pieces of any length, written side by side in any order, make the disk, from %s',
  {
    timeout: 120_000,
  },
  async (_, disk) => {
    randomBytes(DISK_BYTES).copy(disk)
    const pieces = fc
      .uniqueArray(begins, { minLength: 1, maxLength: 24 })
      .map((cuts) => [0, ...cuts.sort((a, b) => a - b), DISK_BYTES])
      .chain((cuts) => {
        const all = cuts.slice(1).map((end, i) => ({ from: cuts[i] ?? 0, end }))
        return fc.shuffledSubarray(all, { minLength: all.length })
      })
    await fc.assert(
      fc.asyncProperty(pieces, async (order) => {
        const path = join(folder, 'disk')
        await rm(path, { force: true })
        const file = await open(path, 'wx')
        await file.truncate(DISK_BYTES)
        const target = new DiskFile(path, file)
        await Promise.all(order.map(({ from, end }) => target.write(disk.subarray(from, end), from)))
        await target.close()
        await file.close()
        expect(disk.equals(await readFile(path))).toBe(true)
      }),
      { numRuns: 25 },
    )
  },
)
