import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { Repository } from '../src/chain/repository.js'
import { MemoryIndex } from '../src/index/memory-index.js'
import { InlineCrew } from '../src/pack/inline-crew.js'
import { planDisk } from '../src/restore/plan.js'
import { restoreDisk } from '../src/restore/restore.js'
import { verifyRepository } from '../src/restore/verify.js'
import { openStore } from '../src/store/open-store.js'
import type { Store } from '../src/store/store.js'
import { MemoryTarget } from './life.js'

interface Fixture {
  readonly machine: string
  readonly points: readonly {
    readonly id: string
    readonly disks: readonly { readonly id: string; readonly sizeBytes: number; readonly sha256: string }[]
  }[]
  /** Base 64 by key. */
  readonly objects: Readonly<Record<string, string>>
}

const file = new URL('fixtures/format-1/repository.json', import.meta.url)
const fixture = JSON.parse(readFileSync(file, 'utf8')) as Fixture

let folder: string
let store: Store
let repository: Repository

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'everfold-format-1-'))
  for (const [key, text] of Object.entries(fixture.objects)) {
    await mkdir(dirname(join(folder, key)), { recursive: true })
    await writeFile(join(folder, key), Buffer.from(text, 'base64'))
  }
  store = (await openStore(folder)).store
  const openIndex = async (): Promise<MemoryIndex> => new MemoryIndex()
  repository = await Repository.open({ store, crew: new InlineCrew(), openIndex })
})

afterAll(async () => {
  await repository.close()
  await store.close()
  await rm(folder, { recursive: true, force: true })
})

// Written by the first version of Everfold: whatever comes later has to read it, for ever.
describe('a repository of format 1', () => {
  it('has its points, with their disks', async () => {
    expect(await repository.chains.machines()).toEqual([fixture.machine])
    const { state, damaged } = await repository.chains.get(fixture.machine)
    expect(damaged).toEqual([])
    const found = state.points.map((point) => ({
      id: point.id,
      disks: point.disks.map(({ id, sizeBytes }) => ({ id, sizeBytes })),
    }))
    const expected = fixture.points.map(({ id, disks }) => ({
      id,
      disks: disks.map((disk) => ({ id: disk.id, sizeBytes: disk.sizeBytes })),
    }))
    expect(found).toEqual(expected)
  })

  it.each(
    fixture.points.flatMap(({ disks }, index) => disks.map((disk) => [index, disk.id, disk.sha256] as const)),
  )('gives back point %i, disk %s, byte for byte', async (index, id, sha256) => {
    const { state } = await repository.chains.get(fixture.machine)
    const plan = await planDisk(repository, state, index, id)
    const target = new MemoryTarget(plan.sizeBytes)
    await restoreDisk(repository, plan, target, () => {})
    plan.pins.end()
    expect(target.isWhole).toBe(true)
    expect(createHash('sha256').update(target.bytes).digest('hex')).toBe(sha256)
  })

  it('is whole', async () => {
    const result = await verifyRepository(repository, { sample: 1 })
    expect(result).toMatchObject({ ok: true, points: fixture.points.length, damaged: [], objects: [] })
  })

  it('is small enough to be kept for ever', () => {
    expect(readFileSync(file).length).toBeLessThan(100_000)
  })
})
