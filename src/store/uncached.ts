import { AsyncLocalStorage } from 'node:async_hooks'

const uncachedWork = new AsyncLocalStorage<true>()

/** Runs work that has to see what the store itself holds, as verification does: no cache answers for it. */
export function uncached<T>(work: () => Promise<T>): Promise<T> {
  return uncachedWork.run(true, work)
}

export function isUncached(): boolean {
  return uncachedWork.getStore() === true
}
