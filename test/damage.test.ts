/** Damage on a real disk, met by the real command: what it says, with which exit status, and what still works. */

import { cp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { KIB, MIB, noise, overwritten } from './disk-bytes.js'
import { everfold } from './everfold.js'
import { expectSame, Workspace } from './workspace.js'

const FIRST = noise('first', 4 * MIB)
const SECOND = overwritten(FIRST, MIB, noise('second', 100 * KIB))
const OTHER = noise('other machine', MIB)

let at: Workspace
let sound: string
let first: string
let second: string

beforeAll(async () => {
  at = await Workspace.make()
  await at.write('disk', FIRST)
  first = (await at.ok('backup', 'm', 'vda=disk', '--chunker', 'fixed')).point
  await at.write('disk', SECOND)
  const feed = await at.feed([[MIB, 100 * KIB]])
  second = (await at.ok('backup', 'm', 'vda=disk', '--changed', `vda=${feed}`)).point
  await at.write('other', OTHER)
  await at.ok('backup', 'n', 'vda=other')
  sound = at.path('sound')
  await cp(at.repo, sound, { recursive: true, preserveTimestamps: true })
})
afterAll(() => at.remove())
beforeEach(async () => {
  await rm(at.repo, { recursive: true })
  await cp(sound, at.repo, { recursive: true, preserveTimestamps: true })
})

async function flip(path: string, byte: number): Promise<void> {
  const bytes = await readFile(join(at.repo, path))
  bytes[byte]! ^= 4
  await writeFile(join(at.repo, path), bytes)
}

/** The largest object below a folder of the store. */
async function largest(folder: string): Promise<string> {
  const sizes = await Promise.all(
    (await at.objects())
      .filter((path) => path.startsWith(folder))
      .map(async (path) => ({ path, size: (await readFile(join(at.repo, path))).length })),
  )
  return sizes.reduce((a, b) => (b.size > a.size ? b : a)).path
}

describe('a flipped bit in a pack', () => {
  it('is found by verify, which names the object and what is lost, and ends with status 5', async () => {
    const pack = await largest('packs/')
    await flip(pack, 50_000)
    const run = await everfold(['verify', '--json'], at.options)
    expect(run.status).toBe(5)
    const { ok, damaged, objects } = JSON.parse(run.stdout)
    expect(ok).toBe(false)
    expect(objects.map((object: { key: string }) => object.key)).toContain(pack)
    expect(damaged).toEqual(
      expect.arrayContaining([
        { machine: 'm', point: first, disk: 'vda', offset: expect.any(Number), length: 64 * KIB },
      ]),
    )
    const text = await everfold(['verify'], at.options)
    expect(text.status).toBe(5)
    expect(text.stdout).toContain(pack)
    expect(text.stdout).toMatch(new RegExp(`m ${first} vda: 64 KiB at byte \\d+`))
  })

  it('is told by points and stats of any later process, and what a collection condemned is, too', async () => {
    await flip(await largest('packs/'), 50_000)
    expect((await everfold(['verify'], at.options)).status).toBe(5)
    const [point] = await at.ok('points', 'm')
    expect(point).toMatchObject({ point: first, damagedBytes: 64 * KIB })
    expect(await at.ok('stats')).toMatchObject({ damagedChunks: 1, waitingBytes: 0 })
    expect((await everfold(['stats'], at.options)).stdout).toMatch(/DAMAGED chunks +1\b/)
    await at.ok('delete-machine', 'n', '--yes')
    const { waitingBytes } = await at.ok('gc')
    expect(waitingBytes).toBeGreaterThan(MIB)
    expect(await at.ok('stats')).toMatchObject({ waitingBytes })
  })

  it('fails the restore of what it is in with just the bytes that are lost, and nothing else', async () => {
    await flip(await largest('packs/'), 50_000)
    const { message, details } = await at.fails('DATA_DAMAGED', 'restore', 'm', first, 'vda=out')
    expect(details.lostBytes).toBe(64 * KIB)
    expect(details.lost).toEqual([
      { machine: 'm', point: first, disk: 'vda', offset: expect.any(Number), length: 64 * KIB },
    ])
    expect(message).toContain(`${details.lost[0].offset}+${64 * KIB}`)
    expect((await readdir(at.folder)).filter((name) => name.includes('out'))).toEqual([])
    await at.expectDisk('n', 'latest', OTHER)
    await at.ok('points')
  })

  it('heals when the same bytes are backed up again', async () => {
    await rm(join(at.repo, await largest('packs/')))
    await at.fails('DATA_DAMAGED', 'restore', 'm', 'latest', 'vda=out')
    await at.write('disk', SECOND)
    await at.ok('backup', 'm', 'vda=disk')
    await at.expectDisk('m', 'latest', SECOND)
  })

  it('heals, where it is in what says which chunks there are, when the same chunks come again', async () => {
    const pack = await largest('packs/')
    await flip(pack, (await readFile(join(at.repo, pack))).length - 100)
    await at.fails('DATA_DAMAGED', 'restore', 'm', first, 'vda=out')
    await at.write('disk', FIRST)
    await at.ok('backup', 'another', 'vda=disk', '--chunker', 'fixed')
    await at.expectDisk('another', 'latest', FIRST)
    await at.expectDisk('m', first, FIRST)
    await at.expectDisk('m', 'latest', SECOND)
  })
})

describe('damaged chain states', () => {
  it('are told by points; a point that may not be the newest is never restored as latest, but by its id', async () => {
    const [newest = ''] = (await at.objects()).filter((path) => path.startsWith('chains/m/')).reverse()
    await flip(newest, 30)
    const points = await everfold(['points', 'm', '--json'], at.options)
    expect(JSON.parse(points.stdout)).toMatchObject([{ point: first }])
    expect(points.stderr).toMatch(/newest chain state of "m" is damaged/)
    const { message } = await at.fails('CHAIN_DAMAGED', 'restore', 'm', 'latest', 'vda=out')
    expect(message).toContain(first)
    await at.fails('CHAIN_DAMAGED', 'restore', 'm', new Date().toISOString(), 'vda=out')
    await at.expectDisk('m', first, FIRST)
    await at.expectDisk('m', 'parent', FIRST)

    await at.write('disk', SECOND)
    await at.fails('FEED_BASE_UNSURE', 'backup', 'm', 'vda=disk', '--changed', `vda=${await at.feed([])}`)
    await at.ok('backup', 'm', 'vda=disk')
    await at.expectDisk('m', 'latest', SECOND)
  })

  it('of one machine do not hide the others, and a backup does not start the chain anew over them', async () => {
    for (const path of await at.objects())
      if (path.startsWith('chains/m/')) await truncate(join(at.repo, path), 0)
    const points = await everfold(['points', '--json'], at.options)
    expect(points.status).toBe(5)
    expect(JSON.parse(points.stdout)).toMatchObject([{ machine: 'n' }])
    expect(points.stderr).toMatch(/"m" is damaged/)
    await at.fails('CHAIN_DAMAGED', 'points', 'm')
    await at.fails('CHAIN_DAMAGED', 'restore', 'm', 'latest', 'vda=out')
    await at.fails('CHAIN_DAMAGED', 'backup', 'm', 'vda=disk')
    await at.expectDisk('n', 'latest', OTHER)
    const verify = await everfold(['verify', '--json'], at.options)
    expect(verify.status).toBe(5)
  })
})

describe('a lost or damaged run', () => {
  it('is named by the restores that need it; all other points restore', async () => {
    const { details } = await (async () => {
      for (const path of await at.objects()) if (path.startsWith('runs/m/')) await flip(path, 20)
      return at.fails('DATA_DAMAGED', 'restore', 'm', second, 'vda=out')
    })()
    expect(details.key).toMatch(/^runs\/m\//)
    expectSame(await at.restored('n', 'latest'), OTHER, 'the other machine')
    const verify = await everfold(['verify', '--json'], at.options)
    const { damaged } = JSON.parse(verify.stdout)
    expect(damaged).toContainEqual({ machine: 'm', point: first, disk: 'vda', offset: 0, length: 4 * MIB })
    await at.write('disk', SECOND)
    await at.ok('backup', 'm', 'vda=disk')
    await at.expectDisk('m', 'latest', SECOND)
  })
})

describe('a damaged everfold.json', () => {
  it('is refused by every command', async () => {
    await flip('everfold.json', 40)
    for (const command of [
      ['points'],
      ['verify'],
      ['restore', 'm', 'latest', 'vda=out'],
      ['backup', 'm', 'vda=disk'],
    ])
      await at.fails('REPOSITORY_DAMAGED', ...command)
  })
})
