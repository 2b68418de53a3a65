import type { ChainState } from '../chain/chain-state.js'
import { COMPLETE } from '../chain/open-repository.js'
import type { Repository } from '../chain/repository.js'
import { type ErrorCode, EverfoldError } from '../errors.js'
import { rebuildIndex } from '../index/rebuild.js'
import { account } from '../merge/account.js'
import { deleteMachine, foldTo, removePoints } from '../merge/fold.js'
import { collectGarbage } from '../merge/gc.js'
import { healDamage } from '../merge/heal.js'
import { isPinned, pin, unpin } from '../merge/pins.js'
import { retain } from '../merge/retain.js'
import { verifyRepository } from '../restore/verify.js'
import { backUpMachine } from './backups.js'
import { drill } from './drill.js'
import { SimulationFailure } from './failure.js'
import type { ModelMachine, Uncertain } from './model.js'
import type { FaultKind, Operation, OperationKind, UploadKind } from './plan.js'
import { Random } from './random.js'
import { beginRestore, finishRestore } from './restores.js'
import { beginSession } from './sessions.js'
import type { UploadTask } from './upload-session.js'
import { UPLOADS } from './uploads.js'
import { Counts, type World } from './world.js'

/** In what company an operation runs: decides which refusals are in order. */
export interface Company {
  readonly alone: boolean
  readonly faults: ReadonlySet<FaultKind>
}

interface Task {
  readonly world: World
  readonly repository: Repository
  readonly random: Random
  readonly company: Company
  /** For the trace: what was decided. */
  say: (what: string) => void
}

/** Runs one operation. Refusals that are in order are counted. @throws SimulationFailure for any other */
export async function operate(world: World, operation: Operation, company: Company): Promise<void> {
  if (isUpload(operation.kind) && !world.life.service) return
  let said = ''
  const task: Task = {
    world,
    repository: await world.open(),
    random: new Random(operation.seed),
    company,
    say: (what) => {
      said = what
    },
  }
  Counts.increase(world.counts.operations, operation.kind)
  try {
    if (isUpload(operation.kind)) await UPLOADS[operation.kind](await uploadTask(task, operation.kind))
    else await OPERATIONS[operation.kind](task)
    world.log(`  ${operation.kind} ${said}: done`)
  } catch (error) {
    world.log(`  ${operation.kind} ${said}: ${error instanceof EverfoldError ? error.code : String(error)}`)
    if (error instanceof SimulationFailure) throw error
    judge(error, operation.kind, company, world)
  }
}

/** Codes that say: somebody else was at it, try again. */
const CONTENDED: readonly ErrorCode[] = [
  'CONFLICT',
  'POINT_UNKNOWN',
  'MACHINE_UNKNOWN',
  'LAST_POINT',
  'POINT_PINNED',
  'SESSION_BUSY',
  'SESSION_UNKNOWN',
]
const ROTTEN: readonly ErrorCode[] = ['DATA_DAMAGED', 'CHAIN_DAMAGED', 'OBJECT_NOT_FOUND']

