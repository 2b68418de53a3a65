/** The framed stream and offers, through the real service: what they bring, and everything that is wrong with them. */

import { readFile } from 'node:fs/promises'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ErrorCode } from '../src/errors.js'
import { diskLike, KIB, MIB, noise, overwritten } from './disk-bytes.js'
import type { Json } from './everfold.js'
import {
  type Chunk,
  chunksRecord,
  dataRecord,
  framedStream,
  knownRecord,
  record,
  sha256,
  withWindow,
  zerosRecord,
} from './framed-stream.js'
import { problem, Served } from './server-process.js'
import { Uploader } from './uploads.js'
import { expectSame, Workspace } from './workspace.js'

const EXTENTS = { 'Content-Type': 'application/vnd.everfold.extents' }
const HASHES = { 'Content-Type': 'application/vnd.everfold.hashes' }
const CHUNK = 64 * KIB

let at: Workspace
let served: Served
let admin: string
let up: Uploader
let machines = 0

beforeAll(async () => {
  at = await Workspace.make()
  served = await Served.start(at)
  admin = served.adminToken ?? ''
  up = new Uploader(served, admin)
})
afterAll(async () => {
  expect(await served.stop()).toBe(0)
  expect(served.stderr).not.toMatch(/UnhandledPromise|TypeError|Warning|"level":50/)
  await at.ok('verify')
  await at.remove()
})

/** A session of a new machine with one disk. */
async function begun(sizeBytes: number, chunker = 'cdc'): Promise<{ machine: string; session: string }> {
  const machine = `m${++machines}`
  const { session } = await up.begin(machine, { disks: [{ id: 'vda', sizeBytes, chunker }] })
  return { machine, session }
}

function send(session: string, body: Buffer, headers: Record<string, string> = EXTENTS): Promise<Response> {
  return served.fetch(`/v1/sessions/${session}/disks/vda/stream`, admin, { method: 'POST', headers, body })
}

async function sent(session: string, records: readonly Buffer[]): Promise<Json> {
  const response = await send(session, framedStream(records))
  const json = await response.json()
  expect(response.status, JSON.stringify(json)).toBe(200)
  return json
}

async function refused(code: ErrorCode, session: string, body: Buffer): Promise<Json> {
  return problem(code, await send(session, body))
}

/** What an offer is answered: which chunks are to be sent. */
async function lacking(session: string, chunks: readonly Chunk[]): Promise<boolean[]> {
  const body = Buffer.concat(chunks.map(({ bytes }) => sha256(bytes)))
  const path = `/v1/sessions/${session}/offers`
  const response = await served.fetch(path, admin, { method: 'POST', headers: HASHES, body })
  expect(response.status).toBe(200)
  const bitmap = Buffer.from(await response.arrayBuffer())
  expect(bitmap).toHaveLength(Math.ceil(chunks.length / 8))
  return chunks.map((_, i) => ((bitmap[i >> 3] ?? 0) & (1 << (i & 7))) !== 0)
}

function chunksOf(disk: Buffer, size: number): Chunk[] {
  const chunks: Chunk[] = []
  for (let offset = 0; offset < disk.length; offset += size)
    chunks.push({ offset, bytes: disk.subarray(offset, offset + size) })
  return chunks
}

function isZero({ bytes }: Chunk): boolean {
  return bytes.every((byte) => byte === 0)
}

/** Chunks in records of a few. */
function grouped(chunks: readonly Chunk[], codec: 0 | 1, count = 6): Buffer[] {
  const records: Buffer[] = []
  for (let i = 0; i < chunks.length; i += count) records.push(chunksRecord(chunks.slice(i, i + count), codec))
  return records
}

