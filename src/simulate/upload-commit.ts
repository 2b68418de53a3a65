import type { PointResult } from '../chain/commit-point.js'
import type { Session } from '../chain/session/session.js'
import { isOpen } from '../chain/session/sessions.js'
import { isEverfoldError } from '../errors.js'
import { SimulationFailure } from './failure.js'
import { send } from './send.js'
import type { UploadClient } from './upload-client.js'
import {
  create,
  findSession,
  forget,
  isOvertaken,
  isRefusedFeed,
  openSession,
  told,
  type UploadTask,
} from './upload-session.js'
import { Counts } from './world.js'

/** Times that a client asks what is missing and sends it. */
const ROUNDS_MAX = 4

/** Sends what is missing, and commits; of a session that was committed it asks for the point once more. */
export async function commitUpload(task: UploadTask, client: UploadClient): Promise<void> {
  const { world, random } = task
  task.say(told(client))
  const found = await findSession(task, client)
  if (found === undefined) return
  if (!isOpen(found)) {
    noteCommitted(task, client, found.result)
    if (random.chance(0.5)) forget(world, client)
    return
  }
  if (client.running > 0 || client.isExclusive) {
    await expectBusy(task, client, found)
    return
  }
  client.isExclusive = true
  try {
    if (random.chance(0.1) && (await lacksSomething(task, client, found))) {
      await expectIncomplete(task, client, found)
      return
    }
    for (let round = 0; round < ROUNDS_MAX; round++) if (!(await sendMissing(task, client))) break
    await commit(task, client)
  } finally {
    client.isExclusive = false
  }
  if (client.isCommitted && random.chance(0.5)) await findSession(task, client)
}

/** A whole disk in one request, as of a script that tries again with the same key. */
export async function commitImage(task: UploadTask, client: UploadClient): Promise<void> {
  const { world, service, random } = task
  const disk = client.disks[0]
  if (disk === undefined) return
  task.say(`${client.machine.name} ${disk.id}`)
  client.running++
  let session: Session | undefined
  try {
    const made = await create(service, client)
    if (!isOpen(made.session)) {
      if (!client.triedCommit)
        throw new SimulationFailure(`${told(client)} was committed, and nobody asked for it`)
      noteCommitted(task, client, made.session.result)
      forget(world, client)
      return
    }
    session = made.session
    const admitted = await service.sessions.upload(session, 0)
    try {
      for (let at = 0; at < disk.bytes.length; ) {
        const length = Math.min(disk.bytes.length - at, random.between(1, 20_000))
        await admitted.upload.data(at, disk.bytes.subarray(at, at + length))
        at += length
      }
    } catch (error) {
      await admitted.abandon().catch(() => undefined)
      throw error
    }
    await admitted.finish()
    await makePoint(task, client, session, new Map([[0, disk.bytes.length]]))
    forget(world, client)
  } catch (error) {
    if (session !== undefined) await service.sessions.giveUp(session)
    const mayRepeat = isEverfoldError(error, 'STORE_FAILED', 'STORE_FULL') && client.key !== undefined
    if (!mayRepeat) forget(world, client)
    if (!(await isOvertaken(error, task, client))) throw error
  } finally {
    client.running--
  }
}

async function commit(task: UploadTask, client: UploadClient): Promise<void> {
  const session = await openSession(task, client)
  if (session === undefined || client.machine.feedUnderWay) return
  if (await lacksSomething(task, client, session)) return
  try {
    await makePoint(task, client, session)
  } catch (error) {
    if (isRefusedFeed(error, task, client)) {
      Counts.increase(task.world.counts.refusals, 'upload FEED_BASE_UNSURE')
      return
    }
    if (!(await isOvertaken(error, task, client))) throw error
  }
}

