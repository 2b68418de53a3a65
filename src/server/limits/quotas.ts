import type { Logger } from 'pino'
import type { Repository } from '../../chain/repository.js'
import { EverfoldError } from '../../errors.js'
import { account } from '../../merge/account.js'
import { machineSetting, type ServiceConfig } from '../config/service-config.js'

/** An account is made anew before anybody is refused, unless the machine's chain is what it was and the account is as young as this; */
const FRESH_MS = 30_000
/** and in the background, where points came since, when it is as old as this: it knows what is shared by now. */
const STALE_MS = 3_600_000
/** Machines that are remembered as refused. */
const REFUSED_MAX = 10_000

/**
 * How much of the store the points of each machine may keep. What they keep is known from an account over all runs, and what came since;
 * so a check costs nothing until a quota seems to be reached.
 */
export class Quotas {
  readonly #config: ServiceConfig
  readonly #repository: Repository
  readonly #log: Logger
  #kept: ReadonlyMap<string, number> = new Map()
  #since = new Map<string, number>()
  #madeMs = Number.NEGATIVE_INFINITY
  /** By machine: its chain state when somebody was refused last. */
  readonly #refusedAt = new Map<string, number>()
  #making: Promise<void> | undefined

  constructor(config: ServiceConfig, repository: Repository, log: Logger) {
    this.#config = config
    this.#repository = repository
    this.#log = log
  }

  /** Bytes; undefined: as many as there is room for. */
  quotaOf(machine: string): number | undefined {
    return machineSetting(this.#config, machine, 'quota')
  }

  /**
   * To be called before a session begins, and with each of its requests that brings data. Not for a commit: what was taken is kept.
   * @param openBytes  stored bytes that open sessions of the machine brought so far
   * @throws QUOTA_EXCEEDED
   */
  async check(machine: string, openBytes: number): Promise<void> {
    const quota = this.quotaOf(machine)
    if (quota === undefined) return
    const isReached = (): boolean => this.#bytesOf(machine) + openBytes >= quota
    const ageMs = this.#repository.environment.monotonicMs() - this.#madeMs
    const isFirst = this.#madeMs === Number.NEGATIVE_INFINITY
    if (isFirst) await this.#account()
    else if (ageMs > STALE_MS && this.#since.size > 0) this.#account().catch(() => undefined)
    if (!isReached()) return
    const sequence =
      (await this.#repository.chains.find(machine).catch(() => undefined))?.state.sequence ?? -1
    const isKnown = isFirst || (ageMs <= FRESH_MS && this.#refusedAt.get(machine) === sequence)
    if (!isKnown) await this.#account()
    if (!isReached()) {
      this.#refusedAt.delete(machine)
      return
    }
    if (this.#refusedAt.size >= REFUSED_MAX) this.#refusedAt.clear()
    this.#refusedAt.set(machine, sequence)
    const keptBytes = this.#bytesOf(machine)
    throw new EverfoldError(
      'QUOTA_EXCEEDED',
      `The points of "${machine}" keep ${keptBytes} bytes${openBytes > 0 ? `, and open sessions brought ${openBytes}` : ''}; its quota is ${quota}. ` +
        'Its points stay as they are. Remove points (retention does it), or have the quota raised in everfold.yaml.',
      { details: { machine, quotaBytes: quota, keptBytes, openBytes } },
    )
  }

  /**
   * A point was committed.
   * @param changedBytes  that it brought: it cannot keep more, with what the store had already. Too much is made good by the next account
   */
  committed(machine: string, changedBytes: number): void {
    this.#since.set(machine, (this.#since.get(machine) ?? 0) + changedBytes)
  }

  #bytesOf(machine: string): number {
    return (this.#kept.get(machine) ?? 0) + (this.#since.get(machine) ?? 0)
  }

  /** Whoever asks meanwhile shares it. Never rejects: where nothing can be known, backups go on. */
  #account(): Promise<void> {
    this.#making ??= this.#make().finally(() => {
      this.#making = undefined
    })
    return this.#making
  }

  async #make(): Promise<void> {
    const before = this.#since
    // What is committed meanwhile is counted here, and perhaps in the account as well: too much rather than too little.
    this.#since = new Map()
    try {
      const { machines } = await account(this.#repository)
      this.#kept = new Map(machines.map((one) => [one.machine, one.ownBytes + one.sharedBytes]))
    } catch (error) {
      this.#log.error({ err: error }, 'what machines keep cannot be told, so quotas go by what is known')
      for (const [machine, bytes] of before) this.committed(machine, bytes)
    }
    this.#madeMs = this.#repository.environment.monotonicMs()
  }
}
