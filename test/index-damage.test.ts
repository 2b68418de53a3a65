/** What a damaged index answers: the truth, a miss, or IndexUnusable. Never another address, never the end of the process. */

import { cp, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { Level } from 'level'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { IndexUnusable } from '../src/index/index-unusable.js'
import { destroyIndex } from '../src/index/level-files.js'
import { LevelIndex } from '../src/index/level-index.js'
import { answers, hashesOf, packOf } from './contracts/index-contract.js'
import { randomFrom } from './contracts/index-model.js'

const PACKS = 60
const CHUNKS_PER_PACK = 50
const ALL = hashesOf(...Array(PACKS * CHUNKS_PER_PACK).keys())

let folder: string
let path: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'everfold-index-'))
  path = join(folder, 'index')
})
afterEach(async () => {
  await rm(folder, { recursive: true })
})

/** Chunk i is chunk i % 50 of pack i / 50. Written in several lives, so that there are tables as well as logs. */
async function fill(): Promise<void> {
  for (let life = 0; life < 3; life++) {
    const index = await LevelIndex.open(path, { writeBufferBytes: 64 << 10 })
    for (let pack = life * 20; pack < life * 20 + 20; pack++) {
      await index.addPack(packOf(pack), ALL.subarray(pack * 50 * 32, (pack + 1) * 50 * 32))
    }
    await index.putNote('head', 'the one')
    await index.close()
  }
}

function rawDatabase(): Level<Uint8Array, Buffer> {
  return new Level(path, { keyEncoding: 'view', valueEncoding: 'buffer', compression: false })
}

/** Asserts that nothing that the index says is wrong, and counts what it still knows. */
async function knownOf(index: LevelIndex): Promise<number> {
  let known = 0
  for (const [i, answer] of (await answers(index, ALL)).entries()) {
    if (answer === undefined) continue
    known++
    expect(answer).toEqual([packOf(Math.floor(i / 50)), i % 50])
  }
  const ids = new Set(Array.from({ length: PACKS }, (_, i) => packOf(i)))
  for await (const id of index.packIds()) expect(ids).toContain(id)
  expect([undefined, 'the one']).toContain(await index.getNote('head'))
  return known
}

describe('an index whose values rot', () => {
  it('answers a miss where a bit of any value or key is flipped', async () => {
    await fill()
    const random = randomFrom(7)
    const db = rawDatabase()
    let flipped = 0
    for (const [key, value] of await db.iterator().all()) {
      // 's', the schema, stays: damage there makes the whole index unusable.
      if (random(3) !== 0 || key[0] === 0x73) continue
      flipped++
      const bit = random(8 * value.length)
      value[bit >> 3]! ^= 1 << (bit & 7)
      await db.put(key, value)
    }
    await db.close()
    const index = await LevelIndex.open(path)
    const known = await knownOf(index)
    expect(flipped).toBeGreaterThan(800)
    expect(known).toBeGreaterThan(0)
    expect(known).toBeLessThan(PACKS * CHUNKS_PER_PACK - 600)
    await index.close()
  })

  it('never takes an entry of one chunk for another, wherever it was copied', async () => {
    await fill()
    const db = rawDatabase()
    const records = await db.iterator({ gte: Uint8Array.of(0x63), lt: Uint8Array.of(0x64) }).all()
    for (const [i, [key]] of records.entries()) await db.put(key, records[(i + 1) % records.length]![1])
    await db.close()
    const index = await LevelIndex.open(path)
    expect(await knownOf(index)).toBe(0)
    await index.close()
  })

  it('never gives the entries of a lost pack to the pack that gets its number', async () => {
    await fill()
    const db = rawDatabase()
    await db.clear({ gte: Uint8Array.of(0x6e), lt: Uint8Array.of(0x6f) })
    await db.close()
    const index = await LevelIndex.open(path)
    for (let pack = 0; pack < PACKS; pack++)
      await index.addPack(packOf(1000 + pack), hashesOf(100_000 + pack))
    expect((await answers(index, ALL)).filter((answer) => answer !== undefined)).toEqual([])
    await index.close()
  })

  it('is unusable when its schema cannot be read, or is another', async () => {
    await fill()
    for (const value of [Buffer.alloc(8), Buffer.alloc(0)]) {
      const db = rawDatabase()
      await db.put(Uint8Array.of(0x73), value)
      await db.close()
      await expect(LevelIndex.open(path)).rejects.toThrow(IndexUnusable)
    }
  })
})

