/** Folding, deleting, retention and pins, as people use them: with the real command, and over weeks with a clock of the test's. */

import { cp, open } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { retain } from '../src/merge/retain.js'
import { Clock, clockedRepository } from './clocked-repository.js'
import { KIB, noise, overwritten } from './disk-bytes.js'
import { everfold } from './everfold.js'
import { backUpBytes, restoreBytes } from './memory-repository.js'
import { expectSame, Workspace } from './workspace.js'

const DISK_BYTES = 300 * KIB

/** What a disk is at each of `count` points: something changes from each to the next, here and there. */
function history(seed: string, count: number): Buffer[] {
  const states = [noise(seed, DISK_BYTES)]
  while (states.length < count) {
    const i = states.length
    const before = states.at(-1) ?? Buffer.alloc(0)
    const once = overwritten(
      before,
      (i * 37 * KIB) % (DISK_BYTES - 8 * KIB),
      noise(`${seed} ${i}`, 5 * KIB + i),
    )
    states.push(overwritten(once, ((i % 3) * 90 + 10) * KIB, Buffer.alloc(i % 2 === 0 ? 4 * KIB : 100, i)))
  }
  return states
}

describe('over weeks', () => {
  it('a policy keeps the points it says, each byte for byte, and says beforehand what goes', async () => {
    const clock = new Clock('2026-10-20T01:30:00Z')
    const repository = await clockedRepository(clock)
    const disks = new Map<string, Buffer>()
    // Every 12 hours, over the night of October 25th that is one hour longer in Berlin.
    for (const bytes of history('weeks', 30)) {
      disks.set(await backUpBytes(repository, 'm', bytes), bytes)
      clock.nowMs += 12 * 3_600_000
    }
    const policy = { last: 3, daily: 5, weekly: 3, timeZone: 'Europe/Berlin' }
    const planned = (await retain(repository, 'm', { policy, dryRun: true })).machines[0]
    expect((await repository.chains.get('m')).state.points).toHaveLength(30)
    const done = (await retain(repository, 'm', { policy })).machines[0]
    expect(done?.removed).toEqual(planned?.removed)
    expect(planned?.freedBytes).toBeGreaterThan(0)
    const { points } = (await repository.chains.get('m')).state
    expect(points.map((point) => point.createdAt.slice(0, 16))).toEqual([
      '2026-10-25T13:30',
      '2026-10-30T13:30',
      '2026-10-31T13:30',
      '2026-11-01T13:30',
      '2026-11-02T13:30',
      '2026-11-03T01:30',
      '2026-11-03T13:30',
    ])
    for (const { id } of points)
      expectSame(await restoreBytes(repository, 'm', id), disks.get(id) ?? Buffer.alloc(0), `point ${id}`)
  })
})

