import { lackingOf } from '../chain/session/offers.js'
import { isOpen, SESSION_EXPIRY_MS } from '../chain/session/sessions.js'
import { isEverfoldError } from '../errors.js'
import { live } from './backups.js'
import { SimulationFailure } from './failure.js'
import { lostAnswerDrill } from './lost-answer-drill.js'
import { offerDrill } from './offer-drill.js'
import type { UploadKind } from './plan.js'
import type { Random } from './random.js'
import { chunksOf, hashOf, nameOf, type Sending, send } from './send.js'
import { type Span, UploadClient, UploadedDisk } from './upload-client.js'
import { commitImage, commitUpload } from './upload-commit.js'
import {
  create,
  forget,
  hasOtherParent,
  isOvertaken,
  isRefusedFeed,
  openSession,
  told,
  type UploadTask,
} from './upload-session.js'

const CLIENTS_MAX = 4
/** Chunks that are offered at once. */
const OFFERED_MAX = 40
/** Longer than sessions, and what is known of those that were committed, are kept. */
const LONG_MS = 25 * 3600 * 1000

export const UPLOADS: Readonly<Record<UploadKind, (task: UploadTask) => Promise<void>>> = {
  'upload: begin': async (task) => {
    await beginSome(task)
  },

  'upload: offer': async (task) => {
    const { service, random } = task
    const mayDrill = task.alone && task.faults.size === 0 && !task.world.isRotten
    if (mayDrill && random.chance(0.2)) {
      await random.pick([offerDrill, offerDrill, lostAnswerDrill])(task)
      return
    }
    const client = await activeClient(task)
    const session = client && (await openSession(task, client))
    const number = client === undefined ? 0 : random.below(client.disks.length)
    const disk = client?.disks[number]
    if (client === undefined || session === undefined || disk === undefined || disk.bytes.length === 0) return
    const all = chunksOf(disk, { start: 0, end: disk.bytes.length })
    const first = random.below(all.length)
    const chunks = all.slice(first, first + random.between(1, OFFERED_MAX))
    if (chunks.length === 0) return
    const lacking = await lackingOf(
      service.repository,
      session,
      Buffer.concat(chunks.map((chunk) => hashOf(disk, chunk))),
    )
    let held = 0
    for (const [i, chunk] of chunks.entries()) {
      if (((lacking[i >> 3] ?? 0) >> (i & 7)) & 1) continue
      client.offered.set(nameOf(disk, chunk), service)
      held++
    }
    const span = { start: chunks[0]?.start ?? 0, end: chunks.at(-1)?.end ?? 0 }
    client.offers = [...client.offers.slice(-3), { number, span, chunks }]
    task.say(`${told(client)} ${disk.id}: ${held} of ${chunks.length} are there`)
  },

  'upload: send': async (task) => {
    const { service, random } = task
    const client = await activeClient(task)
    const session = client && (await openSession(task, client))
    if (client === undefined || session === undefined || client.isExclusive) return
    const sending = someSending(client, random)
    if (sending.span.start === sending.span.end) return
    task.say(whatIsSent(client, sending))
    await gently(task, client, () => send(service, client, session, sending, random))
  },

  'upload: stall': async (task) => {
    const { world, service, random } = task
    const client = await activeClient(task)
    const session = client && (await openSession(task, client))
    if (client === undefined || session === undefined || client.isExclusive || world.sessions.length > 2)
      return
    const sending = someSending(client, random)
    if (sending.span.start === sending.span.end) return
    task.say(whatIsSent(client, sending))
    let open = (): void => undefined
    const gate = new Promise<void>((resolve) => (open = resolve))
    service.sessions.parking.addEventListener('abort', () => {
      open()
    })
    const faults = new Set(task.faults)
    const done = gently(task, client, () => send(service, client, session, { ...sending, gate }, random))
    done.catch(() => undefined)
    const judge = (error: unknown): void => {
      task.judge(error, faults)
    }
    const end = (): Promise<void> => {
      open()
      return done
    }
    world.sessions.push({ faults, end, judge })
  },

  'upload: commit': async (task) => {
    const client = someClient(task)
    if (client === undefined) return
    await commitUpload(task, client)
  },

  'upload: image': async (task) => {
    const { world, random } = task
    const again = world.clients.find((one) => one.request.single === true && one.running === 0)
    if (again === undefined && world.clients.length >= CLIENTS_MAX) return
    const client =
      again ?? (await newClient(task, random.chance(0.7) ? `key ${random.seed()}` : undefined, true))
    if (client === undefined) return
    await commitImage(task, client)
  },

  'upload: drop': async (task) => {
    const { world, service } = task
    const client = someClient(task)
    const session = client && (await openSession(task, client))
    if (client === undefined || session === undefined) return
    task.say(told(client))
    client.mayBeGone = true
    await service.sessions.drop(session.id)
    forget(world, client)
  },

  'upload: sweep': async (task) => {
    const { world, service, random, alone } = task
    const isLong = random.chance(0.3)
    const knowsAll = service.isReady
    world.sleep(isLong ? LONG_MS : random.pick([0, LONG_MS * 0.6]))
    for (const client of world.clients)
      client.mayBeGone ||= world.elapsedMs - client.usedMs > SESSION_EXPIRY_MS
    task.say(isLong ? 'after a day' : '')
    await service.sweep()
    if (!isLong || !knowsAll || !alone || world.sessions.length > 0) return
    const left = await service.sessions.list()
    if (left.length > 0)
      throw new SimulationFailure(`a day later session ${left[0]?.session ?? ''} is still open`)
  },
}