describe('an index whose files are damaged', () => {
  it('tells the truth, misses, or is unusable, over random damage', async () => {
    await fill()
    const outcomes = { whole: 0, partly: 0, unusable: 0 }
    const first = Number(process.env['EVERFOLD_SEED'] ?? 1)
    const count = Number(process.env['EVERFOLD_RUNS'] ?? 300)
    for (let seed = first; seed < first + count; seed++) {
      const copy = join(folder, `damaged-${seed}`)
      await cp(path, copy, { recursive: true })
      const done = await damage(copy, seed)
      try {
        const index = await LevelIndex.open(copy, { writeBufferBytes: 64 << 10 })
        try {
          const known = await knownOf(index)
          // Written to, so that compaction reads the damage too.
          await index.addPack(packOf(5000), hashesOf(...Array.from({ length: 200 }, (_, i) => 50_000 + i)))
          outcomes[known === PACKS * CHUNKS_PER_PACK ? 'whole' : 'partly']++
        } finally {
          await index.close()
        }
      } catch (error) {
        if (!(error instanceof IndexUnusable)) throw new Error(`seed ${seed}: ${done}`, { cause: error })
        outcomes.unusable++
      }
      await rm(copy, { recursive: true })
    }
    if (count >= 300) expect(Math.min(outcomes.partly, outcomes.unusable)).toBeGreaterThan(0)
  }, 600_000)

  it('is unusable while its removal is unfinished, and empty after it', async () => {
    await fill()
    await rm(join(path, 'CURRENT'))
    await expect(LevelIndex.open(path)).rejects.toThrow(IndexUnusable)
    await writeFile(join(path, 'of somebody else'), '')
    await destroyIndex(path)
    expect((await readdir(path)).sort()).toEqual(['LOCK', 'of somebody else'])
    const index = await LevelIndex.open(path)
    expect(index.created).toBe(true)
    expect(await knownOf(index)).toBe(0)
    await index.close()
    await destroyIndex(join(folder, 'never was'))
  })

  it('is not troubled by a table that a crash left half written', async () => {
    await fill()
    await writeFile(join(path, '000900.ldb'), Buffer.alloc(1000, 1))
    const index = await LevelIndex.open(path)
    expect(await knownOf(index)).toBe(PACKS * CHUNKS_PER_PACK)
    await index.close()
  })

  it('finds a single flipped bit anywhere in a table that belongs to it', async () => {
    await fill()
    const [name] = (await readdir(path)).filter((file) => file.endsWith('.ldb'))
    const file = join(path, name!)
    const sound = await readFile(file)
    const random = randomFrom(3)
    for (let i = 0; i < 200; i++) {
      // Not in the footer: part of it is padding.
      const at = random(sound.length - 48)
      const bytes = Buffer.from(sound)
      bytes[at]! ^= 1 << random(8)
      await writeFile(file, bytes)
      await expect(LevelIndex.open(path), `byte ${at}`).rejects.toThrow(IndexUnusable)
    }
    await writeFile(file, sound)
    const index = await LevelIndex.open(path)
    expect(await knownOf(index)).toBe(PACKS * CHUNKS_PER_PACK)
    await index.close()
  })

  it('says that it is locked when it is open already', async () => {
    const index = await LevelIndex.open(path)
    await expect(LevelIndex.open(path)).rejects.toMatchObject({ code: 'REPOSITORY_LOCKED' })
    await index.close()
  })
})

/** Flips bits in one to three files, or cuts one, or removes one. */
async function damage(copy: string, seed: number): Promise<string> {
  const random = randomFrom(seed)
  const files = (await readdir(copy)).filter((name) => !/^LO/.test(name)).sort()
  const done: string[] = []
  for (let left = 1 + random(3); left > 0; left--) {
    const name = files[random(files.length)]!
    const file = join(copy, name)
    const bytes = await readFile(file).catch(() => Buffer.alloc(0))
    if (bytes.length === 0) continue
    const kind = random(10)
    if (kind === 0) await rm(file)
    else if (kind < 3) await truncate(file, random(bytes.length))
    else {
      // Often near the end, where a table keeps its index.
      const from = random(2) === 0 ? 0 : Math.max(0, bytes.length - 400)
      for (let flips = 1 + random(kind < 6 ? 4 : 60); flips > 0; flips--) {
        bytes[from + random(bytes.length - from)]! ^= 1 << random(8)
      }
      await writeFile(file, bytes)
    }
    done.push(`${kind < 1 ? 'removed' : kind < 3 ? 'cut' : 'flipped'} ${name}`)
  }
  return done.join(', ')
}