describe('a framed stream', () => {
  it.each(['cdc', 'fixed'])('brings a disk in all of its forms, in any order: %s', async (chunker) => {
    const disk = Buffer.concat([noise('a', MIB), Buffer.alloc(MIB), diskLike('b', MIB), noise('c', 777)])
    const { machine, session } = await begun(disk.length, chunker)
    const told = await sent(session, [
      dataRecord(3 * MIB, disk.subarray(3 * MIB)),
      zerosRecord(MIB, MIB),
      ...grouped(chunksOf(disk.subarray(0, MIB), CHUNK), 0),
      ...grouped(
        chunksOf(disk.subarray(2 * MIB, 3 * MIB), chunker === 'cdc' ? 10_000 : CHUNK)
          .map(({ offset, bytes }) => ({ offset: offset + 2 * MIB, bytes }))
          .filter((chunk) => !isZero(chunk)),
        1,
      ),
      zerosRecord(0, 5),
      dataRecord(0, disk.subarray(0, 5)),
    ])
    expect(told.receivedBytes).toBeGreaterThan(MIB)
    for (const [offset, bytes] of chunksOf(disk, CHUNK)
      .filter(isZero)
      .map((chunk) => [chunk.offset, chunk.bytes] as const))
      await sent(session, [zerosRecord(offset, bytes.length)])
    const { missing } = (await up.get(session)).disks[0]
    for (const { offset, length } of missing as { offset: number; length: number }[])
      await sent(session, [dataRecord(offset, disk.subarray(offset, offset + length))])
    const { point } = await up.commit(session)
    await up.expectDisk(machine, point, disk)
  })

  it('keeps a frame as it came, and stores no chunk twice', async () => {
    const disk = diskLike('frames', 2 * MIB)
    const chunks = chunksOf(disk, CHUNK)
    const { machine, session } = await begun(disk.length, 'fixed')
    const first = await sent(session, grouped(chunks, 1, 8))
    expect(first.storedBytes).toBeGreaterThan(0)
    expect(first.newBytes).toBeLessThanOrEqual(disk.length)
    const { point } = await up.commit(session)
    await up.expectDisk(machine, point, disk)
    const other = await begun(disk.length, 'fixed')
    expect(
      await lacking(
        other.session,
        chunks.filter((chunk) => !isZero(chunk)),
      ),
    ).not.toContain(true)
    const again = await sent(other.session, grouped(chunks, 1, 8))
    expect(again).toEqual({ receivedBytes: disk.length, newBytes: 0, storedBytes: 0 })
    await up.expectDisk(other.machine, (await up.commit(other.session)).point, disk)
    // Half of each frame is new: those chunks alone are stored.
    const half = await begun(disk.length, 'fixed')
    const mixed = chunks.map(({ offset, bytes }, i) => ({
      offset,
      bytes: i % 2 === 0 ? bytes : noise(`${i}`, bytes.length),
    }))
    const told = await sent(half.session, grouped(mixed, 1, 8))
    expect(told.newBytes).toBe(
      mixed.filter((_, i) => i % 2 === 1).reduce((sum, { bytes }) => sum + bytes.length, 0),
    )
    const expected = Buffer.concat(mixed.map(({ bytes }) => bytes))
    await up.expectDisk(half.machine, (await up.commit(half.session)).point, expected)
  })

  it('brings frames that are known, new in part, and new, all in one', async () => {
    const known = chunksOf(noise('known frame', 4 * CHUNK), CHUNK)
    const before = await begun(4 * CHUNK, 'fixed')
    await sent(before.session, grouped(known, 1, 4))
    await up.commit(before.session)
    const fresh = chunksOf(diskLike('fresh frames', 6 * CHUNK), CHUNK)
    const bytes = [known[0], fresh[0], fresh[1], known[1], known[2], known[3], fresh[2], fresh[3], fresh[4]]
    const chunks = bytes.map((chunk, i) => ({ offset: i * CHUNK, bytes: chunk!.bytes }))
    const disk = Buffer.concat(chunks.map((chunk) => chunk.bytes))
    const { machine, session } = await begun(disk.length, 'fixed')
    const frames = [chunks.slice(0, 4), chunks.slice(4, 6), chunks.slice(6)]
    const told = await sent(
      session,
      frames.flatMap((frame) => grouped(frame, 1, 4)),
    )
    const isNew = fresh.slice(0, 5).filter((chunk) => !isZero(chunk))
    expect(told.newBytes).toBe(isNew.length * CHUNK)
    await up.expectDisk(machine, (await up.commit(session)).point, disk)
  })

  it('brings frames that ask for a larger window than is given, and a part of one can be restored, too', async () => {
    const disk = Buffer.concat(
      Array.from({ length: 8 }, (_, i) => Buffer.alloc(CHUNK, `${i} of a large window `)),
    )
    const first = await begun(disk.length, 'fixed')
    await sent(first.session, [chunksRecord(chunksOf(disk, CHUNK), 1, (frame) => withWindow(frame, 31))])
    await up.commit(first.session)
    const half = disk.subarray(0, 4 * CHUNK)
    const other = await begun(half.length, 'fixed')
    await sent(other.session, [knownRecord(chunksOf(half, CHUNK))])
    const { point } = await up.commit(other.session)
    expect(await served.stop()).toBe(0)
    await at.ok('restore', other.machine, point, `vda=${at.path('half')}`)
    served = await Served.start(at)
    up = new Uploader(served, admin)
    expectSame(await readFile(at.path('half')), half, 'the half')
  })

  it('takes all-zero chunks as zeros, and what repeats within a frame once', async () => {
    const repeated = noise('repeated', CHUNK)
    const disk = Buffer.concat([repeated, Buffer.alloc(CHUNK), repeated, repeated])
    const { machine, session } = await begun(disk.length)
    const told = await sent(session, [chunksRecord(chunksOf(disk, CHUNK), 1)])
    expect(told.newBytes).toBe(CHUNK)
    await up.expectDisk(machine, (await up.commit(session)).point, disk)
  })

  it('names what is known: offered, or come before', async () => {
    const disk = noise('known', MIB)
    const chunks = chunksOf(disk, CHUNK)
    const first = await begun(disk.length)
    expect(await lacking(first.session, chunks)).not.toContain(false)
    const { details } = await refused('CHUNK_UNKNOWN', first.session, framedStream([knownRecord(chunks)]))
    expect(details).toMatchObject({
      count: 16,
      chunks: chunks.map(({ bytes }) => sha256(bytes).toString('hex')),
    })
    // In an earlier record of the same stream.
    const twice = chunks.map(({ offset, bytes }) => ({ offset: offset + MIB, bytes }))
    const both = await begun(2 * MIB)
    await sent(both.session, [...grouped(chunks, 0), knownRecord(twice)])
    await up.expectDisk(both.machine, (await up.commit(both.session)).point, Buffer.concat([disk, disk]))
    // In a point.
    expect(await lacking(first.session, chunks)).not.toContain(true)
    const told = await sent(first.session, [knownRecord(chunks)])
    expect(told).toEqual({ receivedBytes: MIB, newBytes: 0, storedBytes: 0 })
    await up.expectDisk(first.machine, (await up.commit(first.session)).point, disk)
    // With another length than it has, it is another chunk.
    const wrong = await begun(MIB)
    const short = Buffer.from(knownRecord(chunks))
    short.writeUInt32LE(1000, 8 + 8)
    expect((await refused('CHUNK_UNKNOWN', wrong.session, framedStream([short]))).details.count).toBe(1)
  })

  it('of changes leaves the rest as it was; what is as it was is not stored', async () => {
    const disk = noise('base', MIB)
    const { machine, session } = await begun(disk.length)
    await sent(session, grouped(chunksOf(disk, CHUNK), 0))
    await up.commit(session)
    const disks = [{ id: 'vda', sizeBytes: disk.length }]
    const change = noise('change', CHUNK)
    const changed = overwritten(disk, 5 * CHUNK, change)
    const next = await up.begin(machine, { disks, parent: 'newest' })
    await sent(next.session, [chunksRecord([{ offset: 5 * CHUNK, bytes: change }], 0)])
    const point = await up.commit(next.session)
    expect(point).toMatchObject({ kind: 'incremental', changedBytes: CHUNK, newBytes: CHUNK })
    await up.expectDisk(machine, point.point, changed)
    const whole = await up.begin(machine, { disks })
    await sent(whole.session, grouped(chunksOf(changed, CHUNK), 0))
    expect(await up.commit(whole.session)).toMatchObject({ changedBytes: 0, newBytes: 0 })
    await up.expectDisk(machine, 'latest', changed)
  })

  it('outlives a restart after each request, and collections', async () => {
    const own = await Workspace.make()
    const disk = diskLike('restarted', 2 * MIB)
    let service = await Served.start(own)
    const token = service.adminToken ?? ''
    const disks = [{ id: 'vda', sizeBytes: disk.length, chunker: 'fixed' }]
    const { session } = await new Uploader(service, token).begin('m', { disks })
    for (const chunks of [chunksOf(disk, CHUNK).slice(0, 16), chunksOf(disk, CHUNK).slice(16)]) {
      const body = framedStream(grouped(chunks, 1))
      const path = `/v1/sessions/${session}/disks/vda/stream`
      await service.ok(path, token, { method: 'POST', headers: EXTENTS, body })
      await service.stop('SIGKILL')
      for (let round = 0; round < 3; round++) await own.ok('gc')
      service = await Served.start(own)
    }
    await new Uploader(service, token).commit(session)
    await service.stop()
    await own.expectDisk('m', 'latest', disk)
    await own.remove()
  })
})

