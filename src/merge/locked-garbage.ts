import type { ChainState } from '../chain/chain-state.js'
import { segmentsOfChain } from '../chain/disk-runs.js'
import {
  machinesPrefix,
  parseChainKey,
  parsePackKey,
  repositoryKey,
  runKey,
  settingsPrefix,
} from '../store/keys.js'
import type { ObjectLocks, RemovedObject } from '../store/object-lock.js'
import type { References } from './live.js'

/** What a round of garbage collection did where objects are locked. */
export interface LocksResult {
  /** Objects whose locks were extended; null if that was not due. */
  readonly extendedObjects: number | null
  /** ISO 8601: what is there is locked until then at least. */
  readonly until: string | null
  /** Removed earlier, and now for good: their locks are over. */
  readonly freedObjects: number
  readonly freedBytes: number
  /** Removed, and still locked. */
  readonly lockedBytes: number
}

/**
 * What was removed from a bucket with Object Lock is out of sight, and goes for good when its lock is over. A removal of what is
 * needed was not ours: of that, nothing goes.
 */
export class LockedGarbage {
  readonly #locks: ObjectLocks
  readonly #lockedBytes: number
  #due: readonly RemovedObject[]

  private constructor(locks: ObjectLocks, due: readonly RemovedObject[], lockedBytes: number) {
    this.#locks = locks
    this.#due = due
    this.#lockedBytes = lockedBytes
  }

  /** @returns undefined where nothing is locked @throws PERMISSION_MISSING, STORE_FAILED */
  static async find(locks: ObjectLocks | undefined): Promise<LockedGarbage | undefined> {
    if (locks === undefined) return undefined
    const { due, waitingBytes } = await locks.removed()
    return new LockedGarbage(locks, due, waitingBytes)
  }

  /** To be called with all references there are, or with those to one part of the packs after the other. */
  spare(references: References): void {
    this.#due = this.#due.filter(({ key }) => {
      const pack = parsePackKey(key)
      return pack === undefined || !references.has(pack.packId)
    })
  }

  /** @param heads  of all machines @throws PERMISSION_MISSING, STORE_FAILED, CANCELLED */
  async remove(heads: readonly ChainState[], signal: AbortSignal | undefined): Promise<LocksResult> {
    const extendedObjects = (await this.#locks.extendIfDue(signal)) ?? null
    const isNeeded = neededBy(heads)
    const freed = await this.#locks.removeForGood(this.#due.filter(({ key }) => !isNeeded(key)))
    return {
      extendedObjects,
      until: this.#locks.state?.until ?? null,
      freedObjects: freed.objects,
      freedBytes: freed.bytes,
      lockedBytes: this.#lockedBytes,
    }
  }
}

/** Of what is no pack: might these heads, or what comes after them, need it? */
function neededBy(heads: readonly ChainState[]): (key: string) => boolean {
  const runs = new Set<string>()
  const sequences = new Map(heads.map(({ machine, sequence }) => [machine, sequence]))
  for (const head of heads) for (const { id } of segmentsOfChain(head)) runs.add(runKey(head.machine, id))
  return (key) => {
    // We remove those alone that are below the head.
    const chain = parseChainKey(key)
    if (chain !== undefined) return chain.sequence >= (sequences.get(chain.machine) ?? 0)
    return runs.has(key) || isNeverRemoved(key)
  }
}

function isNeverRemoved(key: string): boolean {
  return key === repositoryKey || key.startsWith(machinesPrefix) || key.startsWith(settingsPrefix)
}