/** Commits, sometimes twice at once, and keeps the model in step with what is certain. */
async function makePoint(
  task: UploadTask,
  client: UploadClient,
  session: Session,
  sizes?: ReadonlyMap<number, number>,
): Promise<void> {
  const { service, random } = task
  const { machine, uncertain } = client
  // What the owner's next feed would be relative to is not certain any more.
  for (const disk of machine.disks) disk.inLastPoint = false
  if (++machine.backupsUnderWay > 1) machine.backupsOverlap = true
  const wasTried = client.triedCommit
  client.triedCommit = true
  machine.uncertain.add(uncertain)
  const newest = machine.promised.at(-1)
  try {
    const commits = Array.from({ length: random.chance(0.2) ? 2 : 1 }, () =>
      service.sessions.commit(session, sizes),
    )
    const [one, ...others] = await Promise.all(commits)
    if (one === undefined) return
    for (const { result } of others)
      if (result.point !== one.result.point)
        throw new SimulationFailure(`one session became ${one.result.point} and ${result.point}`)
    // Between the commit and its answer, others may have added points, or removed this one.
    const isNewest = machine.promised.at(-1) === newest && !machine.released.has(one.result.point)
    if (!wasTried && isNewest) {
      machine.uncertain.delete(uncertain)
      machine.promise(one.result.point, client.content)
    }
    noteCommitted(task, client, one.result)
  } catch (error) {
    if (isEverfoldError(error, 'STORE_FAILED', 'STORE_FULL')) machine.feedMayLackBase = true
    else if (isEverfoldError(error) && !wasTried) machine.uncertain.delete(uncertain)
    throw error
  } finally {
    for (const disk of machine.disks) disk.inLastPoint = false
    if (--machine.backupsUnderWay === 0) machine.backupsOverlap = false
  }
}

/** The service said which point it was made. */
function noteCommitted(_task: UploadTask, client: UploadClient, { point }: PointResult): void {
  if (!client.points.has(point)) throw new SimulationFailure(`${told(client)} became ${point}`)
  const { machine } = client
  const isFirst = !client.isCommitted
  client.isCommitted = true
  if (!isFirst || machine.promised.includes(point) || machine.released.has(point)) return
  machine.contents.set(point, client.content)
  // An earlier commit, whose answer was lost, made it: it is promised from now on, wherever in the chain it is by now.
  if ((machine.promised.at(-1) ?? null) === client.base) machine.promise(point, client.content)
  else machine.isAcknowledged = true
}

/** @returns whether anything had to be sent */
async function sendMissing(task: UploadTask, client: UploadClient): Promise<boolean> {
  const { world, service, random } = task
  let any = false
  for (const [number, disk] of client.disks.entries()) {
    const session = await openSession(task, client)
    if (session === undefined) return false
    const arrived = await client.arrived(
      service.sessions,
      session,
      number,
      world.isRotten || world.hadBadListing,
    )
    for (const span of disk.missing(arrived)) {
      any = true
      try {
        await send(service, client, session, { number, span }, random)
      } catch (error) {
        if (isEverfoldError(error, 'HASH_MISMATCH') && error.details['isFalse'] === true) continue
        if (isEverfoldError(error, 'CHUNK_UNKNOWN')) continue
        if (await isOvertaken(error, task, client)) return false
        throw error
      }
    }
  }
  return any
}

async function lacksSomething(
  { service, world }: UploadTask,
  client: UploadClient,
  session: Session,
): Promise<boolean> {
  for (const [number, disk] of client.disks.entries()) {
    const mayLack = world.isRotten || world.hadBadListing
    const arrived = await client.arrived(service.sessions, session, number, mayLack)
    if (disk.missing(arrived).length > 0) return true
  }
  return false
}

/** A commit beside a data request is refused. */
async function expectBusy({ service }: UploadTask, client: UploadClient, session: Session): Promise<void> {
  if (session.running === 0 || session.closed !== undefined) return
  try {
    await service.sessions.commit(session)
  } catch (error) {
    if (isEverfoldError(error, 'SESSION_BUSY')) return
    throw error
  }
  throw new SimulationFailure(`${told(client)} was committed while data came`)
}

/** A commit of what has not come is refused. Where the rest is as at the parent, the service cannot know. */
async function expectIncomplete(task: UploadTask, client: UploadClient, session: Session): Promise<void> {
  let isLacking = false
  for (const [number, disk] of client.disks.entries()) {
    if (disk.parent !== undefined) continue
    isLacking ||= (await client.arrived(task.service.sessions, session, number, true)).includes(0)
  }
  if (!isLacking) return
  try {
    await task.service.sessions.commit(session)
  } catch (error) {
    if (isEverfoldError(error, 'DISK_INCOMPLETE')) return
    if (isRefusedFeed(error, task, client) || (await isOvertaken(error, task, client))) return
    throw error
  }
  throw new SimulationFailure(`${told(client)} was committed, and not all had come`)
}
