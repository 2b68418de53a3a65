/** The index is a cache: whatever happens to its folder, the next command makes it good by itself, and data stays right. */

import { cp, mkdir, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { SeededBytes } from '../bench/seeded-bytes.js'
import { MIB, noise } from './disk-bytes.js'
import { Workspace } from './workspace.js'

const ROUNDS = Number(process.env['EVERFOLD_TEST_FLIPS'] ?? 12)
const BYTES = noise('indexed', 12 * MIB)

let at: Workspace
let index: string
let sound: string

beforeAll(async () => {
  at = await Workspace.make(['--chunk-size', '4K'])
  index = join(at.repo, 'index')
  sound = at.path('sound')
  // Each life of LevelDB turns its log into a table.
  for (let part = 0; part < 4; part++) {
    await at.write('part', BYTES.subarray(part * 3 * MIB, (part + 1) * 3 * MIB))
    await at.ok('backup', `part-${part}`, 'vda=part', '--chunker', 'fixed')
  }
  await at.write('disk', BYTES)
  await cp(index, sound, { recursive: true })
})
afterAll(() => at.remove())
beforeEach(async () => {
  await rm(index, { recursive: true, force: true })
  await cp(sound, index, { recursive: true })
})

async function expectDeduplicates(machine: string): Promise<void> {
  expect(await at.ok('backup', machine, 'vda=disk', '--chunker', 'fixed')).toMatchObject({
    kind: 'full',
    newBytes: 0,
  })
}

describe('the index folder', () => {
  it('may be deleted altogether: the next backup finds all chunks again', async () => {
    await rm(index, { recursive: true })
    await expectDeduplicates('deleted')
  })

  it('comes back with any command', async () => {
    await rm(index, { recursive: true })
    await at.ok('points')
    expect(await readdir(index)).toContain('CURRENT')
    await expectDeduplicates('any command')
  })

  it.each(['CURRENT', 'MANIFEST-', '.ldb', '.log', 'everfold-closed-cleanly'])(
    'may lose %s',
    async (part) => {
      const names = (await readdir(index)).filter((name) => name.includes(part))
      expect(names.length).toBeGreaterThan(0)
      for (const name of names) await rm(join(index, name))
      await expectDeduplicates(`without ${part}`)
    },
  )

  it('may be empty, or hold nonsense', async () => {
    await rm(index, { recursive: true })
    await mkdir(index)
    await expectDeduplicates('empty')
    for (const name of await readdir(index)) await writeFile(join(index, name), 'nonsense')
    await expectDeduplicates('nonsense')
  })

  it('is rebuilt by reindex, which says what it found', async () => {
    const result = await at.ok('reindex')
    expect(result).toMatchObject({ chunks: (12 * MIB) / 4096, damaged: [] })
    await expectDeduplicates('reindexed')
    await at.ok('reindex', '--repo', at.repo)
    await expectDeduplicates('reindexed twice')
  })

  it(`may have bits flipped or files cut anywhere (${ROUNDS} times): backups stay right and nothing needs repair`, async () => {
    const random = new SeededBytes('index flips')
    for (let round = 0; round < ROUNDS; round++) {
      await rm(index, { recursive: true })
      await cp(sound, index, { recursive: true })
      const files = (await readdir(index)).filter((name) => !name.startsWith('LO')).sort()
      for (let left = 1 + random.below(3); left > 0; left--) {
        const path = join(index, files[random.below(files.length)]!)
        const { size } = await stat(path)
        if (size === 0) continue
        if (random.below(4) === 0) await truncate(path, random.below(size))
        else {
          const bytes = await readFile(path)
          bytes[random.below(size)]! ^= 1 << random.below(8)
          await writeFile(path, bytes)
        }
      }
      const machine = `round-${round}`
      await at.ok('backup', machine, 'vda=disk', '--chunker', 'fixed')
      await at.expectDisk(machine, 'latest', BYTES)
    }
    expect(await at.ok('verify')).toMatchObject({ ok: true })
  })
})
