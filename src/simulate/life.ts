import type { ChainState, PointState } from '../chain/chain-state.js'
import { runsOf } from '../chain/disk-runs.js'
import type { Repository } from '../chain/repository.js'
import { isEverfoldError } from '../errors.js'
import { joinAsBefore } from './bundles.js'
import { SimulationFailure } from './failure.js'
import { finish } from './finish.js'
import type { ModelMachine, PointContent } from './model.js'
import { judge, operate } from './operations.js'
import type { Fault, FaultKind, Life, Step } from './plan.js'
import { Random } from './random.js'
import { beginRestore, finishRestore, mustRestore } from './restores.js'
import { checkUploads } from './upload-session.js'
import { type Counts, World } from './world.js'

export interface LifeResult {
  readonly counts: Counts
  readonly trace: readonly string[]
  /** Undefined: nothing went wrong that may not. */
  readonly failure: SimulationFailure | undefined
}

/** Lives a life. The same life gives the same result. */
export async function live(life: Life): Promise<LifeResult> {
  const world = new World(life)
  let failure: SimulationFailure | undefined
  try {
    await world.init()
    for (const [i, step] of life.steps.entries()) {
      world.log(`step ${i}${step.faults.map((fault) => `, ${fault.kind} at ${fault.at}`).join('')}`)
      await takeStep(world, step)
    }
    world.log('end')
    await finish(world)
  } catch (error) {
    failure =
      error instanceof SimulationFailure
        ? error
        : new SimulationFailure(
            error instanceof Error ? (error.stack ?? error.message) : String(error),
            error,
          )
  }
  return { counts: world.counts, trace: world.trace, failure }
}

async function takeStep(world: World, step: Step): Promise<void> {
  const { bundles } = step
  if (bundles !== undefined) await world.quietly(() => joinAsBefore(world, new Random(bundles)))
  if (step.cold) await world.quietly(() => world.reopen())
  for (const fault of step.faults) if (fault.kind === 'rot') rot(world, fault)
  for (const session of world.sessions) for (const { kind } of step.faults) session.faults.add(kind)
  // What went wrong with work that is held open may come to light only now: the index may be opening since then.
  const held = world.sessions.flatMap((session) => [...session.faults])
  const faults: ReadonlySet<FaultKind> = new Set([...step.faults.map((fault) => fault.kind), ...held])
  const company = { alone: step.operations.length === 1, faults }
  const survived = await world.under(step.faults, step.seed, async () => {
    if (!(await opened(world, faults))) return
    await Promise.all([
      recover(world, faults),
      ...step.operations.map((operation) => operate(world, operation, company)),
    ])
  })
  if (world.misuse !== undefined) throw new SimulationFailure(world.misuse)
  if (world.injector.where !== '') world.log(`  (${world.injector.where})`)
  if (!survived) {
    const cut = step.faults.find(({ kind }) => kind === 'power cut' || kind === 'kill')
    world.log(`  ${cut?.kind ?? ''}`)
    await comeBack(world, cut?.kind === 'power cut')
    return
  }
  if (world.repository !== undefined)
    await world.quietly(() => settle(world, company.alone && world.sessions.length === 0))
  await afterwards(world, step)
}

/** A service looks for what an earlier one left, beside its first requests. */
async function recover(world: World, faults: ReadonlySet<FaultKind>): Promise<void> {
  if (!world.life.service) return
  const service = await world.openService()
  try {
    await service.recover()
  } catch (error) {
    if (error instanceof SimulationFailure) throw error
    judge(error, 'upload: sweep', { alone: false, faults }, world)
  }
}

/** Opens the repository under faults. @returns false if they did not allow it */
async function opened(world: World, faults: ReadonlySet<FaultKind>): Promise<boolean> {
  try {
    await world.open()
    return true
  } catch (error) {
    const expected = isEverfoldError(error, 'STORE_FAILED', 'STORE_FULL') && faults.size > 0
    if (!expected) throw error
    return false
  }
}

async function afterwards(world: World, step: Step): Promise<void> {
  const random = new Random(step.seed ^ 0xaf7e5)
  switch (step.after) {
    case 'nothing':
      return
    case 'reopen':
      world.log('  reopen')
      return world.quietly(() => world.reopen())
    case 'clock jump': {
      world.jumpClock(random)
      return
    }
    case 'check':
      return world.quietly(() => compareAll(world))
    case 'power cut':
      world.log('  power cut while nobody does anything')
      world.came('power cut')
      world.dieOf('power cut', random.seed())
      return comeBack(world, true)
  }
}

