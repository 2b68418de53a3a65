import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { describe, expect, it, vi } from 'vitest'

import { SeededBytes } from '../../bench/seeded-bytes.js'
import { KIB, MIB } from '../../test/disk-bytes.js'
import { MemoryTarget, sourceOf } from '../../test/life.js'
import { type ByteExtent, ByteExtents } from '../feed/byte-extents.js'
import { MemoryIndex } from '../index/memory-index.js'
import type { Crew } from '../pack/crew.js'
import { InlineCrew } from '../pack/inline-crew.js'
import { planDisk } from '../restore/plan.js'
import { restoreDisk } from '../restore/restore.js'
import { LocalStore } from '../store/local-store.js'
import { MemoryStore } from '../store/memory-store.js'
import { type BackupResult, backUp } from './backup.js'
import { batchBytesFor } from './ingest.js'
import { type InitOptions, Repository } from './repository.js'

const MiB = 1024 * 1024

async function repositoryWith(options: InitOptions, crew: Crew = new InlineCrew()): Promise<Repository> {
  const store = new MemoryStore()
  await Repository.init(store, options)
  const index = new MemoryIndex()
  return Repository.open({ store, crew, openIndex: async () => index })
}

function take(
  repository: Repository,
  bytes: Uint8Array,
  chunker: 'fixed' | 'cdc',
  changed?: Iterable<ByteExtent>,
): Promise<BackupResult> {
  const extents = changed === undefined ? undefined : ByteExtents.from(changed)
  return backUp(repository, {
    machine: 'm',
    disks: [{ id: 'd', chunker, source: sourceOf(bytes), changed: extents }],
  })
}

async function readBack(repository: Repository, index: number): Promise<Buffer> {
  const { state } = await repository.chains.get('m')
  const plan = await planDisk(repository, state, index, 'd')
  const target = new MemoryTarget(plan.sizeBytes)
  await restoreDisk(repository, plan, target, () => {})
  plan.pins.end()
  expect(target.isWhole).toBe(true)
  return target.bytes
}

describe('a disk of many batches', () => {
  it.each(['fixed', 'cdc'] as const)(
    'is stored and read back, its repetitions once (%s)',
    async (chunker) => {
      const repository = await repositoryWith({ chunkSize: 65_536, packSize: 2 * MiB })
      const random = new SeededBytes('batches')
      const noise = random.next(5 * MiB)
      const bytes = Buffer.concat([noise, Buffer.alloc(9 * MiB), noise, random.next(5 * MiB + 77)])
      const first = await take(repository, bytes, chunker)
      expect(first.newBytes).toBeGreaterThanOrEqual(10 * MiB)
      expect(first.newBytes).toBeLessThan(10.3 * MiB)
      expect(Buffer.compare(await readBack(repository, 0), bytes)).toBe(0)
      expect((await take(repository, bytes, chunker)).changedBytes).toBe(0)
    },
  )

  it('may have chunks as large as a batch', async () => {
    for (const chunker of ['fixed', 'cdc'] as const) {
      const repository = await repositoryWith({ chunkSize: 4 * MiB })
      const bytes = new SeededBytes('large').next(13 * MiB + 5)
      await take(repository, bytes, chunker)
      expect(Buffer.compare(await readBack(repository, 0), bytes)).toBe(0)
    }
  })
})

describe('a feed of very many tiny extents', () => {
  it.each(['fixed', 'cdc'] as const)(
    'is stored, though they are more chunks than a pack can number (%s)',
    async (chunker) => {
      const repository = await repositoryWith({ chunkSize: 4096 })
      const bytes = Buffer.alloc(MiB)
      await take(repository, bytes, chunker)
      const extents: ByteExtent[] = []
      for (let offset = 0; offset + 8 <= bytes.length; offset += 14) {
        bytes.writeDoubleLE(offset + 0.5, offset)
        extents.push({ offset, length: 8 })
      }
      expect(extents.length).toBeGreaterThan(0xffff)
      const result = await take(repository, bytes, chunker, extents)
      expect(result.readBytes).toBe(extents.length * 8)
      expect(Buffer.compare(await readBack(repository, 1), bytes)).toBe(0)
    },
  )
})

describe('work that fails on another thread', () => {
  const bytes = new SeededBytes('failing').next(9 * MiB)

  it.each(['cut', 'hash', 'encode'] as const)(
    'fails the backup with its error, and nothing else (%s)',
    async (job) => {
      const crew = new InlineCrew()
      let calls = 0
      const original = crew[job].bind(crew) as (job: never) => Promise<never>
      crew[job] = async (given: never) => {
        // The second is done, badly, while the first still takes its time.
        if (++calls === 2) throw new Error(`no ${job}`)
        await setTimeout(20)
        return original(given)
      }
      const repository = await repositoryWith({ chunkSize: 65_536 }, crew)
      const unhandled: unknown[] = []
      const note = (error: unknown): void => void unhandled.push(error)
      process.on('unhandledRejection', note)
      try {
        await expect(take(repository, bytes, 'cdc')).rejects.toThrow(`no ${job}`)
        await setTimeout(50)
      } finally {
        process.off('unhandledRejection', note)
      }
      expect(unhandled).toEqual([])
      await expect(repository.chains.get('m')).rejects.toMatchObject({ code: 'MACHINE_UNKNOWN' })
    },
  )
})

describe('a pack that cannot be sealed', () => {
  it.each([
    ['the last one', 64 * MIB],
    ['one before it', 2 * MIB],
  ])('leaves nothing of what was written of it early: %s', async (_, packSize) => {
    const folder = await mkdtemp(join(tmpdir(), 'everfold-test-'))
    try {
      const store = await LocalStore.open(folder, { create: true })
      await Repository.init(store, { packSize })
      const crew = new InlineCrew()
      const encode = crew.encode.bind(crew)
      crew.encode = async (job) => {
        const result = await encode(job)
        result.plainLength[0] = (result.plainLength[0] ?? 0) + 1
        return result
      }
      const index = new MemoryIndex()
      const repository = await Repository.open({ store, crew, openIndex: async () => index })
      const begin = vi.spyOn(store, 'begin')
      const bytes = new SeededBytes('unsealed').next(9 * MIB)
      await expect(take(repository, bytes, 'fixed')).rejects.toThrow("a frame's length does not add up")
      expect(begin).toHaveBeenCalled()
      expect(await readdir(join(folder, 'tmp'))).toEqual([])
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})

describe('the size of a batch', () => {
  it('gives each thread several, and is neither tiny nor more than there may be', () => {
    expect(batchBytesFor(8 * MIB * 1024, 2, 8 * MIB)).toBe(8 * MIB)
    expect(batchBytesFor(Number.POSITIVE_INFINITY, 2, 8 * MIB)).toBe(8 * MIB)
    expect(batchBytesFor(25 * MIB, 2, 8 * MIB)).toBe((25 / 8) * MIB)
    expect(batchBytesFor(1, 2, 8 * MIB)).toBe(2 * MIB)
    expect(batchBytesFor(25 * MIB, 2, 64 * KIB)).toBe(64 * KIB)
  })
})