describe('a stream that is wrong', () => {
  const bytes = noise('wrong', CHUNK)
  const chunk = { offset: 0, bytes }
  const good = chunksRecord([chunk], 0)

  function with8(at: number, value: number): Buffer {
    const copy = Buffer.from(good)
    copy.writeUInt8(value, at)
    return copy
  }

  it.each<[string, ErrorCode, Buffer]>([
    ['is empty', 'STREAM_INVALID', Buffer.alloc(0)],
    ['begins with something else', 'STREAM_INVALID', Buffer.from('GET / HTTP/1.1')],
    ['is of another version', 'STREAM_INVALID', Buffer.from('4556465802000000', 'hex')],
    ['has flags', 'STREAM_INVALID', Buffer.from('4556465801010000', 'hex')],
    ['ends without END', 'STREAM_INVALID', framedStream([good]).subarray(0, -16)],
    ['ends within END', 'STREAM_INVALID', framedStream([good]).subarray(0, -1)],
    ['goes on after END', 'STREAM_INVALID', Buffer.concat([framedStream([good]), Buffer.alloc(1)])],
    [
      'counts wrong',
      'STREAM_INVALID',
      Buffer.concat([framedStream([good]).subarray(0, -8), Buffer.alloc(8)]),
    ],
    ['has a record of no kind', 'STREAM_INVALID', framedStream([record(5, Buffer.alloc(8))])],
    ['has a record with flags', 'STREAM_INVALID', framedStream([with8(1, 1)])],
    ['has DATA of nothing', 'STREAM_INVALID', framedStream([dataRecord(0, Buffer.alloc(0))])],
    ['has DATA behind the end', 'STREAM_INVALID', framedStream([dataRecord(CHUNK, bytes)])],
    [
      'has DATA of 2 GiB',
      'STREAM_INVALID',
      framedStream(
        [with8(0, 1), Buffer.alloc(0)].map((one) =>
          one.length > 0 ? (one.writeUInt32LE(2 ** 31, 4), one) : one,
        ),
      ),
    ],
    ['has ZEROS of nothing', 'STREAM_INVALID', framedStream([zerosRecord(0, 0)])],
    ['has ZEROS behind the end', 'STREAM_INVALID', framedStream([zerosRecord(1, CHUNK)])],
    ['has ZEROS at 2^53', 'STREAM_INVALID', framedStream([zerosRecord(2 ** 53, 1)])],
    ['names no chunk as KNOWN', 'STREAM_INVALID', framedStream([record(3, Buffer.alloc(0))])],
    ['names half a chunk', 'STREAM_INVALID', framedStream([record(3, Buffer.alloc(22))])],
    ['has CHUNKS of no codec', 'STREAM_INVALID', framedStream([with8(8, 9)])],
    ['has no CHUNKS', 'STREAM_INVALID', framedStream([with8(12, 0)])],
    ['has more CHUNKS than it says', 'STREAM_INVALID', framedStream([with8(14, 255)])],
    [
      'has a chunk without bytes',
      'STREAM_INVALID',
      framedStream([chunksRecord([{ offset: 0, bytes: Buffer.alloc(0) }], 0)]),
    ],
    [
      'has a chunk that is too large',
      'STREAM_INVALID',
      framedStream([chunksRecord([{ offset: 0, bytes: noise('x', CHUNK + 1) }], 0)]),
    ],
    [
      'has a chunk without its hash',
      'HASH_MISMATCH',
      framedStream([with8(8 + 8 + 12, 1 ^ (good[8 + 8 + 12] ?? 0))]),
    ],
    ['has a frame that is none', 'HASH_MISMATCH', framedStream([with8(8, 1)])],
    [
      'has chunks over the grid',
      'STREAM_INVALID',
      framedStream([chunksRecord([{ offset: 1, bytes: noise('x', CHUNK) }], 0)]),
    ],
  ])('because it %s is refused, and changes nothing', async (_why, code, body) => {
    const { session } = await begun(CHUNK, 'fixed')
    const told = await refused(code, session, body)
    expect(told.detail.length).toBeGreaterThan(20)
    expect((await up.get(session)).disks[0].receivedBytes).toBe(0)
    await up.drop(session)
  })

  it('because of two frames in one is refused: the format does not have it', async () => {
    const halves = [0, 1].map((i) => ({ offset: i * KIB, bytes: Buffer.alloc(KIB, `half ${i} `) }))
    const [first = Buffer.alloc(0), second = Buffer.alloc(0)] = halves.map((one) => chunksRecord([one], 1))
    const head = Buffer.from('0100000002000000', 'hex')
    const entries = [first, second].map((one) => one.subarray(16, 60))
    const payload = Buffer.concat([head, ...entries, first.subarray(60), second.subarray(60)])
    const { session } = await begun(CHUNK)
    await refused('HASH_MISMATCH', session, framedStream([record(4, payload)]))
    await sent(session, [chunksRecord(halves, 1)])
    await up.drop(session)
  })

  it('is always a 4xx with a code, whatever is changed in it; what is taken is what was meant', async () => {
    const disk = diskLike('mutated', 512 * KIB)
    const chunks = chunksOf(disk, CHUNK)
    const stream = framedStream([
      chunksRecord(chunks.slice(0, 4), 1),
      dataRecord(4 * CHUNK, disk.subarray(4 * CHUNK, 5 * CHUNK)),
      zerosRecord(5 * CHUNK, CHUNK),
      knownRecord(chunks.slice(0, 2)),
    ])
    const { session } = await begun(disk.length)
    const place = fc.oneof(
      fc.nat(400),
      fc.nat(stream.length - 1),
      fc.nat(200).map((n) => stream.length - 1 - n),
    )
    const change = fc.oneof(
      fc.tuple(fc.constant('set'), place, fc.nat(255)),
      fc.tuple(fc.constant('cut'), place, fc.nat(64)),
      fc.tuple(fc.constant('insert'), place, fc.nat(64)),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
        let body = Buffer.from(stream)
        for (const [kind, at, value] of changes)
          if (kind === 'set') body.writeUInt8(value, Math.min(at, body.length - 1))
          else if (kind === 'cut') body = Buffer.concat([body.subarray(0, at), body.subarray(at + 1 + value)])
          else body = Buffer.concat([body.subarray(0, at), noise(`${value}`, 1 + value), body.subarray(at)])
        const response = await send(session, body)
        const { code } = (await response.json()) as Json
        if (body.equals(stream)) expect(response.status).toBe(200)
        else
          expect(['STREAM_INVALID', 'HASH_MISMATCH', 'CHUNK_UNKNOWN'], `${response.status}`).toContain(code)
      }),
      { numRuns: 150 },
    )
    await up.drop(session)
  }, 120_000)

  it('of another type, or encoded, is refused', async () => {
    const { session } = await begun(CHUNK)
    for (const headers of [
      { 'Content-Type': 'application/octet-stream' },
      { ...EXTENTS, 'Content-Encoding': 'gzip' },
      {},
    ])
      await problem('MEDIA_TYPE_UNSUPPORTED', await send(session, framedStream([good]), headers))
    await up.drop(session)
  })

  it('that breaks off is kept as far as it came', async () => {
    const disk = noise('broken', 2 * MIB)
    const { machine, session } = await begun(disk.length)
    const body = framedStream(grouped(chunksOf(disk, CHUNK), 0, 1))
    await up.cutOff('POST', `/v1/sessions/${session}/disks/vda/stream`, body, MIB, EXTENTS['Content-Type'])
    let received = 0
    while (received === 0) received = (await up.get(session)).disks[0].receivedBytes
    expect(received % CHUNK).toBe(0)
    expect(received).toBeLessThanOrEqual(MIB)
    await up.put(session, 'vda', received, disk.subarray(received))
    await up.expectDisk(machine, (await up.commit(session)).point, disk)
  })
})