describe('a dozen points', () => {
  const disks = history('dozen', 12)
  const points: string[] = []
  let made: Workspace
  let at: Workspace

  beforeAll(async () => {
    made = await Workspace.make()
    for (const bytes of disks)
      points.push((await made.ok('backup', 'm', `vda=${await made.write('disk', bytes)}`)).point)
  })
  afterAll(() => made.remove())
  beforeEach(async () => {
    at = await Workspace.make(undefined)
    await cp(made.repo, at.repo, { recursive: true })
    return () => at.remove()
  })

  async function expectDisks(kept: readonly number[]): Promise<void> {
    expect(await at.ok('points', 'm')).toMatchObject(kept.map((i) => ({ point: points[i] })))
    for (const i of kept) await at.expectDisk('m', points[i]!, disks[i]!)
    expect(await at.ok('verify')).toMatchObject({ ok: true, points: kept.length })
  }

  it('are folded down to the newest, then to one', async () => {
    expect(await at.ok('fold', 'm', '--keep', '4')).toMatchObject({
      machine: 'm',
      removed: points.slice(0, 8),
      kept: points.slice(8),
    })
    await expectDisks([8, 9, 10, 11])
    expect(await at.ok('fold', 'm', '--keep', '9')).toMatchObject({ removed: [] })
    await at.ok('fold', 'm', '--keep', '1')
    await expectDisks([11])
  })

  it('lose any one of them: the parent, one in the middle, the newest', async () => {
    await at.ok('delete', 'm', 'parent')
    await at.ok('delete', 'm', points[6]!)
    await at.ok('delete', 'm', 'latest')
    await expectDisks([1, 2, 3, 4, 5, 7, 8, 9, 10])
  })

  it('are kept as a policy says, while pinned ones stay', async () => {
    await at.ok('pin', 'm', points[2]!, '--reason', 'before the upgrade')
    await at.ok('pin', 'm', points[5]!, '--reason', 'audit', '--until', '2999-12-31')
    const before = await at.listing()
    const plan = await at.ok('retain', 'm', '--last', '3', '--dry-run')
    expect(plan.machines[0]).toMatchObject({ dryRun: true, freedBytes: expect.any(Number) })
    expect(plan.machines[0].freedBytes).toBeGreaterThan(0)
    expect(await at.listing()).toEqual(before)
    const { machines } = await at.ok('retain', 'm', '--last', '3')
    expect(machines[0].removed).toEqual(plan.machines[0].removed)
    expect(machines[0].points[2].reasons).toEqual(['pinned: before the upgrade'])
    await expectDisks([2, 5, 9, 10, 11])
    await at.fails('POINT_PINNED', 'delete', 'm', points[2]!)
    await at.ok('unpin', 'm', points[2]!)
    await at.ok('delete', 'm', points[2]!)
    await expectDisks([5, 9, 10, 11])
    const shown = await everfold(['points', 'm'], at.options)
    expect(shown.stdout).toMatch(/pinned: audit/)
    expect((await at.ok('points', 'm'))[0].pin).toMatchObject({ reason: 'audit' })
  })

  it('give their space back to gc, and what is left stays whole', async () => {
    await at.ok('fold', 'm', '--keep', '2')
    const before = await at.listing()
    expect(await at.ok('gc', '--dry-run')).toMatchObject({ dryRun: true })
    expect(await at.listing()).toEqual(before)
    for (let round = 0; round < 3; round++) await at.ok('gc', '--dead-share', '10%')
    await expectDisks([10, 11])
    expect((await everfold(['gc'], at.options)).stdout).toMatch(/removed .*\n.*condemned/)
  })

  it('go with their machine, when that is what somebody says', async () => {
    await at.ok('pin', 'm', 'latest', '--reason', 'x')
    const before = await at.listing()
    expect((await at.fails('ARGUMENT_INVALID', 'delete-machine', 'm')).message).toMatch(
      /12 points.*1 of them pinned.*--yes/,
    )
    expect(await at.listing()).toEqual(before)
    expect(await at.ok('delete-machine', 'm', '--yes')).toEqual({ machine: 'm', removed: points })
    expect(await at.ok('points')).toEqual([])
    await at.fails('MACHINE_UNKNOWN', 'delete-machine', 'm', '--yes')
    expect(await at.ok('backup', 'm', `vda=${await at.write('disk', disks[0]!)}`)).toMatchObject({
      kind: 'full',
    })
  })
})

describe('a saved policy', () => {
  let at: Workspace

  beforeEach(async () => {
    at = await Workspace.make()
    return () => at.remove()
  })

  const backUp = async (machine: string, bytes: Buffer): ReturnType<Workspace['ok']> =>
    at.ok('backup', machine, `vda=${await at.write('disk', bytes)}`)

  it("runs after each backup: the machine's own, or else the repository's default", async () => {
    const disks = history('saved', 5)
    const first = await backUp('own', disks[0]!)
    expect(first).not.toHaveProperty('retention')
    await backUp('other', disks[0]!)
    expect(await at.ok('retain', '--last', '3', '--save')).toMatchObject({ saved: true })
    expect(await at.ok('retain', 'own', '--last', '1', '--save')).toMatchObject({ saved: true })
    expect((await backUp('own', disks[1]!)).retention).toEqual({ removed: [first.point] })
    for (const bytes of disks.slice(1)) await backUp('other', bytes)
    expect(await at.ok('points', 'other')).toHaveLength(3)
    await at.ok('retain', 'own', '--forget-policy')
    for (const bytes of disks) await backUp('own', bytes)
    expect(await at.ok('points', 'own')).toHaveLength(3)
    await at.expectDisk('own', 'parent', disks[2]!)
    await at.ok('retain', '--forget-policy')
    expect(await backUp('own', disks[0]!)).not.toHaveProperty('retention')
    expect(await at.ok('retain')).toMatchObject({ machines: [], withoutPolicy: ['other', 'own'] })
  })

  it('that cannot be read does not make the backup fail, but is told, and the exit status says it', async () => {
    await backUp('m', noise('first', 5 * KIB))
    await at.ok('retain', '--last', '1', '--save')
    const settings = await open(join(at.repo, 'settings/000000000000'), 'r+')
    await settings.write('#', 10)
    await settings.close()
    const second = noise('second', 5 * KIB)
    await at.write('disk', second)
    const run = await everfold(['backup', 'm', 'vda=disk', '--json'], at.options)
    expect(run.status).toBe(8)
    expect(run.stderr).toMatch(/^everfold: the backup is safe, but retention failed: .*\[DATA_DAMAGED\]\n$/)
    const result = JSON.parse(run.stdout)
    expect(result).toMatchObject({
      machine: 'm',
      kind: 'incremental',
      retention: { error: { code: 'DATA_DAMAGED' } },
    })
    await at.expectDisk('m', result.point, second)
    expect(await at.ok('points', 'm')).toHaveLength(2)
    const all = await everfold(['retain', '--json'], at.options)
    expect(all.status).toBe(5)
    expect(JSON.parse(all.stdout).failed).toMatchObject([{ machine: 'm', error: { code: 'DATA_DAMAGED' } }])
    await at.ok('retain', '--last', '1', '--save')
    expect(await at.ok('points', 'm')).toHaveLength(1)
  })
})

