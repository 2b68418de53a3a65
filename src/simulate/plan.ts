import type { JoinLimits } from '../chain/disk-runs.js'
import { Random } from './random.js'

/*
 * A life is planned before it is lived, as plain data, so that a failing one can be shortened: each part carries its own seed and
 * nothing depends on the parts before it but the repository itself.
 */

export type OperationKind =
  | 'backup'
  | 'restore'
  | 'hold'
  | 'release'
  | 'fold'
  | 'remove'
  | 'delete'
  | 'pin'
  | 'retain'
  | 'gc'
  | 'verify'
  | 'heal'
  | 'account'
  | 'reindex'
  | 'drill'
  /** A backup that is held open while other steps go on, and the end of one. */
  | 'begin'
  | 'commit'
  /** What clients of a service do; see uploads. */
  | UploadKind

/** Operations of the clients of a service, in lives that have one. */
export type UploadKind =
  | 'upload: begin'
  | 'upload: offer'
  | 'upload: send'
  /** A request whose body stops coming while other steps go on. */
  | 'upload: stall'
  | 'upload: commit'
  | 'upload: image'
  | 'upload: drop'
  | 'upload: sweep'

export interface Operation {
  readonly kind: OperationKind
  readonly seed: number
}

export type FaultKind =
  | 'power cut'
  | 'kill'
  | 'system error'
  | 'error before'
  | 'error after'
  | 'flipped bit'
  | 'short read'
  | 'empty listing'
  | 'partial listing'
  /** From one listing on, all are empty, or all are short. */
  | 'bad listings'
  | 'slow answer'
  | 'clock jump'
  | 'disk full'
  | 'rot'

export interface Fault {
  readonly kind: FaultKind
  /** It comes with this call, or turn, counted from the step's begin. */
  readonly at: number
  /** Of the calls, only those that sync what got its name just before are counted: the moment when it is visible and not yet durable. */
  readonly atSync?: true
  readonly seed: number
}

/** Operations that go on side by side, and what goes wrong meanwhile. */
export interface Step {
  readonly seed: number
  /** Seed of what an earlier version did before. */
  readonly bundles?: number
  /** The process is a new one, with nothing in memory. */
  readonly cold: boolean
  readonly operations: readonly Operation[]
  readonly faults: readonly Fault[]
  /** What comes after: nothing, a clean end and a new start, or a power cut while nobody does anything. */
  readonly after: 'nothing' | 'reopen' | 'power cut' | 'clock jump' | 'check'
}

/** How a process works within, in some lives: with threads that read disks, and everything in small pieces. */
export interface Work {
  /** Of a pack: written at once while it is not complete. */
  readonly earlyBytes: number
  /** Extents of a segment of a run, at most. */
  readonly segmentExtents: number
  /** When folded runs are joined. */
  readonly joinLimits: JoinLimits
  /** Is a single thread's work shared with whoever asks? */
  readonly shares: boolean
}

export interface Life {
  readonly seed: number
  readonly machines: number
  readonly level: number
  readonly frameSize: number
  readonly batchBytes: number
  readonly work: Work | undefined
  /** Turns that the removal of an object takes, at most: others meet what is going. */
  readonly removalTurns: number
  readonly steps: readonly Step[]
  /** Is there a service, to which clients upload? */
  readonly service: boolean
}

/** From this seed on, lives have a service: the same seeds below it live on as they always did. */
export const SERVICE_SEEDS_FROM = 2 ** 31
/** From this seed on, lives are those from 0 on once more, in a store to which an earlier version writes bundles now and then. */
export const BUNDLE_SEEDS_FROM = 2 ** 32

const WEIGHTS: Readonly<Record<Exclude<OperationKind, UploadKind>, number>> = {
  backup: 30,
  restore: 5,
  hold: 4,
  release: 4,
  fold: 10,
  remove: 6,
  delete: 2,
  pin: 2,
  retain: 3,
  gc: 18,
  verify: 3,
  heal: 2,
  account: 2,
  reindex: 2,
  drill: 0,
  begin: 3,
  commit: 3,
}

