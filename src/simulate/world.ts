import type { Repository } from '../chain/repository.js'
import { Repository as RepositoryClass } from '../chain/repository.js'
import { MemoryIndex } from '../index/memory-index.js'
import type { DecideFault, Fault as StoreFault, StoreOperation } from '../store/faulty-store.js'
import { LocalStore } from '../store/local-store.js'
import { FaultInjector } from './faults.js'
import { ModelMachine } from './model.js'
import { OpenDisks } from './open-disks.js'
import type { Fault, FaultKind, Life } from './plan.js'
import { openProcess, ROOT } from './process.js'
import { Random } from './random.js'
import { finishRestore, type HeldRestore, mustRestore } from './restores.js'
import { Scheduler } from './scheduler.js'
import { Service } from './service.js'
import type { HeldSession } from './sessions.js'
import type { UploadClient } from './upload-client.js'
import { VolatileFileSystem } from './volatile-file-system.js'

/** Of the calls that write a pack early so many fail. */
const EARLY_FAULT_SHARE = 0.05

/** What happened in a life, or in many. */
export class Counts {
  readonly operations = new Map<string, number>()
  readonly faults = new Map<string, number>()
  readonly refusals = new Map<string, number>()
  points = 0
  comparedPoints = 0
  turns = 0

  static increase(map: Map<string, number>, name: string, by = 1): void {
    map.set(name, (map.get(name) ?? 0) + by)
  }

  add(other: Counts): void {
    for (const map of ['operations', 'faults', 'refusals'] as const)
      for (const [name, count] of other[map]) Counts.increase(this[map], name, count)
    this.points += other.points
    this.comparedPoints += other.comparedPoints
    this.turns += other.turns
  }
}

/** One repository with all that is around it: disk, index, clock, the process that works on it, and what must hold. */
export class World {
  readonly life: Life
  readonly files = new VolatileFileSystem()
  readonly counts = new Counts()
  readonly machines: ModelMachine[]
  readonly trace: string[] = []
  index = new MemoryIndex()
  /** A copy of the index, from some time ago: somebody may put it back. */
  #oldIndex = new MemoryIndex()
  /** The process that runs, if one does. */
  repository: Repository | undefined
  /** Restores that are held open while other things go on. */
  holds: HeldRestore[] = []
  /** Bits were flipped at rest: points may be damaged from now on, but never wrong. */
  isRotten = false
  /** Machines of drills, each with a name of its own. */
  drilled: ModelMachine[] = []
  /** What was done that must not be, whatever comes of it. */
  misuse: string | undefined
  /** What the process reads by descriptor. */
  disks = this.#newDisks()
  drills = 0
  /** Backups that are held open while other things go on. */
  sessions: HeldSession[] = []
  /** The service that runs in this process, if one does, and those who upload to it: they outlive it. */
  service: Service | undefined
  clients: UploadClient[] = []
  /** A collection may have missed open sessions: what they brought may have to come again. */
  hadBadListing = false
  injector = this.#noFaults()
  /** What a drill wants to go wrong, beside that. */
  drillFault: DecideFault = () => undefined
  #scheduler: Scheduler
  #nowMs = Date.UTC(2026, 0, 1)
  #monotonicMs = 0
  readonly #entropy: Random
  /** Apart, so that nothing else depends on it. */
  readonly #early: Random

  constructor(life: Life) {
    this.life = life
    this.machines = Array.from({ length: life.machines }, (_, i) => new ModelMachine(`m${i}`))
    this.#entropy = new Random(life.seed ^ 0x5eed)
    this.#early = new Random(life.seed ^ 0xea71)
    this.#scheduler = new Scheduler(this.#entropy)
    this.#plugIn()
  }

  /** Makes the repository, with nothing going wrong. */
  async init(): Promise<void> {
    await this.quietly(async () => {
      const store = await LocalStore.open(ROOT, {
        create: true,
        fileSystem: this.files,
        environment: this.environment,
      })
      await RepositoryClass.init(
        store,
        { chunkSize: 4096, frameSize: this.life.frameSize, packSize: 65536, level: this.life.level },
        this.environment,
      )
    })
  }

