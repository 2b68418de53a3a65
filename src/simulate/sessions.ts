import type { Repository } from '../chain/repository.js'
import { backUpMachine } from './backups.js'
import type { FaultKind } from './plan.js'
import type { Random } from './random.js'
import type { World } from './world.js'

/** A backup that has begun, and waits for the rest of its disks while other things go on, collections above all. */
export interface HeldSession {
  /** What went wrong since it began. */
  readonly faults: Set<FaultKind>
  /** Lets it go on to its end. @throws what the backup throws */
  end(): Promise<void>
  /** @throws unless it may fail like that */
  readonly judge: (error: unknown) => void
}

/**
 * Begins a backup, in the background.
 * @param faults  What goes wrong in the step that it begins in; what comes later is added.
 * @param judge  as {@link HeldSession.judge}, told what went wrong meanwhile
 */
export function beginSession(
  world: World,
  repository: Repository,
  random: Random,
  faults: Set<FaultKind>,
  judge: (error: unknown, faults: ReadonlySet<FaultKind>) => void,
): string {
  const machine = random.pick(world.machines)
  let open = (): void => undefined
  const gate = new Promise<void>((resolve) => {
    open = resolve
  })
  let said = ''
  const done = backUpMachine(world, repository, random, false, (what) => (said = what), machine, gate)
  // Whoever ends it is told.
  done.catch(() => undefined)
  world.sessions.push({
    faults,
    end: () => {
      open()
      return done
    },
    judge: (error) => {
      judge(error, faults)
    },
  })
  return said
}