const SERVICE_WEIGHTS: Readonly<Record<UploadKind, number>> = {
  'upload: begin': 14,
  'upload: offer': 8,
  'upload: send': 25,
  'upload: stall': 5,
  'upload: commit': 18,
  'upload: image': 5,
  'upload: drop': 2,
  'upload: sweep': 4,
}

/** What some lives are about: what goes on at the fence of a collection, and data that comes again while its pack is condemned. */
const THEMES: readonly Partial<Record<OperationKind, number>>[] = [
  {},
  {},
  {
    gc: 40,
    backup: 30,
    begin: 15,
    commit: 15,
    fold: 12,
    delete: 4,
    restore: 1,
    pin: 0,
    retain: 0,
    verify: 1,
  },
  { gc: 30, delete: 12, remove: 12, backup: 40, reindex: 4, restore: 1, hold: 8, release: 3, pin: 0 },
]

/** Each life has its own habits. */
function habitsOf(random: Random, weather: Weather, service: boolean): readonly OperationKind[] {
  const drill = weather.kinds.includes('rot') ? 6 : 0
  const weights = { ...WEIGHTS, drill, ...random.pick(THEMES), ...(service && SERVICE_WEIGHTS) }
  return Object.entries(weights).flatMap(([kind, weight]) =>
    Array.from({ length: Math.ceil(weight * random.pick([0.2, 1, 1, 3])) }, () => kind as OperationKind),
  )
}

/** Largest number of the call or turn with which a fault comes: about as many as a long operation makes. */
const FAULT_AT_MOST: Readonly<Record<FaultKind, number>> = {
  'power cut': 600,
  kill: 600,
  'system error': 300,
  'error before': 100,
  'error after': 100,
  'flipped bit': 60,
  'short read': 60,
  'empty listing': 12,
  'partial listing': 12,
  'bad listings': 4,
  'slow answer': 100,
  'clock jump': 300,
  'disk full': 300,
  rot: 1,
}

/** What kinds of trouble a life sees. Chosen once per life: one that sees all at once proves less. */
interface Weather {
  readonly together: number
  readonly faulty: number
  readonly kinds: readonly FaultKind[]
}

function weatherOf(random: Random): Weather {
  const crashes: FaultKind[] = ['power cut', 'power cut', 'kill']
  const errors: FaultKind[] = ['system error', 'error before', 'error after', 'disk full']
  const reads: FaultKind[] = ['flipped bit', 'short read', 'empty listing', 'partial listing']
  const listings: FaultKind[] = ['empty listing', 'partial listing', 'bad listings', 'bad listings']
  const delays: FaultKind[] = ['slow answer', 'slow answer', 'clock jump']
  const kinds = random.pick<readonly FaultKind[]>([
    [],
    crashes,
    errors,
    reads,
    listings,
    ['kill', 'kill', 'kill', 'power cut'],
    [...crashes, ...listings],
    [...crashes, ...delays],
    [...crashes, ...errors],
    [...crashes, ...errors, ...reads, ...delays],
    ['rot'],
    ['rot', ...crashes],
  ])
  return {
    together: random.pick([0, 0.3, 0.8]),
    faulty: kinds.length === 0 ? 0 : random.pick([0.1, 0.3, 0.6]),
    kinds,
  }
}

export function planLife(seed: number, steps: number): Life {
  const life = planWithoutBundles(seed % BUNDLE_SEEDS_FROM, steps)
  if (seed < BUNDLE_SEEDS_FROM) return life
  const random = new Random(seed ^ 0xb0d1e)
  return {
    ...life,
    steps: life.steps.map((step) => (random.chance(0.15) ? { ...step, bundles: random.seed() } : step)),
  }
}

