import type { Session } from '../chain/session/session.js'
import type { SessionDone } from '../chain/session/session-objects.js'
import { isOpen } from '../chain/session/sessions.js'
import { isEverfoldError } from '../errors.js'
import { SimulationFailure } from './failure.js'
import type { FaultKind } from './plan.js'
import type { Random } from './random.js'
import type { Service } from './service.js'
import type { UploadClient } from './upload-client.js'
import type { World } from './world.js'

const OWNER = 'simulated'

/** What an operation of a client works with. */
export interface UploadTask {
  readonly world: World
  readonly service: Service
  readonly random: Random
  readonly alone: boolean
  readonly faults: ReadonlySet<FaultKind>
  say: (what: string) => void
  /** @throws unless an error may come, given what went wrong */
  readonly judge: (error: unknown, faults: ReadonlySet<FaultKind>) => void
}

/** As the service does it. */
export async function create(
  service: Service,
  client: UploadClient,
): Promise<{ readonly session: Session | SessionDone; readonly created: boolean }> {
  const made = await service.sessions.create(OWNER, client.request, service.limit, client.key)
  if (isOpen(made.session)) {
    if (client.request.single === true) client.session = undefined
    client.meet(made.session)
  }
  return made
}

/** The session of a client, if it is open. What was acknowledged must be there. */
export async function openSession(
  task: Pick<UploadTask, 'world' | 'service'>,
  client: UploadClient,
): Promise<Session | undefined> {
  const found = await findSession(task, client)
  return found === undefined || !isOpen(found) ? undefined : found
}

export async function findSession(
  { world, service }: Pick<UploadTask, 'world' | 'service'>,
  client: UploadClient,
): Promise<Session | SessionDone | undefined> {
  if (client.session === undefined) return undefined
  const askedMs = world.elapsedMs
  try {
    const found = await service.sessions.get(client.session)
    if (isOpen(found)) {
      // Whatever became of the point: the record lies beside the session, and bits rot in there.
      if (client.isCommitted && !world.isRotten)
        throw new SimulationFailure(`${told(client)} was committed, and is open again`)
      client.usedMs = askedMs
      for (const number of client.disks.keys())
        await client.arrived(service.sessions, found, number, world.isRotten || world.hadBadListing)
      return found
    }
    if (!client.triedCommit)
      throw new SimulationFailure(`${told(client)} was committed, and nobody asked for it`)
    if (!client.points.has(found.result.point))
      throw new SimulationFailure(`${told(client)} became ${found.result.point}`)
    return found
  } catch (error) {
    if (!isEverfoldError(error, 'SESSION_UNKNOWN') || !(client.mayBeGone || world.isRotten)) throw error
    forget(world, client)
    return undefined
  }
}

/** Every session that was promised is there after a crash, with what was acknowledged. */
export async function checkUploads(world: World, service: Service): Promise<void> {
  for (const client of [...world.clients])
    if (client.request.single !== true) await findSession({ world, service }, client)
}

/** Is there another point now, so that the session cannot be committed any more? Then it is dropped. */
export async function isOvertaken(error: unknown, task: UploadTask, client: UploadClient): Promise<boolean> {
  if (!isEverfoldError(error, 'CONFLICT')) return false
  const { world, service } = task
  const points = (await service.repository.chains.find(client.machine.name))?.state.points ?? []
  // Without a key, an earlier session of the same client, cut short, may have made a point of its own.
  if (points.some(({ id }) => id === client.point))
    throw new SimulationFailure(`${told(client)} is a point, and its commit was refused`, error)
  if ((points.at(-1)?.id ?? null) === client.base) return false
  forget(world, client)
  return true
}

/** Is the parent that was named not the newest point any more? */
export async function hasOtherParent(
  error: unknown,
  { service }: UploadTask,
  { machine, request }: UploadClient,
): Promise<boolean> {
  if (!isEverfoldError(error, 'CONFLICT')) return false
  const points = (await service.repository.chains.find(machine.name))?.state.points
  return points?.at(-1)?.id !== request.parent
}

/** May a feed not be taken, since nobody knows what the newest point was? */
export function isRefusedFeed(error: unknown, { alone }: UploadTask, { machine }: UploadClient): boolean {
  return (
    isEverfoldError(error, 'FEED_BASE_UNSURE', 'FEED_WITHOUT_BASE') && (!alone || machine.feedMayLackBase)
  )
}

export function forget({ clients }: World, client: UploadClient): void {
  const at = clients.indexOf(client)
  if (at >= 0) clients.splice(at, 1)
}

export function told(client: UploadClient): string {
  return `session ${client.session ?? '?'} of ${client.machine.name} (point ${client.point})`
}
