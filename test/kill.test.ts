/**
 * `kill -9` at any moment of a backup: earlier points restore, the new one is absent or whole, and the next backup just works.
 * EVERFOLD_TEST_KILLS sets how often (default 12), EVERFOLD_TEST_SEED what happens when.
 */

import { link, readdir, readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SeededBytes } from '../bench/seeded-bytes.js'
import { diskLike, KIB, MIB, noise, overwritten } from './disk-bytes.js'
import type { Json } from './everfold.js'
import { killed, timed } from './killing.js'
import { SEED } from './seed.js'
import { type Extent, Workspace } from './workspace.js'

const KILLS = Number(process.env['EVERFOLD_TEST_KILLS'] ?? 12)
const DISK_BYTES = 24 * MIB

/** For so many commands on a machine that has a lot to do. */
const PATIENCE_MS = 300_000 + KILLS * 60_000

let at: Workspace

beforeAll(async () => {
  at = await Workspace.make()
})
afterAll(() => at.remove())

async function pointsOf(machine: string): Promise<string[]> {
  const points = await at.ok('points')
  return points.filter((point: Json) => point.machine === machine).map((point: Json) => point.point)
}

describe(`a backup that is killed (seed ${SEED})`, () => {
  it(
    'leaves no machine or a whole one when it was the first, and can be taken again',
    async () => {
      const random = new SeededBytes(`${SEED} fulls`)
      const kills = Math.ceil(KILLS / 3)
      await at.write('disk', noise('undisturbed', DISK_BYTES))
      const usualMs = await timed(() => at.ok('backup', 'undisturbed', 'vda=disk'))
      for (let i = 0; i < kills; i++) {
        const machine = `first-${i}`
        const bytes = noise(`${SEED} ${machine}`, DISK_BYTES)
        await at.write('disk', bytes)
        const afterMs = random.below(usualMs * 1.1)
        const ended = await killed(at.options, afterMs, 'backup', machine, 'vda=disk')
        const points = await pointsOf(machine)
        expect(points.length, `killed after ${afterMs} ms`).toBeLessThanOrEqual(1)
        if (ended) expect(points).toHaveLength(1)
        if (points.length > 0) await at.expectDisk(machine, 'latest', bytes)
        expect(await at.ok('backup', machine, 'vda=disk')).toMatchObject({
          kind: points.length === 0 ? 'full' : 'incremental',
        })
        await at.expectDisk(machine, 'latest', bytes)
      }
      expect(await at.ok('verify')).toMatchObject({ ok: true, damaged: [], objects: [] })
    },
    PATIENCE_MS,
  )

  it(
    'leaves earlier points as they were, and the new one absent or whole, when it was an incremental',
    async () => {
      const random = new SeededBytes(`${SEED} incrementals`)
      const history = [diskLike(SEED, DISK_BYTES)]
      await at.write('disk', history[0]!)
      await at.ok('backup', 'm', 'vda=disk')
      let usualMs = await timed(() => at.ok('backup', 'm', 'vda=disk'))
      history.push(history[0]!)
      for (let i = 0; i < KILLS - Math.ceil(KILLS / 3); i++) {
        const withFeed = random.below(2) === 0
        const change: Extent = [random.below(16 * MIB), (1 + random.below(64)) * 100 * KIB]
        const next = overwritten(history.at(-1)!, change[0], noise(`${SEED} ${i}`, change[1]))
        await at.write('disk', next)
        const feed = withFeed ? ['--changed', `vda=${await at.feed([change])}`] : []
        const afterMs = random.below(usualMs * 1.1)
        const ended = await killed(at.options, afterMs, 'backup', 'm', 'vda=disk', ...feed)
        let points = await pointsOf('m')
        if (points.length === history.length + 1) history.push(next)
        expect(points, `killed after ${afterMs} ms, ended: ${ended}`).toHaveLength(history.length)
        if (ended) expect(history.at(-1)).toBe(next)
        await at.expectDisk('m', 'latest', history.at(-1)!)

        // Relative to the newest point, whichever that is: the same feed names all that differs.
        usualMs = await timed(() => at.ok('backup', 'm', 'vda=disk', ...feed))
        history.push(next)
        points = await pointsOf('m')
        expect(points).toHaveLength(history.length)
        const some = random.below(points.length)
        await at.expectDisk('m', points[some]!, history[some]!)
      }
      expect(await at.ok('verify')).toMatchObject({ ok: true, damaged: [], objects: [] })
      for (const [i, point] of (await pointsOf('m')).entries()) await at.expectDisk('m', point, history[i]!)
    },
    PATIENCE_MS,
  )

  it('leaves nothing that takes space for longer than until the next command', async () => {
    await at.write('disk', noise('left', MIB))
    await at.ok('backup', 'left', 'vda=disk')
    // Killed while it wrote a pack, and in the moment in which one had got its name.
    const [pack = ''] = (await at.objects()).filter((path) => path.startsWith('packs/'))
    await at.write('repo/tmp/0123', noise('unfinished', MIB))
    await link(at.path(`repo/${pack}`), at.path('repo/tmp/4567'))
    await at.ok('stats')
    expect(await readdir(at.path('repo/tmp'))).toEqual([])
    expect(await at.ok('verify')).toMatchObject({ ok: true })
  })

  it('says nothing of the process that died to those who come later', async () => {
    await killed(at.options, 150, 'backup', 'm', 'vda=disk')
    await at.ok('stats')
    await expect(readFile(`${at.repo}/lock/holder.json`)).rejects.toMatchObject({ code: 'ENOENT' })
  })
})