/** One whose answer was lost comes again, if it has a key; else a new client. */
async function beginSome(task: UploadTask): Promise<void> {
  const { world, random } = task
  const again = world.clients.find(
    (client) => client.session === undefined && client.running === 0 && client.request.single !== true,
  )
  if (again === undefined && world.clients.length >= CLIENTS_MAX) return
  const client = again ?? (await newClient(task, random.chance(0.6) ? `key ${random.seed()}` : undefined))
  if (client !== undefined) await begin(task, client)
}

/** A client of a machine, whose disks are as they are now. */
async function newClient(
  { world, service, random }: UploadTask,
  key: string | undefined,
  single = false,
): Promise<UploadClient | undefined> {
  const machine = random.pick(world.machines)
  const all = live(machine, world, random)
  const chosen = single ? all.filter((disk) => disk.bytes.length > 0).slice(0, 1) : all
  if (chosen.length === 0) return undefined
  const snapshot = chosen.map((disk) => ({ id: disk.id, chunker: disk.chunker, bytes: disk.bytes }))
  const newest = (await service.repository.chains.find(machine.name))?.state.points.at(-1)?.id
  const before = newest === undefined ? undefined : machine.contents.get(newest)
  const disks = snapshot.map(({ id, chunker, bytes }) => {
    const isChanges = !single && before?.has(id) === true && random.chance(0.6)
    return new UploadedDisk(id, chunker, bytes, isChanges ? before.get(id) : undefined)
  })
  const requests = disks.map((disk) => ({
    id: disk.id,
    sizeBytes: single ? Number.MAX_SAFE_INTEGER : disk.bytes.length,
    chunker: disk.chunker,
    content: disk.parent === undefined ? ('whole' as const) : ('changes' as const),
  }))
  const isNamed = disks.some((disk) => disk.parent !== undefined)
  const client = new UploadClient(
    machine,
    {
      machine: machine.name,
      disks: requests,
      ...(isNamed && newest !== undefined ? { parent: newest } : {}),
      ...(single ? { single } : {}),
    },
    key,
    disks,
  )
  world.clients.push(client)
  return client
}

/** Begins a session, or asks again for the one that was begun with the same key. */
async function begin(task: UploadTask, client: UploadClient): Promise<void> {
  const { world, service } = task
  task.say(
    `${client.machine.name} ${client.request.disks.map(({ id, content }) => `${id}:${content ?? ''}`).join()}`,
  )
  client.running++
  const askedMs = world.elapsedMs
  try {
    const { session } = await create(service, client)
    client.usedMs = askedMs
    if (!isOpen(session))
      throw new SimulationFailure(`${told(client)} was committed before anything was sent`)
    task.say(
      `${told(client)} ${client.request.disks.map(({ id, content }) => `${id}:${content ?? ''}`).join()}`,
    )
  } catch (error) {
    if (!isEverfoldError(error, 'STORE_FAILED', 'STORE_FULL') || client.key === undefined)
      forget(world, client)
    if (!isRefusedFeed(error, task, client) && !(await hasOtherParent(error, task, client))) throw error
  } finally {
    client.running--
  }
}

/** Runs a data request; refusals that a client has to expect end it. */
async function gently(task: UploadTask, client: UploadClient, work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    // A deliberately false frame, or a chunk that is no longer there: the client sends it in another way.
    if (isEverfoldError(error, 'HASH_MISMATCH') && error.details['isFalse'] === true) return
    if (isEverfoldError(error, 'CHUNK_UNKNOWN')) return
    if (isEverfoldError(error, 'SERVICE_STOPPING') && task.service.sessions.parking.aborted) return
    if (isEverfoldError(error, 'SESSION_UNKNOWN') && client.mayBeGone) return
    if (!(await isOvertaken(error, task, client))) throw error
  }
}

/** A client that has a session; one is begun if there is none. */
async function activeClient(task: UploadTask): Promise<UploadClient | undefined> {
  const found = someClient(task)
  if (found !== undefined) return found
  await beginSome(task)
  return someClient(task)
}

function someClient({ world, random }: UploadTask): UploadClient | undefined {
  const open = world.clients.filter(
    (client) => client.session !== undefined && client.request.single !== true,
  )
  return open.length === 0 ? undefined : random.pick(open)
}

/** What was offered a while ago, or any part of any disk. */
function someSending(client: UploadClient, random: Random): Sending {
  if (client.offers.length > 0 && random.chance(0.5)) {
    const sending = random.pick(client.offers)
    client.offers = client.offers.filter((one) => one !== sending)
    return sending
  }
  const number = random.below(client.disks.length)
  const disk = client.disks[number]
  if (disk === undefined) throw new RangeError('a client without disks')
  return { number, span: someSpan(disk, random) }
}

function whatIsSent(client: UploadClient, { number, span }: Sending): string {
  return `${told(client)} ${client.disks[number]?.id ?? ''} ${span.start}..${span.end}`
}

/** Mostly what is missing, else anything. */
function someSpan(disk: UploadedDisk, random: Random): Span {
  const missing = disk.missing()
  if (missing.length > 0 && random.chance(0.75)) {
    const { start, end } = random.pick(missing)
    return random.chance(0.5) ? { start, end } : { start, end: start + random.between(1, end - start) }
  }
  const start = random.below(disk.bytes.length + 1)
  return { start, end: start + random.below(disk.bytes.length - start + 1) }
}
