/**
 * `kill -9` at any moment of a backup, a fold, a deletion, a collection or a reindex: every point that was there before or after
 * restores byte for byte, and the next command just works.
 * EVERFOLD_TEST_KILLS sets how often (default 12; the long run takes 200), EVERFOLD_TEST_SEED what happens when. Counted are the kills
 * that hit a command while it had the repository open.
 */

import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SeededBytes } from '../bench/seeded-bytes.js'
import { diskLike, KIB, MIB, noise, overwritten } from './disk-bytes.js'
import type { Json } from './everfold.js'
import { killedInside } from './killing.js'
import { SEED } from './seed.js'
import { type Extent, Workspace } from './workspace.js'

const KILLS = Number(process.env['EVERFOLD_TEST_KILLS'] ?? 12)
const DISK_BYTES = 12 * MIB
/** Below it there is nothing worth killing a fold or a deletion for. */
const POINTS_MIN = 3
const POINTS_MAX = 7
/** What a kill takes at most, with what is done and compared after it, on a slow machine. */
const MS_PER_KILL = 60_000

const COMMANDS = ['backup', 'fold', 'delete', 'gc', 'reindex'] as const
type Command = (typeof COMMANDS)[number]

let at: Workspace
/** How long each command has the repository open, from the last that was let through. */
const insideMs = new Map<Command, number>()
const kills = Object.fromEntries(
  COMMANDS.map((command) => [command, { inside: 0, outside: 0, ended: 0 }]),
) as Record<Command, { inside: number; outside: number; ended: number }>

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

/** Of what can be done now, the command that was killed inside least often: each of them has its share of few kills, too. */
function nextCommand(random: SeededBytes): Command {
  if (model.length < POINTS_MIN) return 'backup'
  const possible = COMMANDS.filter((command) => command !== 'backup' || model.length < POINTS_MAX)
  const least = Math.min(...possible.map((command) => kills[command].inside))
  const some = possible.filter((command) => kills[command].inside === least)
  return some[random.below(some.length)]!
}

async function someAttempt(command: Command, random: SeededBytes, round: number): Promise<Attempt> {
  const bytes = model.at(-1)!.bytes
  const ids = model.map((point) => point.id)
  switch (command) {
    case 'backup': {
      const change: Extent = [random.below(8 * MIB), (1 + random.below(24)) * 100 * KIB]
      const next = overwritten(bytes, change[0], noise(`${SEED} ${round}`, change[1]))
      await at.write('disk', next)
      const feed = random.below(2) === 0 ? ['--changed', `vda=${await at.feed([change])}`] : []
      return { args: ['backup', 'm', 'vda=disk', ...feed], after: [...ids, ''], bytes: next }
    }
    case 'fold': {
      const keep = Math.max(1, model.length - 1 - random.below(2))
      return { args: ['fold', 'm', '--keep', String(keep)], after: ids.slice(-keep), bytes }
    }
    case 'delete': {
      // Any but the newest: after that a feed would be refused.
      const gone = ids[random.below(ids.length - 1)]!
      return { args: ['delete', 'm', gone], after: ids.filter((id) => id !== gone), bytes }
    }
    case 'gc':
      return { args: ['gc', '--rounds', '3', '--dead-share', '10%'], after: ids, bytes }
    case 'reindex':
      return { args: ['reindex'], after: ids, bytes }
  }
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

/** Runs an attempt and kills it at some moment, or lets it end. @returns whether it ended, and what to say of it */
async function run(
  command: Command,
  { args }: Attempt,
  random: SeededBytes,
  mayEnd: boolean,
): Promise<{ readonly ended: boolean; readonly isInside: boolean; readonly told: string }> {
  const afterMs = mayEnd ? 600_000 : random.below(insideMs.get(command)!)
  const holder = join(at.repo, 'lock', 'holder.json')
  const { ended, isInside, insideMs: ranMs } = await killedInside(at.options, afterMs, holder, ...args)
  if (ended) insideMs.set(command, ranMs)
  kills[command][ended ? 'ended' : isInside ? 'inside' : 'outside']++
  const told = `${args.join(' ')}, ${ended ? 'ended' : `killed ${afterMs} ms after it had begun`}`
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
        const command = nextCommand(random)
        const attempt = await someAttempt(command, random, round)
        // The first of each tells how long it takes; every third runs to its end, and so does what makes points to fold.
        const mayEnd = round % 3 === 0 || !insideMs.has(command) || model.length < POINTS_MIN
        const { ended, isInside, told } = await run(command, attempt, random, mayEnd)
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
      const told = JSON.stringify(kills)
      console.log(`kills while the repository was open and not, and runs that ended: ${told}`)
      if (KILLS >= 12) for (const command of COMMANDS) expect(kills[command].inside, told).toBeGreaterThan(0)
    },
    60_000 + KILLS * MS_PER_KILL,
  )
})