describe('bad input changes nothing', () => {
  let at: Workspace

  beforeAll(async () => {
    at = await Workspace.make()
    await at.write('disk', noise('bad input', 10 * KIB))
    await at.ok('backup', 'm', 'vda=disk')
    await at.ok('backup', 'm', 'vda=disk')
    await at.ok('backup', 'one point', 'vda=disk')
  })
  afterAll(() => at.remove())

  it.each([
    ['ARGUMENT_INVALID', ['fold', 'm', '--keep', '0']],
    ['ARGUMENT_INVALID', ['fold', 'm', '--keep', '-1']],
    ['ARGUMENT_INVALID', ['fold', 'm', '--keep', '1.5']],
    ['ARGUMENT_INVALID', ['fold', 'm', '--keep', 'all']],
    ['ARGUMENT_INVALID', ['fold', 'm']],
    ['MACHINE_UNKNOWN', ['fold', 'nobody', '--keep', '1']],
    ['NAME_INVALID', ['fold', '..', '--keep', '1']],
    ['POINT_UNKNOWN', ['delete', 'm', 'zzzzzzzz']],
    ['MACHINE_UNKNOWN', ['delete', 'nobody', 'latest']],
    ['LAST_POINT', ['delete', 'one point', 'latest']],
    ['MACHINE_UNKNOWN', ['delete-machine', 'nobody', '--yes']],
    ['ARGUMENT_INVALID', ['pin', 'm', 'latest']],
    ['ARGUMENT_INVALID', ['pin', 'm', 'latest', '--reason', ' ']],
    ['ARGUMENT_INVALID', ['pin', 'm', 'latest', '--reason', 'x', '--until', '2020-01-01']],
    ['ARGUMENT_INVALID', ['pin', 'm', 'latest', '--reason', 'x', '--until', 'soon']],
    ['POINT_UNKNOWN', ['pin', 'm', 'zzzzzzzz', '--reason', 'x']],
    ['POINT_UNKNOWN', ['unpin', 'm', 'zzzzzzzz']],
    ['POLICY_INVALID', ['retain', 'm']],
    ['POLICY_INVALID', ['retain', 'm', '--save']],
    ['POLICY_INVALID', ['retain', 'm', '--last', '0', '--save']],
    ['POLICY_INVALID', ['retain', '--daily', '0', '--min-age', '2d', '--save']],
    ['POLICY_INVALID', ['retain', 'm', '--last', '1000001']],
    ['POLICY_INVALID', ['retain', 'm', '--last', '1', '--time-zone', 'Mars/Olympus']],
    ['ARGUMENT_INVALID', ['retain', 'm', '--last', '-1']],
    ['ARGUMENT_INVALID', ['retain', 'm', '--weekly', '0.5']],
    ['ARGUMENT_INVALID', ['retain', 'm', '--last', '1', '--min-age', '2 fortnights']],
    ['ARGUMENT_INVALID', ['retain', 'm', '--last', '1', '--forget-policy']],
    ['MACHINE_UNKNOWN', ['retain', 'nobody', '--last', '1', '--save']],
    ['ARGUMENT_INVALID', ['gc', '--dead-share', '101%']],
    ['ARGUMENT_INVALID', ['gc', '--dead-share', '-1%']],
  ] as const)('%s: %j', async (code, args) => {
    const before = await at.listing()
    await at.fails(code, ...args)
    expect(await at.listing()).toEqual(before)
  })

  it.each(['0', '-1', '1.5'])('fold --keep %s is told what it takes', async (keep) => {
    const { message } = await at.fails('ARGUMENT_INVALID', 'fold', 'm', '--keep', keep)
    expect(message).toContain(`"${keep}" is not a whole number from 1 on`)
  })

  it.each(['fold', 'delete', 'delete-machine', 'retain', 'pin', 'unpin', 'gc'])(
    'and %s shows examples to whoever asks for help',
    async (command) => {
      const { status, stdout } = await everfold([command, '--help'], at.options)
      expect(status).toBe(0)
      expect(stdout).toMatch(new RegExp(`Examples?:\\n  everfold ${command}`))
    },
  )
})
