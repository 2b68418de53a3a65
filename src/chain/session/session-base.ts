import { loadBase } from '../backup.js'
import type { BaseDisk } from '../base-disk.js'
import { overtaken } from '../commit-point.js'
import type { Repository } from '../repository.js'
import type { SessionBegin, SessionDisk } from './session-objects.js'

/**
 * The newest point's disk, to compare with; undefined if there is none, or it cannot be read: then everything is stored anew.
 * @throws CONFLICT if the newest point is another one than when the session began; STORE_FAILED
 */
export async function loadBaseOf(
  repository: Repository,
  begin: SessionBegin,
  disk: SessionDisk,
): Promise<BaseDisk | undefined> {
  const head = await repository.chains.find(begin.machine)
  const newest = head?.state.points.at(-1)
  if (head === undefined || newest === undefined || newest.id !== begin.base)
    throw overtaken(begin.machine, newest?.id)
  const previous = newest.disks.find(({ id }) => id === disk.id)
  if (previous === undefined) return undefined
  // What is the same is only named as such: it stays as long as that point, and the commit asks for that.
  const pins = repository.pins.begin()
  try {
    return await loadBase(repository, head.state, previous, pins)
  } finally {
    pins.end()
  }
}