describe('an offer', () => {
  it.each<[string, ErrorCode, Buffer]>([
    ['of nothing', 'ARGUMENT_INVALID', Buffer.alloc(0)],
    ['of half a hash', 'ARGUMENT_INVALID', Buffer.alloc(48)],
    ['of too many', 'BODY_TOO_LARGE', Buffer.alloc(65_537 * 32)],
  ])('%s is refused', async (_what, code, body) => {
    const { session } = await begun(CHUNK)
    const path = `/v1/sessions/${session}/offers`
    await served.fails(code, path, admin, { method: 'POST', headers: HASHES, body })
    await served.fails('MEDIA_TYPE_UNSUPPORTED', path, admin, { method: 'POST', headers: EXTENTS, body })
    await up.drop(session)
  })

  it('holds what it found, so that no collection takes it away', async () => {
    const disk = noise('held', MIB)
    const chunks = chunksOf(disk, CHUNK)
    const first = await begun(disk.length)
    await sent(first.session, grouped(chunks, 0))
    await up.commit(first.session)
    const { machine, session } = await begun(disk.length)
    expect(await lacking(session, chunks)).not.toContain(true)
    await served.ok(`/v1/machines/${first.machine}?confirm=${first.machine}`, admin, { method: 'DELETE' })
    const job = await served.post('/v1/jobs', admin, { kind: 'gc', rounds: 4 })
    await (await served.fetch(`/v1/jobs/${job.id}/events`, admin)).text()
    await sent(session, [knownRecord(chunks)])
    await up.expectDisk(machine, (await up.commit(session)).point, disk)
  })

  it('of what a collection has condemned is told that it is lacking', async () => {
    const disk = noise('condemned', MIB)
    const chunks = chunksOf(disk, CHUNK)
    const first = await begun(disk.length)
    await sent(first.session, grouped(chunks, 0))
    await up.drop(first.session)
    const job = await served.post('/v1/jobs', admin, { kind: 'gc', rounds: 1 })
    await (await served.fetch(`/v1/jobs/${job.id}/events`, admin)).text()
    const { machine, session } = await begun(disk.length)
    expect(await lacking(session, chunks)).not.toContain(false)
    await refused('CHUNK_UNKNOWN', session, framedStream([knownRecord(chunks)]))
    await sent(session, grouped(chunks, 0))
    await up.expectDisk(machine, (await up.commit(session)).point, disk)
  })

  it('of any number is answered bit by bit', async () => {
    const { session } = await begun(CHUNK)
    const known = noise('bit', 1000)
    await sent(session, [dataRecord(0, Buffer.concat([known, noise('rest', CHUNK - 1000)]))])
    await sent(session, [chunksRecord([{ offset: 0, bytes: known }], 0)])
    await fc.assert(
      fc.asyncProperty(fc.array(fc.boolean(), { minLength: 1, maxLength: 40 }), async (wanted) => {
        const chunks = wanted.map((has, i) => ({ offset: 0, bytes: has ? known : noise(`none ${i}`, 10) }))
        expect(await lacking(session, chunks)).toEqual(wanted.map((has) => !has))
      }),
      { numRuns: 30 },
    )
    await up.drop(session)
  })
})
