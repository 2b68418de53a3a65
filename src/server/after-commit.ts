import type { Logger } from 'pino'
import type { Repository } from '../chain/repository.js'
import { healDamage } from '../merge/heal.js'
import { type AfterBackup, retainAfterBackup } from '../merge/retain.js'
import { KeyedMutex } from '../mutex.js'

/** What followed a point. */
export interface Followed {
  /** Damaged chunks that are whole again since: absent if there were none. */
  readonly healedChunks?: number
  /** Absent if no policy is saved. */
  readonly retention?: AfterBackup
}

/** Points of which it is remembered what followed them, for whoever asks (again). */
const FOLLOWED_MAX = 1000

/**
 * What follows a point that came through the service, as it follows `everfold backup`: what is damaged may be healed by it, and the
 * machine's saved retention is applied. The point is safe whatever comes of this; nobody has to wait for it but the end of the service.
 */
export class AfterCommit {
  readonly #repository: Repository
  readonly #log: Logger
  readonly #onRemoved: (machine: string, removed: readonly string[]) => Promise<void>
  readonly #turn = new KeyedMutex()
  /** By machine: what did not begin yet, and will see points that come until then. */
  readonly #waiting = new Map<string, Promise<Followed>>()
  readonly #running = new Set<Promise<unknown>>()
  /** By point, oldest first. */
  readonly #followed = new Map<string, Promise<Followed>>()
  #stopped = false

  /** @param onRemoved  told of the points that retention removed */
  constructor(
    repository: Repository,
    log: Logger,
    onRemoved: (machine: string, removed: readonly string[]) => Promise<void>,
  ) {
    this.#repository = repository
    this.#log = log
    this.#onRemoved = onRemoved
  }

  /** To be called once the point is durable. */
  note(machine: string, point: string): void {
    if (this.#stopped) return
    const work = this.#waiting.get(machine) ?? this.#begin(machine)
    this.#followed.set(point, work)
    for (const [oldest] of this.#followed) {
      if (this.#followed.size <= FOLLOWED_MAX) break
      this.#followed.delete(oldest)
    }
  }

  /** What followed a point, once it is done; nothing if it is not known any more. */
  async followed(point: string): Promise<Followed> {
    return (await this.#followed.get(point)) ?? {}
  }

  /** Begins nothing more, and waits for what is running. */
  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.allSettled(this.#running)
  }

  #begin(machine: string): Promise<Followed> {
    const work = this.#turn.run('after', () => this.#follow(machine))
    this.#waiting.set(machine, work)
    this.#running.add(work)
    work.finally(() => this.#running.delete(work)).catch(() => undefined)
    return work
  }

  async #follow(machine: string): Promise<Followed> {
    this.#waiting.delete(machine)
    if (this.#stopped) return {}
    const healedChunks = await this.#heal(machine)
    const retention = await this.#retain(machine)
    return {
      ...(healedChunks > 0 ? { healedChunks } : {}),
      ...(retention === undefined ? {} : { retention }),
    }
  }

  async #heal(machine: string): Promise<number> {
    try {
      const { healedChunks } = await healDamage(this.#repository)
      if (healedChunks > 0) this.#log.info({ healedChunks }, 'damaged chunks are whole again')
      return healedChunks
    } catch (error) {
      this.#log.error({ machine, err: error }, 'the point is safe, but healing failed')
      return 0
    }
  }

  async #retain(machine: string): Promise<AfterBackup | undefined> {
    const outcome = await retainAfterBackup(this.#repository, machine)
    if (outcome === undefined) return undefined
    if ('error' in outcome)
      this.#log.error({ machine, error: outcome.error }, 'the point is safe, but retention failed')
    else if (outcome.removed.length > 0) {
      this.#log.info({ machine, removed: outcome.removed }, 'retention')
      await this.#onRemoved(machine, outcome.removed)
    }
    return outcome
  }
}
