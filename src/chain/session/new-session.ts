import { bytesToHex, sha256 } from '../../checksum.js'
import { EverfoldError } from '../../errors.js'
import { SESSION_ID_LENGTH, sessionIdFrom } from '../../ids.js'
import { checkName, checkNote } from '../../names.js'
import { sessionBeginKey } from '../../store/keys.js'
import { CHUNKER_DEFAULT, checkFeedBase, cutOtherwise, newPointId, withoutBase } from '../backup.js'
import type { PointState } from '../chain-state.js'
import type { ChainHead } from '../chains.js'
import { overtaken } from '../commit-point.js'
import type { Repository } from '../repository.js'
import { Session } from './session.js'
import { encodeBegin, type SessionBegin, type SessionDisk } from './session-objects.js'

/** Disks of one session. */
export const SESSION_DISKS_MAX = 256
const SERIES_BYTES = 8

export interface DiskRequest {
  readonly id: string
  readonly sizeBytes: number
  /** Is all of it going to be sent, or what changed since the parent? */
  readonly content?: 'whole' | 'changes'
  readonly chunker?: 'fixed' | 'cdc'
}

export interface SessionRequest {
  readonly machine: string
  readonly disks: readonly DiskRequest[]
  /** `newest`, or the id of the newest point. */
  readonly parent?: string
  readonly note?: string
  readonly consistency?: SessionBegin['consistency']
  /** One request brings all of it. */
  readonly single?: true
}

/** The same for whoever asks with the same key; else a new one each time. */
export function sessionIdOf(
  repository: Repository,
  owner: string,
  machine: string,
  key: string | undefined,
): string {
  if (key === undefined) return sessionIdFrom(repository.environment.random(SESSION_ID_LENGTH))
  return sessionIdFrom(sha256(Buffer.from(JSON.stringify(['everfold session', owner, machine, key]))))
}

/** Begins a session under an id that is free, durably. @throws as Sessions.create */
export async function beginSession(
  repository: Repository,
  id: string,
  owner: string,
  request: SessionRequest,
): Promise<Session> {
  const machine = checkName('machine', request.machine)
  const head = await repository.chains.find(machine)
  const newest = head?.state.points.at(-1)
  checkParent(machine, request, newest)
  const { note, consistency } = request
  if (note !== undefined) checkNote(note)
  const { environment } = repository
  const begin: SessionBegin = {
    everfold: 'session',
    format: 1,
    session: id,
    series: bytesToHex(environment.random(SERIES_BYTES)),
    machine,
    owner,
    createdAt: new Date(environment.now()).toISOString(),
    point: newPointId(repository, head?.state),
    base: newest?.id ?? null,
    named: request.parent !== undefined,
    ...(note === undefined ? {} : { note }),
    consistency: consistency ?? 'crash',
    ...(request.single && { single: true }),
    disks: disksOf(machine, request, head, newest),
  }
  if ((await repository.store.put(sessionBeginKey(id), [encodeBegin(begin)])) === 'exists')
    throw new EverfoldError('CONFLICT', 'A session of this id is there already. Try again.', {
      details: { session: id },
    })
  return new Session(repository, begin)
}

/** @throws CONFLICT, FEED_WITHOUT_BASE */
function checkParent(
  machine: string,
  { parent, disks }: SessionRequest,
  newest: PointState | undefined,
): void {
  if (parent === undefined) return
  const fed = newest === undefined ? disks.find(({ content }) => content !== 'whole') : undefined
  if (fed !== undefined) throw withoutBase(fed.id)
  if (newest === undefined)
    throw new EverfoldError(
      'FEED_WITHOUT_BASE',
      `"${machine}" has no point yet that could be the parent. Send whole disks, without a parent.`,
      { details: { machine } },
    )
  if (parent !== 'newest' && parent !== newest.id) throw overtaken(machine, newest.id)
}

function disksOf(
  machine: string,
  request: SessionRequest,
  head: ChainHead | undefined,
  newest: PointState | undefined,
): SessionDisk[] {
  const { disks } = request
  if (disks.length === 0 || disks.length > SESSION_DISKS_MAX)
    throw new EverfoldError('ARGUMENT_INVALID', `A session is of 1 to ${SESSION_DISKS_MAX} disks.`)
  const seen = new Set<string>()
  return disks.map((disk) => {
    const id = checkName('disk', disk.id)
    if (seen.has(id)) throw new EverfoldError('ARGUMENT_INVALID', `Disk "${id}" is named twice.`)
    seen.add(id)
    const previous = newest?.disks.find((candidate) => candidate.id === id)
    const content = disk.content ?? (request.parent === undefined ? 'whole' : 'changes')
    const chunker = previous?.chunker ?? disk.chunker ?? CHUNKER_DEFAULT
    if (disk.chunker !== undefined && disk.chunker !== chunker) throw cutOtherwise(id, chunker)
    const { sizeBytes } = disk
    if (content === 'whole') return { id, sizeBytes, content, chunker, knownBytes: 0 }
    if (request.parent === undefined)
      throw new EverfoldError(
        'ARGUMENT_INVALID',
        `Disk "${id}" sends changes: name the parent that they are relative to.`,
      )
    if (previous === undefined) throw withoutBase(id)
    checkFeedBase(machine, head)
    return { id, sizeBytes, content, chunker, knownBytes: Math.min(sizeBytes, previous.sizeBytes) }
  })
}
