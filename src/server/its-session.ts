import type { PointResult } from '../chain/commit-point.js'
import type { SessionRequest } from '../chain/session/new-session.js'
import { type Session, sessionGone } from '../chain/session/session.js'
import type { SessionDone } from '../chain/session/session-objects.js'
import { isOpen, type Sessions } from '../chain/session/sessions.js'
import { EverfoldError } from '../errors.js'
import { isSessionId } from '../store/keys.js'
import { coversMachine } from './roles.js'
import type { Call } from './route.js'
import type { Service } from './service.js'
import type { TokenInfo } from './token-book.js'

/**
 * The session in an address, if the token may have it: an admin's any, anybody else's own.
 * @throws SESSION_UNKNOWN, the same whether there is none or it is another's; STORE_FAILED
 */
export async function sessionOf(
  { sessions }: Service,
  {
    params,
    token,
    facts,
  }: Pick<Call<{ readonly session: string }, unknown, unknown>, 'params' | 'token' | 'facts'>,
): Promise<Session | SessionDone> {
  facts['session'] = params.session
  if (!isSessionId(params.session)) throw sessionGone(params.session)
  const found = await sessions.get(params.session)
  const { owner, machine } = isOpen(found)
    ? found.begin
    : { owner: found.owner, machine: found.result.machine }
  const may = token?.role === 'admin' ? coversMachine(token.machines, machine) : token?.id === owner
  if (!may) throw sessionGone(params.session)
  facts.machine = machine
  return found
}

/**
 * Begins a session for a token, if it may have one more and the machine's quota is not reached.
 * @throws QUOTA_EXCEEDED, and as Sessions.create
 */
export async function createFor(
  { sessions, limits, quotas }: Service,
  token: TokenInfo | undefined,
  request: SessionRequest,
  key: string | undefined,
): ReturnType<Sessions['create']> {
  if (token === undefined) throw new Error('a session is of a token')
  await quotas.check(request.machine, sessions.broughtBytes(request.machine))
  const limit = { all: limits.sessionsMax, own: limits.tokenMax('sessions', token) }
  return sessions.create(token.id, request, limit, key)
}

/** What follows a commit. */
export function noteCommitted(
  { quotas, afterCommit }: Service,
  { machine, point, changedBytes }: PointResult,
): void {
  quotas.committed(machine, changedBytes)
  afterCommit.note(machine, point)
}

/** @throws CONFLICT if it was committed */
export function openOnly(found: Session | SessionDone): Session {
  if (isOpen(found)) return found
  throw new EverfoldError('CONFLICT', 'This session was committed already; its point stays as it is.', {
    details: { session: found.session, point: found.result.point },
  })
}