  readonly environment = {
    now: (): number => (this.#nowMs += 977),
    monotonicMs: (): number => (this.#monotonicMs += 13),
    random: (length: number): Uint8Array => this.#entropy.bytes(length),
  }

  /** Milliseconds since the world began. */
  get elapsedMs(): number {
    return this.#monotonicMs
  }

  /** So much time goes by. */
  sleep(ms: number): void {
    this.#monotonicMs += ms
    this.#nowMs += ms
  }

  /** Clocks jump, backwards too. */
  jumpClock(random: Random): void {
    this.#nowMs += (random.below(2000) - 900) * 3_600_000
  }

  /** The open repository; opens it if need be. */
  async open(): Promise<Repository> {
    // Who died never goes on, not even with turns of those who come later.
    const scheduler = this.#scheduler
    this.repository ??= await openProcess({
      files: this.files,
      index: this.index,
      environment: this.environment,
      decideFault: (operation, key) =>
        this.drillFault(operation, key) ??
        this.injector.decide(operation, key) ??
        this.#earlyFault(operation),
      turn: () => scheduler.turn(),
      batchBytes: this.life.batchBytes,
      work: this.life.work,
      disks: this.disks,
      misused: (what) => this.#misused(what),
    })
    return this.repository
  }

  /** The service, which opens with the repository. */
  async openService(): Promise<Service> {
    const repository = await this.open()
    this.service ??= new Service(repository, this.life.batchBytes / 2, () => this.isRotten)
    return this.service
  }

  /** Runs work to its end while nothing goes wrong. @throws what it throws */
  async quietly<T>(work: () => Promise<T>): Promise<T> {
    this.injector = this.#noFaults()
    const running = work()
    await this.#scheduler.run(running)
    return running
  }

  /** Runs work while these faults come. @returns false if the process did not live to its end */
  async under(faults: readonly Fault[], seed: number, work: () => Promise<void>): Promise<boolean> {
    const came = (kind: FaultKind, faultSeed: number): void => {
      this.came(kind)
      if (kind === 'clock jump') this.jumpClock(new Random(faultSeed))
    }
    this.injector = new FaultInjector(faults, came, () => this.#scheduler.turn())
    this.#scheduler.reseed(new Random(seed))
    const turnsBefore = this.#scheduler.turns
    const cut = faults.find(({ kind }) => kind === 'power cut' || kind === 'kill')
    const running = work()
    const end = await this.#scheduler.run(running, cut?.atSync === true ? undefined : cut?.at)
    this.counts.turns += this.#scheduler.turns - turnsBefore
    if (end === 'done') {
      await running
      return true
    }
    // Nothing of the old process ever goes on; nobody listens to it any more.
    running.catch(() => undefined)
    if (cut !== undefined) this.came(cut.kind)
    this.dieOf(cut?.kind ?? 'kill', cut?.seed ?? 0)
    return false
  }

  came(kind: FaultKind): void {
    this.hadBadListing ||= kind.endsWith('listing') || kind === 'bad listings'
    Counts.increase(this.counts.faults, kind)
  }

  /** The process is gone; after a power cut, so is what was not synced, all or in part. */
  dieOf(kind: 'power cut' | 'kill' | FaultKind, seed: number): void {
    this.repository = undefined
    this.service = undefined
    for (const client of this.clients) client.stop()
    this.holds = []
    this.sessions = []
    this.disks = this.#newDisks()
    this.files.closeAll()
    for (const machine of this.machines) machine.stop()
    this.#scheduler = new Scheduler(this.#entropy)
    const random = new Random(seed)
    if (kind !== 'power cut') {
      // Rebuilt from what the dead process left visible: none of that need be durable.
      if (random.chance(0.5)) this.index = new MemoryIndex()
      this.#plugIn()
      return
    }
    const survives = random.pick([0, 0, 0.5, 0.9, 1])
    this.files.restart({
      changedName: () => random.chance(survives),
      changedBytes: (synced, last) => {
        if (random.chance(survives)) return last
        return random.chance(0.5) ? synced : Buffer.from(last.subarray(0, random.below(last.length + 1)))
      },
    })
    if (random.chance(0.15)) this.index = new MemoryIndex()
    else if (random.chance(0.1)) this.index = this.#oldIndex
    else this.index.crash((unsynced) => random.below(unsynced + 1))
    if (random.chance(0.3)) this.#oldIndex = this.index.copy()
    this.#plugIn()
  }

  /** A new process; the old one ended in good order. */
  async reopen(): Promise<void> {
    // Those who send hear of it, or come to their end just before.
    if (this.service !== undefined && this.#entropy.chance(0.5)) this.service.sessions.park()
    await this.endSessions()
    await this.endRestores()
    await this.service?.sessions.close()
    this.service = undefined
    await this.repository?.close()
    this.repository = undefined
    await this.open()
  }

  /** Lets all backups that are held open come to their end. */
  async endSessions(): Promise<void> {
    for (const session of this.sessions.splice(0)) await session.end().catch(session.judge)
  }

  /** Reads all restores that are held open to their end, and compares. */
  async endRestores(): Promise<void> {
    const repository = await this.open()
    for (const held of this.holds.splice(0))
      await mustRestore(this, held.machine, held.point, () => finishRestore(repository, held))
  }

  log(line: string): void {
    this.trace.push(line)
  }

  #newDisks(): OpenDisks {
    return new OpenDisks((what) => this.#misused(what))
  }

  #misused(what: string): void {
    this.misuse ??= what
  }

  /** What cannot be written early is written later: that is no failure. */
  #earlyFault(operation: StoreOperation): StoreFault | undefined {
    if (operation !== 'begin' && operation !== 'append') return undefined
    if (!this.#early.chance(EARLY_FAULT_SHARE)) return undefined
    return { kind: this.#early.chance(0.5) ? 'error-before' : 'error-after' }
  }

  #noFaults(): FaultInjector {
    return new FaultInjector(
      [],
      () => undefined,
      async () => undefined,
    )
  }

  #plugIn(): void {
    this.files.before = async (call, path) => {
      await this.#scheduler.turn()
      const isRemoval = call === 'unlink' && !path.startsWith(`${ROOT}/tmp/`)
      if (isRemoval)
        for (let i = this.#entropy.below(this.life.removalTurns + 1); i > 0; i--) await this.#scheduler.turn()
      if (this.injector.beforeSystemCall(call, path)) await this.#scheduler.cut()
    }
  }
}