/** After a crash: opens again, and compares every byte of every point. */
async function comeBack(world: World, powerCut: boolean): Promise<void> {
  await world.quietly(async () => {
    await world.open()
    await compareAll(world)
    await checkClients(world)
    // What survived a power cut lies on stable storage.
    if (powerCut) for (const machine of world.machines) machine.settle(await pointIds(world, machine))
  })
}

/** Every session that clients were told of is there, with all that was acknowledged. */
async function checkClients(world: World): Promise<void> {
  if (!world.life.service) return
  await checkUploads(world, await world.openService())
}

/** Nothing is under way: are the points those that must be there? */
async function settle(world: World, alone: boolean): Promise<void> {
  for (const machine of world.machines) {
    const actual = await pointIds(world, machine)
    machine.explain(actual, (id) => isCandidate(machine, id))
    // A commit that was acknowledged puts all those before it on stable storage.
    if (alone && machine.isAcknowledged) {
      await compareUnknown(world, machine)
      machine.settle(actual)
    }
    machine.isAcknowledged = false
  }
}

/** Restores points whose bytes were never seen. */
async function compareUnknown(world: World, machine: ModelMachine): Promise<void> {
  const repository = await world.open()
  const state = (await repository.chains.find(machine.name))?.state
  for (const [index, point] of (state?.points ?? []).entries())
    if (state !== undefined && !machine.contents.has(point.id))
      await compare(world, repository, machine, state, index)
}

function isCandidate(machine: ModelMachine, id: string): boolean {
  const known = machine.contents.get(id)
  // Not yet restored: it will be compared with the candidates when it is.
  return machine.candidates().some((content) => known === undefined || isSame(content, known))
}

/** Two backups may have seen the same bytes: either may have made the point. */
function isSame(a: PointContent, b: PointContent): boolean {
  return a.size === b.size && [...a].every(([disk, bytes]) => b.get(disk)?.equals(bytes) === true)
}

async function pointIds(world: World, machine: ModelMachine): Promise<string[]> {
  const repository = await world.open()
  const head = await repository.chains.find(machine.name)
  return head?.state.points.map((point) => point.id) ?? []
}

/** Restores every point of every machine and compares every byte. */
export async function compareAll(world: World): Promise<void> {
  const repository = await world.open()
  for (const machine of world.machines) {
    const state = (await repository.chains.find(machine.name))?.state
    for (const index of (state?.points ?? []).keys()) {
      if (state !== undefined) await compare(world, repository, machine, state, index)
    }
    for (const point of state?.points ?? []) checkEnds(machine, point)
    machine.explain(await pointIds(world, machine), (id) => isCandidate(machine, id))
  }
}

/** What lies beyond the end of a disk that shrank can never be restored: its chunks would be kept for nothing. */
function checkEnds(machine: ModelMachine, point: PointState): void {
  for (const disk of point.disks)
    for (const { run, sizeBytes } of runsOf(disk))
      if ((run.segments.at(-1)?.end ?? 0) > sizeBytes)
        throw new SimulationFailure(
          `${machine.name}: a run of disk ${disk.id} at point ${point.id} goes beyond its end`,
        )
}

async function compare(
  world: World,
  repository: Repository,
  machine: ModelMachine,
  state: ChainState,
  index: number,
): Promise<void> {
  await mustRestore(world, machine, state.points[index]?.id ?? '', async () =>
    finishRestore(repository, await beginRestore(repository, machine, state, index)),
  )
}

const RUNS = /\/runs\//
const SESSIONS = /\/sessions\//
const PACKS = /\/(?:packs|bundles)\//

/** Flips a bit of an object with data, or now and then of a run, or of a session. */
function rot(world: World, fault: Fault): void {
  const random = new Random(fault.seed)
  const where = random.chance(0.1) ? RUNS : world.life.service && random.chance(0.2) ? SESSIONS : PACKS
  const files = world.files.files().filter((path) => where.test(path))
  if (files.length === 0) return
  const path = random.pick(files)
  world.log(`  rot in ${path}`)
  world.files.rot(path, random.below(2 ** 31))
  world.isRotten = true
  world.came('rot')
}
