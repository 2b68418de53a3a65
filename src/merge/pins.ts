import type { Pin, PointState } from '../chain/chain-state.js'
import { findPoint } from '../chain/find-point.js'
import type { Repository } from '../chain/repository.js'
import { EverfoldError } from '../errors.js'

/** A reason is a line for people. */
export const PIN_REASON_LENGTH_MAX = 200

export interface PinRequest {
  readonly reason: string
  /** Milliseconds since 1970, UTC, from which on the pin no longer holds. Without it: until it is taken off. */
  readonly untilMs?: number
}

export interface PinResult {
  readonly machine: string
  readonly point: string
  /** The pin as it is now; null: none. */
  readonly pin: Pin | null
  /** The pin as it was; null: none. */
  readonly before: Pin | null
}

/** Is the point kept by a pin? One whose time has passed keeps nothing. */
export function isPinned(point: Pick<PointState, 'pin'>, nowMs: number): boolean {
  return point.pin !== undefined && (point.pin.until === undefined || Date.parse(point.pin.until) > nowMs)
}

/** `pinned: before the upgrade (until 2026-12-31T00:00:00.000Z)` */
export function pinText(pin: Pin): string {
  return `pinned: ${pin.reason}${pin.until === undefined ? '' : ` (until ${pin.until})`}`
}

/**
 * Keeps a point from being folded away, and replaces the pin that it may have.
 * @param wanted  as {@link findPoint}
 * @throws ARGUMENT_INVALID for an empty reason, one of several lines or too long, and for a time that has passed;
 *         MACHINE_UNKNOWN, and as findPoint and Chains.edit: nothing was changed then
 */
export async function pin(
  repository: Repository,
  machine: string,
  wanted: string,
  request: PinRequest,
): Promise<PinResult> {
  return setPin(repository, machine, wanted, checkRequest(request, repository.environment.now()))
}

/**
 * Takes a point's pin off. A point without one stays as it is: that is no error.
 * @throws MACHINE_UNKNOWN, and as findPoint and Chains.edit: nothing was changed then
 */
export async function unpin(repository: Repository, machine: string, wanted: string): Promise<PinResult> {
  const { point } = findPoint((await repository.chains.get(machine)).state, wanted)
  if (point.pin === undefined) return { machine, point: point.id, pin: null, before: null }
  return setPin(repository, machine, point.id, undefined)
}

async function setPin(
  repository: Repository,
  machine: string,
  wanted: string,
  next: Pin | undefined,
): Promise<PinResult> {
  let changed: PointState | undefined
  const known = await repository.chains.get(machine)
  await repository.chains.edit(machine, (head) => {
    const { state } = head ?? known
    const { point, index } = findPoint(state, wanted)
    changed = point
    const { pin: _before, ...bare } = point
    return { points: state.points.with(index, next === undefined ? bare : { ...bare, pin: next }) }
  })
  return { machine, point: changed?.id ?? wanted, pin: next ?? null, before: changed?.pin ?? null }
}

function checkRequest(request: PinRequest, nowMs: number): Pin {
  const reason = request.reason.trim()
  if (reason === '' || reason.length > PIN_REASON_LENGTH_MAX || /\p{Cc}/u.test(reason))
    throw new EverfoldError(
      'ARGUMENT_INVALID',
      `A pin needs a reason: one line of at most ${PIN_REASON_LENGTH_MAX} characters.`,
    )
  const { untilMs } = request
  if (untilMs === undefined) return { reason }
  const until = new Date(untilMs)
  if (Number.isNaN(until.getTime()))
    throw new EverfoldError('ARGUMENT_INVALID', 'This is no time to pin a point until.')
  if (untilMs <= nowMs)
    throw new EverfoldError(
      'ARGUMENT_INVALID',
      `${until.toISOString()} has passed, so the pin would hold nothing. Give a time to come, or none.`,
      { details: { until: until.toISOString() } },
    )
  return { reason, until: until.toISOString() }
}
