import { describe, expect, it, vi } from 'vitest'
import { noise } from '../../test/disk-bytes.js'
import { backUpBytes, openInMemory, restoreBytes } from '../../test/memory-repository.js'
import { sha256 } from '../checksum.js'
import { MemoryStore } from '../store/memory-store.js'
import { Repository } from './repository.js'
import { lackingOf } from './session/offers.js'
import { isOpen, Sessions } from './session/sessions.js'

const PACKS = 150
const AT_ONCE_MAX = 64
const CHUNK = 4096

/** A repository with a chunk in each of many packs. */
async function withPacks(): Promise<{ repository: Repository; chunks: readonly Buffer[] }> {
  const store = new MemoryStore()
  await Repository.init(store, { chunkSize: CHUNK })
  const repository = await openInMemory(store)
  const chunks = Array.from({ length: PACKS }, (_, i) => noise(`pack ${i}`, CHUNK))
  for (const [i, chunk] of chunks.entries())
    await backUpBytes(repository, `m${i}`, chunk, { chunker: 'fixed' })
  return { repository, chunks }
}

/** How many directories are read at the same time, at most, from now on. */
function watchDirectories({ catalog }: Repository): { most: number; all: number } {
  const seen = { most: 0, all: 0 }
  const original = catalog.directory.bind(catalog)
  let now = 0
  vi.spyOn(catalog, 'directory').mockImplementation(async (id) => {
    seen.all++
    seen.most = Math.max(seen.most, ++now)
    await new Promise(setImmediate)
    try {
      return await original(id)
    } finally {
      now--
    }
  })
  return seen
}

describe('of very many packs, a few are looked at together', () => {
  it('when their chunks are offered', async () => {
    const { repository, chunks } = await withPacks()
    const { session } = await new Sessions(repository).create(
      'x',
      { machine: 'other', disks: [{ id: 'vda', sizeBytes: CHUNK }] },
      { all: 1, own: 1 },
    )
    if (!isOpen(session)) throw new Error('it was committed already')
    const seen = watchDirectories(repository)
    const unknown = [7, 77, 150].map((at) => [at, noise(`unknown ${at}`, CHUNK)] as const)
    const offered = [...chunks]
    for (const [at, bytes] of unknown) offered.splice(at, 0, bytes)
    const lacking = await lackingOf(repository, session, Buffer.concat(offered.map((bytes) => sha256(bytes))))
    const bits = offered.map((_, i) => ((lacking[i >> 3] ?? 0) >> (i & 7)) & 1)
    expect(bits).toEqual(offered.map((bytes) => (chunks.includes(bytes) ? 0 : 1)))
    expect(lacking).toHaveLength(Math.ceil(offered.length / 8))
    expect(seen.all).toBe(PACKS)
    expect(seen.most).toBeLessThanOrEqual(AT_ONCE_MAX)
  })

  it('when they are backed up again', async () => {
    const { repository, chunks } = await withPacks()
    const seen = watchDirectories(repository)
    const disk = Buffer.concat(chunks.flatMap((bytes, i) => [bytes, noise(`new ${i % 100}`, CHUNK)]))
    const before = (await repository.chains.machines()).length
    const point = await backUpBytes(repository, 'all', disk, { chunker: 'fixed' })
    expect(seen.all).toBeGreaterThanOrEqual(PACKS)
    expect(seen.most).toBeLessThanOrEqual(AT_ONCE_MAX)
    const made = (await repository.chains.get('all')).state.points[0]
    // What is new, once each.
    expect(made).toMatchObject({ newBytes: 100 * CHUNK })
    expect(before).toBe(PACKS)
    expect(Buffer.compare(await restoreBytes(repository, 'all', point), disk)).toBe(0)
  })
})
