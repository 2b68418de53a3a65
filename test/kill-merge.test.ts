/**
 * `kill -9` at any moment of a backup, a fold, a deletion, a collection or a reindex: every point that was there before or after
 * restores byte for byte, and the next command just works.
 * EVERFOLD_TEST_KILLS sets how often (default 12; the long run takes 200), EVERFOLD_TEST_SEED what happens when. Counted are the kills
 * that hit a command while it had the repository open.
 */

import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SeededBytes } from '../bench/seeded-bytes.js'
import { diskLike, KIB, MIB, noise, overwritten } from './disk-bytes.js'
import type { Json } from './everfold.js'
import { killed } from './killing.js'
import { SEED } from './seed.js'
import { type Extent, Workspace } from './workspace.js'

const KILLS = Number(process.env['EVERFOLD_TEST_KILLS'] ?? 12)
const DISK_BYTES = 12 * MIB
const POINTS_MAX = 7
/** What a kill takes at most, with what is done and compared after it, on a slow machine. */
const MS_PER_KILL = 60_000

let at: Workspace
/** How long each command takes, from the last that was let through. */
const insideMs = new Map<string, number>()
const kills = new Map<string, { inside: number; outside: number; ended: number }>()

/** What each point that is sure to be there holds, oldest first. */
let model: { readonly id: string; readonly bytes: Buffer }[] = []

beforeAll(async () => {
  at = await Workspace.make(['--chunk-size', '16K'])
})
afterAll(() => at.remove())

async function pointIds(): Promise<string[]> {
  return (await at.ok('points', 'm', '--fast')).map((point: Json) => point.point)
}

interface Attempt {
  readonly args: readonly string[]
  /** The points that are left if it was done, by id; new ones are `''`. */
  readonly after: readonly string[]
  readonly bytes: Buffer
}

async function someAttempt(random: SeededBytes, round: number): Promise<Attempt> {
  const bytes = model.at(-1)!.bytes
  const ids = model.map((point) => point.id)
  const kind = random.below(10)
  if (model.length < 3 || (kind < 3 && model.length < POINTS_MAX)) {
    const change: Extent = [random.below(8 * MIB), (1 + random.below(24)) * 100 * KIB]
    const next = overwritten(bytes, change[0], noise(`${SEED} ${round}`, change[1]))
    await at.write('disk', next)
    const feed = random.below(2) === 0 ? ['--changed', `vda=${await at.feed([change])}`] : []
    return { args: ['backup', 'm', 'vda=disk', ...feed], after: [...ids, ''], bytes: next }
  }
  if (kind < 5) {
    const keep = Math.max(1, model.length - 1 - random.below(3))
    return { args: ['fold', 'm', '--keep', String(keep)], after: ids.slice(-keep), bytes }
  }
  if (kind < 7) {
    // Any but the newest: after that a feed would be refused.
    const gone = ids[random.below(ids.length - 1)]!
    return { args: ['delete', 'm', gone], after: ids.filter((id) => id !== gone), bytes }
  }
  if (kind === 7) return { args: ['reindex'], after: ids, bytes }
  return { args: ['gc', '--rounds', '3', '--dead-share', '10%'], after: ids, bytes }
}

/** Takes over what the store says now; it must be as before the attempt, or as after it. */
async function settle(attempt: Attempt, ended: boolean, told: string): Promise<void> {
  const before = model.map((point) => point.id)
  const now = await pointIds()
  const done =
    now.length === attempt.after.length && now.every((id, i) => ['', id].includes(attempt.after[i]!))
  if (!done) expect(now, told).toEqual(before)
  if (ended) expect(done, told).toBe(true)
  const known = new Map(model.map((point) => [point.id, point.bytes]))
  model = now.map((id) => ({ id, bytes: known.get(id) ?? attempt.bytes }))
}

/** Runs an attempt and kills it at some moment. @returns whether it ended before, and what to say of it */
async function run(
  attempt: Attempt,
  random: SeededBytes,
  mayEnd: boolean,
): Promise<{ readonly ended: boolean; readonly isInside: boolean; readonly told: string }> {
  const [command = ''] = attempt.args
  const holder = join(at.repo, 'lock', 'holder.json')
  // Left behind by the one killed before.
  await rm(holder, { force: true })
  const afterMs = mayEnd ? 600_000 : random.below(insideMs.get(command) ?? 1000)
  const begun = performance.now()
  const ended = await killed(at.options, { afterMs, begun: holder }, ...attempt.args)
  if (mayEnd) insideMs.set(command, performance.now() - begun)
  const isInside = existsSync(holder)
  const count = kills.get(command) ?? { inside: 0, outside: 0, ended: 0 }
  kills.set(command, count)
  count[ended ? 'ended' : isInside ? 'inside' : 'outside']++
  const told = `${attempt.args.join(' ')}, ${ended ? 'ended' : `killed ${afterMs} ms after it had begun`}`
  return { ended, isInside, told }
}

describe(`folds, deletions, collections and backups that are killed (seed ${SEED})`, () => {
  it(
    'leave every point whole, before or after, and nothing to repair',
    async () => {
      const random = new SeededBytes(SEED)
      const first = diskLike(SEED, DISK_BYTES)
      await at.write('disk', first)
      await at.ok('backup', 'm', 'vda=disk')
      model = (await pointIds()).map((id) => ({ id, bytes: first }))
      for (let count = 0, round = 0; count < KILLS; round++) {
        const attempt = await someAttempt(random, round)
        // Every third runs to its end, so that chains grow and there is something to fold and to collect.
        const { ended, isInside, told } = await run(attempt, random, round % 3 === 0)
        if (isInside) count++
        await settle(attempt, ended, `round ${round}: ${told}`)
        const some = model[random.below(model.length)]!
        await at.expectDisk('m', some.id, some.bytes)
      }
      expect(await at.ok('verify')).toMatchObject({ ok: true, damaged: [], objects: [] })
      for (const point of model) await at.expectDisk('m', point.id, point.bytes)
      await at.ok('gc', '--rounds', '4')
      for (const point of model) await at.expectDisk('m', point.id, point.bytes)
      expect(await at.ok('verify')).toMatchObject({ ok: true, damaged: [], objects: [] })
      console.log(
        `kills while the repository was open and not, and runs that ended: ${JSON.stringify(Object.fromEntries(kills))}`,
      )
    },
    60_000 + KILLS * MS_PER_KILL,
  )
})
