import type { Logger } from 'pino'
import type { Repository } from '../chain/repository.js'
import { healDamage } from '../merge/heal.js'
import { retainAfterBackup } from '../merge/retain.js'
import { KeyedMutex } from '../mutex.js'

/**
 * What follows a point that came through the service, as it follows `everfold backup`: what is damaged may be healed by it, and the
 * machine's saved retention is applied. The point is safe whatever comes of this; nobody waits for it but the end of the service.
 */
export class AfterCommit {
  readonly #repository: Repository
  readonly #log: Logger
  readonly #onRemoved: (machine: string, removed: readonly string[]) => Promise<void>
  readonly #turn = new KeyedMutex()
  readonly #waiting = new Set<string>()
  readonly #running = new Set<Promise<void>>()
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
  note(machine: string): void {
    // One that did not begin yet will see this point as well.
    if (this.#stopped || this.#waiting.has(machine)) return
    this.#waiting.add(machine)
    const work = this.#turn.run('after', () => this.#follow(machine))
    this.#running.add(work)
    work.finally(() => this.#running.delete(work)).catch(() => undefined)
  }

  /** Begins nothing more, and waits for what is running. */
  async stop(): Promise<void> {
    this.#stopped = true
    await Promise.allSettled(this.#running)
  }

  async #follow(machine: string): Promise<void> {
    this.#waiting.delete(machine)
    if (this.#stopped) return
    try {
      const { healedChunks } = await healDamage(this.#repository)
      if (healedChunks > 0) this.#log.info({ healedChunks }, 'damaged chunks are whole again')
    } catch (error) {
      this.#log.error({ machine, err: error }, 'the point is safe, but healing failed')
    }
    try {
      const removed = await retainAfterBackup(this.#repository, machine)
      if (removed === undefined || removed.length === 0) return
      this.#log.info({ machine, removed }, 'retention')
      await this.#onRemoved(machine, removed)
    } catch (error) {
      this.#log.error({ machine, err: error }, 'the point is safe, but retention failed')
    }
  }
}
