import { mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { SeededBytes } from '../../bench/seeded-bytes.js'
import { diskLike, KIB, MIB } from '../../test/disk-bytes.js'
import { SHA256_BYTES, sha256 } from '../checksum.js'
import { EXPECTS_HASH, EXPECTS_NOTHING, EXPECTS_ZEROS, runCompare } from './compare.js'

describe('comparing chunks with what is expected', () => {
  it('finds those that differ, in memory and in a file, also where they are larger than what is read at once', async () => {
    const random = new SeededBytes('compare')
    const lengths: number[] = []
    for (let total = 0; total < 5 * MIB; total += lengths.at(-1) ?? 0)
      lengths.push(random.below(10) === 0 ? 600 * KIB + random.below(MIB) : 1 + random.below(90 * KIB))
    const bytes = diskLike(
      'compare',
      lengths.reduce((sum, length) => sum + length, 0),
    )
    const expected = new Uint8Array(lengths.length)
    const hashes = Buffer.alloc(lengths.length * SHA256_BYTES)
    const want: number[] = []
    let at = 0
    for (const [i, length] of lengths.entries()) {
      const chunk = bytes.subarray(at, at + length)
      at += length
      const kind = random.below(5)
      if (kind === 0) chunk.fill(0)
      if (kind === 1) chunk.fill(0).writeUInt8(1, random.below(length))
      expected[i] = kind < 2 ? EXPECTS_ZEROS : kind === 2 ? EXPECTS_NOTHING : EXPECTS_HASH
      hashes.set(sha256(chunk), i * SHA256_BYTES)
      if (kind === 4) chunk[random.below(length)]! ^= 1
      want.push(kind === 0 || kind === 3 ? 1 : 0)
    }
    const job = { lengths: Uint32Array.from(lengths), expected, hashes }
    const { plain, same } = runCompare({ ...job, from: { plain: bytes.buffer } })
    expect(Array.from(same ?? [])).toEqual(want)
    expect(plain).toBe(bytes.buffer)

    const folder = await mkdtemp(join(tmpdir(), 'everfold-test-'))
    // There other things lie before and between them.
    const offsets = new Float64Array(lengths.length)
    const written: Buffer[] = []
    let end = 0
    at = 0
    for (const [i, length] of lengths.entries()) {
      const gap = i === 0 || random.below(3) === 0 ? 1 + random.below(90 * KIB) : 0
      offsets[i] = end + gap
      written.push(Buffer.alloc(gap, 7), bytes.subarray(at, at + length))
      end += gap + length
      at += length
    }
    await writeFile(join(folder, 'disk'), Buffer.concat(written))
    const file = await open(join(folder, 'disk'))
    const from = { descriptor: file.fd, offsets }
    expect(Array.from(runCompare({ ...job, from }).same ?? [])).toEqual(want)
    // Beyond its end nothing can be read: that is told apart from what differs.
    const beyond = offsets.map((offset) => offset + 1)
    expect(runCompare({ ...job, from: { ...from, offsets: beyond } }).same).toBeUndefined()
    await file.close()
    await rm(folder, { recursive: true })
  })
})
