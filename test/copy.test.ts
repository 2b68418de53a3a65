import { readFile } from 'node:fs/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { SeededBytes } from '../bench/seeded-bytes.js'
import { ended, start } from './everfold.js'
import { expectSame, Workspace } from './workspace.js'

const MIB = 1024 * 1024
const random = new SeededBytes('copy')
let at: Workspace
let to: string

beforeEach(async () => {
  at = await Workspace.make()
  to = at.path('other')
  await at.ok('init', to, '--chunk-size', '16K')
})

afterEach(() => at.remove())

/** Backs up a machine's disk that changes a little from point to point. @returns what it held at each */
async function backUp(machine: string, points: number, disk = random.next(2 * MIB)): Promise<Buffer[]> {
  const states: Buffer[] = []
  for (let i = 0; i < points; i++) {
    random.next(50_000).copy(disk, (i * 400_000) % MIB)
    await at.write('vda.raw', disk)
    await at.ok('backup', machine, 'vda=vda.raw', '--note', `point ${i}`)
    states.push(Buffer.from(disk))
  }
  return states
}

async function expectCopies(machine: string, states: readonly Buffer[]): Promise<void> {
  const points = await at.ok('points', machine, '--repo', to)
  expect(points).toHaveLength(states.length)
  for (const [i, bytes] of states.entries()) await expectCopy(machine, points[i].point, bytes)
}

async function expectCopy(machine: string, point: string, bytes: Buffer): Promise<void> {
  const out = at.fresh('copied')
  await at.ok('restore', machine, point, `vda=${out}`, '--repo', to)
  expectSame(await readFile(at.path(out)), bytes, `the copy of ${machine} at ${point}`)
}

it('copies all points of all machines, with their names, times and notes; again, it copies what is new', async () => {
  const first = await backUp('web', 3)
  const second = await backUp('db', 1)
  const { machines } = await at.ok('copy', at.repo, to)
  expect(machines).toMatchObject([
    { machine: 'db', copied: [expect.any(String)] },
    { machine: 'web', copied: [expect.any(String), expect.any(String), expect.any(String)] },
  ])
  await expectCopies('web', first)
  await expectCopies('db', second)
  const names = ({ point, createdAt, note }: Record<string, unknown>): unknown => ({ point, createdAt, note })
  const listed = (await at.ok('points', '--repo', to)).map(names)
  expect(listed).toEqual((await at.ok('points')).map(names))
  expect(await at.ok('verify', '--repo', to)).toMatchObject({ ok: true, points: 4 })

  const more = await backUp('web', 2, Buffer.from(first[2]!))
  const again = await at.ok('copy', at.repo, to, 'web')
  expect(again.machines[0].copied).toHaveLength(2)
  // Only what changed was read, and sent.
  expect(again.machines[0].readBytes).toBeLessThan(MIB)
  await expectCopies('web', [...first, ...more])
  expect((await at.ok('copy', at.repo, to)).machines).toMatchObject([{ copied: [] }, { copied: [] }])
})

it('sends only chunks that are missing there', async () => {
  const [disk] = await backUp('web', 1)
  await at.ok('copy', at.repo, to)
  await backUp('twin', 1, Buffer.from(disk!))
  const { machines } = await at.ok('copy', at.repo, to, 'twin')
  expect(machines[0].readBytes).toBeGreaterThan(2 * MIB - 1)
  expect(machines[0].storedBytes).toBeLessThan(300_000)
})

it('does not bring back what was removed there, and goes on after points were removed here', async () => {
  await backUp('web', 3)
  await at.ok('copy', at.repo, to)
  const points = await at.ok('points')
  await at.ok('delete', 'web', points[1].point, '--repo', to)
  expect((await at.ok('copy', at.repo, to)).machines[0].copied).toEqual([])
  // Here the newest goes, which is the newest there.
  await at.ok('delete', 'web', points[2].point)
  const [disk] = await backUp('web', 1)
  expect((await at.ok('copy', at.repo, to)).machines[0].copied).toHaveLength(1)
  await expectCopy('web', 'latest', disk!)
})

it('refuses a machine that has points of its own there, and copies the others', async () => {
  await backUp('web', 1)
  await backUp('db', 1)
  await at.write('own.raw', random.next(100_000))
  await at.ok('backup', 'web', 'vda=own.raw', '--repo', to)
  const run = await ended(start(['copy', at.repo, to, '--json'], at.options))
  expect(run.status).toBe(4)
  expect(JSON.parse(run.stdout)).toMatchObject({
    machines: [{ machine: 'db' }],
    failed: [{ machine: 'web', error: { code: 'CONFLICT' } }],
  })
  expect(await at.ok('points', 'web', '--repo', to)).toHaveLength(1)
})

it('goes on where it was after a kill, and what is there is whole', async () => {
  const states = await backUp('web', 4)
  for (const afterMs of [250, 400, 550]) {
    const child = start(['copy', at.repo, to], at.options)
    const timer = setTimeout(() => child.kill('SIGKILL'), afterMs)
    await ended(child)
    clearTimeout(timer)
    expect(await at.ok('verify', '--repo', to)).toMatchObject({ ok: true })
  }
  await at.ok('copy', at.repo, to)
  await expectCopies('web', states)
})

it('says which repository is missing, or is the same', async () => {
  await at.fails('REPOSITORY_NOT_FOUND', 'copy', at.repo, at.path('none'))
  await at.fails('REPOSITORY_LOCKED', 'copy', at.repo, at.repo)
})

it('brings pins, also later ones, and the retention policy with the first point', async () => {
  await backUp('web', 3)
  const points = await at.ok('points', 'web')
  await at.ok('retain', 'web', '--last', '50', '--save')
  await at.ok('pin', 'web', points[0].point, '--reason', 'the audit')
  await at.ok('copy', at.repo, to)
  const pins = async (): Promise<unknown[]> =>
    (await at.ok('points', 'web', '--repo', to)).map(({ pin }: { pin?: { reason: string } }) => pin?.reason)
  expect(await pins()).toEqual(['the audit', undefined, undefined])
  expect((await at.ok('retain', '--dry-run', '--repo', to)).machines).toMatchObject([{ machine: 'web' }])
  // Each may have its own from then on.
  await at.ok('retain', 'web', '--last', '2', '--save', '--dry-run', '--repo', to)
  await at.ok('pin', 'web', points[2].point, '--reason', 'the upgrade')
  await at.ok('pin', 'web', points[1].point, '--reason', 'there alone', '--repo', to)
  const again = await at.ok('copy', at.repo, to)
  expect(again.machines).toMatchObject([{ copied: [], pinned: [points[2].point] }])
  expect(await pins()).toEqual(['the audit', 'there alone', 'the upgrade'])
  expect((await at.ok('copy', at.repo, to)).machines).toMatchObject([{ pinned: [] }])
})

it('reads back what it copied, if it is told to', async () => {
  await backUp('web', 2)
  const { machines } = await at.ok('copy', at.repo, to, '--verify')
  // All of the first point, and what the second one changed.
  expect(machines[0].verifiedBytes).toBeGreaterThan(2 * MIB)
  expect(machines[0].verifiedBytes).toBeLessThan(3 * MIB)
  const more = await at.ok('copy', at.repo, to, '--verify')
  expect(more.machines).toMatchObject([{ verifiedBytes: 0 }])
})
