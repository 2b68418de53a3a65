import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from 'pino'
import type { Repository } from '../chain/repository.js'
import { isEverfoldError } from '../errors.js'

/** How often it is looked whether locks are to be extended: costs nothing while they are not. */
const LOOK_EVERY_MS = 3600_000

/** Extends the locks of a repository with Object Lock ahead of time, also while nothing is backed up. */
export function keepLocked(repository: Repository, log: Logger): { stop(): Promise<void> } {
  const stopping = new AbortController()
  const { signal } = stopping
  const extend = async (): Promise<void> => {
    try {
      const objects = await repository.locks?.extendIfDue(signal)
      if (objects !== undefined)
        log.info({ objects, until: repository.locks?.state?.until }, 'locks were extended')
    } catch (error) {
      if (!isEverfoldError(error, 'CANCELLED')) log.error({ err: error }, 'locks could not be extended')
    }
  }
  const looking = async (): Promise<void> => {
    while (!signal.aborted) {
      await extend()
      await sleep(LOOK_EVERY_MS, undefined, { signal, ref: false }).catch(() => undefined)
    }
  }
  const done = repository.locks === undefined ? Promise.resolve() : looking()
  return {
    stop: async () => {
      stopping.abort()
      await done
    },
  }
}