/** Counts an error that may come. @throws SimulationFailure for any other */
export function judge(error: unknown, kind: OperationKind, company: Company, world: World): void {
  const { faults } = company
  const allowed = new Set<ErrorCode>()
  if (!company.alone) for (const code of CONTENDED) allowed.add(code)
  if (faults.has('system error') || faults.has('error before') || faults.has('error after'))
    allowed.add('STORE_FAILED')
  if (faults.has('disk full')) allowed.add('STORE_FULL')
  // A machine whose first commit was cut short before it was registered looks new in a bad listing.
  if (faults.has('empty listing') || faults.has('partial listing') || faults.has('bad listings'))
    for (const code of ['LISTING_INCOMPLETE', 'CONFLICT'] as const) allowed.add(code)
  // What is not found again and again looks lost.
  if (faults.has('bad listings')) for (const code of ROTTEN) allowed.add(code)
  if (world.isRotten && kind !== 'backup') for (const code of ROTTEN) allowed.add(code)
  if (error instanceof EverfoldError && allowed.has(error.code)) {
    Counts.increase(world.counts.refusals, `${kind} ${error.code}`)
    return
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
  throw new SimulationFailure(`${kind} failed as it must not: ${text}`, error)
}

const OPERATIONS: Readonly<Record<Exclude<OperationKind, UploadKind>, (task: Task) => Promise<void>>> = {
  backup: async ({ world, repository, random, company, say }) => {
    await backUpMachine(world, repository, random, company.alone, say)
    if (random.chance(0.3)) await healDamage(repository)
  },

  restore: async ({ world, repository, random, say }) => {
    const found = await somePoint(world, repository, random)
    if (found === undefined) return
    say(`${found.machine.name} point ${found.index} of ${found.state.points.length}`)
    await finishRestore(repository, await beginRestore(repository, found.machine, found.state, found.index))
    world.counts.comparedPoints++
  },

  hold: async ({ world, repository, random, say }) => {
    const found = await somePoint(world, repository, random)
    if (found === undefined || world.holds.length > 3) return
    say(`${found.machine.name} point ${found.state.points[found.index]?.id ?? ''}`)
    const held = await beginRestore(repository, found.machine, found.state, found.index)
    world.holds.push(held)
  },

  release: async ({ world, repository, say }) => {
    const held = world.holds.shift()
    if (held === undefined) return
    say(`${held.machine.name} point ${held.point}`)
    await finishRestore(repository, held)
    world.counts.comparedPoints++
  },

  fold: async (task) => {
    const { repository, world, random, company, say } = task
    const machine = random.pick(world.machines)
    const keep = random.between(1, 4)
    say(`${machine.name} to ${keep}`)
    const head = await repository.chains.find(machine.name)
    const points = head?.state.points ?? []
    const now = world.environment.now()
    const surplus = points.slice(0, -1).filter((point) => !isPinned(point, now))
    const chosen = surplus.slice(0, Math.max(0, points.length - keep)).map((point) => point.id)
    await remove(task, machine, company.alone ? new Set(chosen) : undefined, async () => {
      return (await foldTo(repository, machine.name, keep)).removed
    })
  },

  remove: async (task) => {
    const { repository, world, random, say } = task
    const machine = random.pick(world.machines)
    const points = (await repository.chains.find(machine.name))?.state.points ?? []
    const chosen = new Set(points.filter(() => random.chance(0.35)).map((point) => point.id))
    say(`${machine.name} ${[...chosen].join()}`)
    if (chosen.size === 0) return
    await remove(task, machine, chosen, async () => {
      return (await removePoints(repository, machine.name, chosen)).removed
    })
  },

  delete: async (task) => {
    const { repository, world, random, company, say } = task
    const machine = random.pick(world.machines)
    say(machine.name)
    const points = (await repository.chains.find(machine.name))?.state.points ?? []
    const all = new Set(points.map((point) => point.id))
    await remove(task, machine, company.alone ? all : undefined, async () => {
      // On purpose: pins do not hold it.
      const { removed } = await deleteMachine(repository, machine.name)
      machine.pinned.clear()
      return removed
    })
  },

  pin: async ({ repository, world, random, company, say }) => {
    const found = await somePoint(world, repository, random)
    const point = found?.state.points[found.index]
    if (found === undefined || point === undefined) return
    const off = random.chance(0.5)
    say(`${found.machine.name} ${point.id} ${off ? 'off' : 'on'}`)
    if (off) {
      found.machine.pinned.delete(point.id)
      await unpin(repository, found.machine.name, point.id)
    } else {
      found.machine.everPinned = true
      await pin(repository, found.machine.name, point.id, { reason: 'simulated' })
      found.machine.pinned.add(point.id)
    }
    // Of two at once, either may have been the last.
    if (!company.alone) found.machine.pinned.delete(point.id)
  },

  retain: async (task) => {
    const { repository, world, random, say } = task
    const machine = random.pick(world.machines)
    const policy = random.pick([{ last: random.between(1, 5) }, { hourly: 3 }, { daily: 2, last: 1 }])
    say(`${machine.name} ${JSON.stringify(policy)}`)
    await remove(task, machine, undefined, async () => {
      const report = await retain(repository, machine.name, { policy })
      return report.machines.flatMap((one) => one.removed)
    })
  },

  gc: async ({ repository, world, random, company, say }) => {
    const options = {
      deadShareMax: random.pick([0, 0.2, 0.4, 1]),
      graceRounds: random.below(3),
      dryRun: random.chance(0.15),
    }
    say(JSON.stringify(options))
    const before = world.files.files().join()
    const result = await collectGarbage(repository, options)
    const { removedObjects, rewrittenPacks, joinedPacks, condemnedObjects } = result
    Counts.increase(world.counts.operations, 'gc: removed', removedObjects)
    Counts.increase(world.counts.operations, 'gc: rewritten', rewrittenPacks)
    Counts.increase(world.counts.operations, 'gc: joined', joinedPacks)
    say(
      `${JSON.stringify(options)} condemned ${condemnedObjects} removed ${removedObjects} rewrote ${rewrittenPacks} joined ${joinedPacks}`,
    )
    const isAlone = company.alone && !world.life.service && world.sessions.length === 0
    if (options.dryRun && isAlone && world.files.files().join() !== before)
      throw new SimulationFailure('a dry run of gc changed the store')
  },

  verify: async ({ repository, world, company }) => {
    const result = await verifyRepository(repository, { sample: 1 })
    if (!result.ok && !world.isRotten && !company.faults.has('bad listings'))
      throw new SimulationFailure(`verify found damage where there is none: ${JSON.stringify(result)}`)
  },

  heal: async ({ repository }) => {
    await healDamage(repository)
  },

  account: async ({ repository }) => {
    const { machines, liveBytes, deadBytes, storedBytes } = await account(repository)
    const own = machines.reduce((sum, machine) => sum + machine.ownBytes, 0)
    const freed = machines
      .flatMap((machine) => machine.points)
      .reduce((sum, point) => sum + point.freedBytes, 0)
    const wrong =
      liveBytes < 0 ||
      deadBytes < 0 ||
      liveBytes + deadBytes > storedBytes ||
      own > liveBytes + 10 ||
      freed > liveBytes + 100
    if (wrong)
      throw new SimulationFailure(
        `the account does not add up: ${JSON.stringify({ liveBytes, deadBytes, storedBytes, own, freed })}`,
      )
  },

  drill: async ({ world, repository, random, company, say }) => {
    if (company.alone && company.faults.size === 0) await drill(world, repository, random, say)
  },

  begin: async ({ world, repository, random, company, say }) => {
    if (world.sessions.length > 2) return
    say(
      beginSession(world, repository, random, new Set(company.faults), (error, faults) => {
        judge(error, 'backup', { alone: false, faults }, world)
      }),
    )
  },

  commit: async ({ world }) => {
    const session = world.sessions.shift()
    if (session === undefined) return
    try {
      await session.end()
    } catch (error) {
      if (error instanceof SimulationFailure) throw error
      session.judge(error)
    }
  },

  reindex: async ({ repository, company }) => {
    // It has the repository for itself.
    if (!company.alone) return
    const index = await repository.index()
    await rebuildIndex(repository.store, repository.catalog.quarantine, index)
    await index.putNote(COMPLETE, 'yes')
  },
}

function isUpload(kind: OperationKind): kind is UploadKind {
  return kind.startsWith('upload: ')
}

async function uploadTask(task: Task, kind: UploadKind): Promise<UploadTask> {
  const { world, random, company } = task
  return {
    world,
    random,
    service: await world.openService(),
    alone: company.alone,
    faults: company.faults,
    say: task.say,
    judge: (error, faults) => {
      judge(error, kind, { alone: false, faults }, world)
    },
  }
}

async function somePoint(
  world: World,
  repository: Repository,
  random: Random,
): Promise<
  { readonly machine: ModelMachine; readonly state: ChainState; readonly index: number } | undefined
> {
  const machine = random.pick(world.machines)
  const state = (await repository.chains.find(machine.name))?.state
  if (state === undefined || state.points.length === 0) return undefined
  return { machine, state, index: random.below(state.points.length) }
}

/** Removes points, and keeps the model in step with what is certain. */
async function remove(
  { company, world }: Task,
  machine: ModelMachine,
  points: ReadonlySet<string> | undefined,
  work: () => Promise<readonly string[]>,
): Promise<void> {
  const uncertain: Uncertain = { kind: 'removal', points }
  machine.uncertain.add(uncertain)
  try {
    const removed = await work()
    machine.uncertain.delete(uncertain)
    machine.release(removed)
  } catch (error) {
    if (!(error instanceof EverfoldError)) throw error
    // What failed in the store may have had its effect all the same.
    machine.feedMayLackBase = true
    if (error.code !== 'STORE_FAILED' && error.code !== 'STORE_FULL') machine.uncertain.delete(uncertain)
    const refused = isRefusal(error.code, machine, points) || (error.code === 'LAST_POINT' && world.isRotten)
    if (!refused || !company.alone) throw error
    Counts.increase(world.counts.refusals, `removal ${error.code}`)
  }
}

/** Is this refusal right, when nobody else is at work? */
function isRefusal(code: ErrorCode, machine: ModelMachine, points: ReadonlySet<string> | undefined): boolean {
  // After a removal that is uncertain, whatever was promised may be gone.
  const mayBeGone = [...machine.uncertain].some((one) => one.kind === 'removal')
  if (code === 'MACHINE_UNKNOWN') return machine.promised.length === 0 || mayBeGone
  if (code === 'POINT_PINNED') return machine.everPinned
  if (code === 'LAST_POINT') return mayBeGone || machine.promised.every((id) => points?.has(id) ?? true)
  return false
}