function planWithoutBundles(seed: number, steps: number): Life {
  const random = new Random(seed)
  const weather = weatherOf(random)
  const service = seed >= SERVICE_SEEDS_FROM
  const habits = habitsOf(random, weather, service)
  const planned: Step[] = []
  const life = {
    seed,
    machines: random.between(1, 3),
    level: random.pick([0, 1, 3]),
    frameSize: random.pick([4096, 8192, 32768]),
    batchBytes: random.pick([16384, 65536, 1 << 20]),
    work: workOf(seed),
    removalTurns: random.pick([0, 0, 60]),
    steps: planned,
    service,
  }
  while (planned.length < steps) planned.push(planStep(random, weather, habits, planned.at(-1), service))
  return life
}

/** Of every other life. It has a random of its own, so that all else of a life is as it was before there was this. */
function workOf(seed: number): Work | undefined {
  const random = new Random(seed ^ 0x70b5)
  if (random.chance(0.5)) return undefined
  return {
    earlyBytes: random.pick([1, 5000, 30_000]),
    segmentExtents: random.pick([2, 5, 20]),
    shares: random.chance(0.5),
    joinLimits: {
      smallRun: random.pick([0, 3, 16 * 1024]),
      times: random.pick([0, 1, 8]),
      above: random.pick([3, 1024 * 1024]),
      between: random.pick([0, 2]),
    },
  }
}

const READ_KINDS: ReadonlySet<FaultKind> = new Set([
  'flipped bit',
  'short read',
  'empty listing',
  'partial listing',
  'bad listings',
])
const CRASHES: ReadonlySet<FaultKind> = new Set(['power cut', 'kill'])
const SYNCS_AT_MOST = 12
const LISTING_KINDS: ReadonlySet<FaultKind> = new Set(['empty listing', 'partial listing', 'bad listings'])

/** In lives with a service: what was offered goes before it is sent, but for who was told that it is there. */
const SEQUELS: Partial<Record<OperationKind, OperationKind>> = {
  'upload: offer': 'delete',
  delete: 'gc',
  gc: 'upload: send',
}

function planStep(
  random: Random,
  weather: Weather,
  habits: readonly OperationKind[],
  previous: Step | undefined,
  service: boolean,
): Step {
  // After a kill, what was visible and not durable is relied upon, and then goes.
  const isKilled = previous?.faults.some(({ kind }) => kind === 'kill') === true
  const count = random.chance(weather.together) ? random.between(2, 4) : 1
  const operations = Array.from({ length: count }, () => ({
    kind: isKilled && random.chance(0.5) ? 'backup' : random.pick(habits),
    seed: random.seed(),
  }))
  const sequel = previous?.operations.map(({ kind }) => SEQUELS[kind]).find((kind) => kind !== undefined)
  if (service && sequel !== undefined && random.chance(0.4))
    operations.splice(0, 1, { kind: sequel, seed: random.seed() })
  const faults: Fault[] = []
  if (random.chance(weather.faulty))
    for (let i = random.between(1, random.chance(0.2) ? 3 : 1); i > 0; i--) {
      const kind = random.pick(weather.kinds)
      // Two bad answers to the same question look like damage, and may.
      if (READ_KINDS.has(kind) && faults.some((fault) => READ_KINDS.has(fault.kind))) continue
      const most = FAULT_AT_MOST[kind]
      const at = random.chance(0.5) ? random.magnitude(most) : random.between(1, most)
      const atSync = CRASHES.has(kind) && random.chance(kind === 'kill' ? 0.7 : 0.5)
      if (atSync) faults.push({ kind, at: random.magnitude(SYNCS_AT_MOST), atSync, seed: random.seed() })
      else faults.push({ kind, at, seed: random.seed() })
    }
  const after = random.chance(isKilled ? 0.5 : 0.85)
    ? 'nothing'
    : isKilled
      ? 'power cut'
      : random.pick<Step['after']>(['reopen', 'power cut', 'clock jump', 'check'])
  // What is in memory is not listed: only a new process has to believe or not.
  const cold = random.chance(faults.some(({ kind }) => LISTING_KINDS.has(kind)) ? 0.6 : 0.05)
  return { seed: random.seed(), cold, operations, faults, after }
}
