import { EverfoldError } from '../errors.js'
import { POINT_ID_LENGTH } from '../ids.js'
import type { ChainState, PointState } from './chain-state.js'
import type { ChainHead } from './chains.js'

const LOOKS_LIKE_TIME = /^\d{4}-\d{2}-\d{2}/
const IS_DATE = /^\d{4}-\d{2}-\d{2}$/

/**
 * Finds a point by `latest`, `parent`, its id, a unique prefix of its id, or an ISO 8601 time (the newest point at or
 * before it; without a zone: the local time of this process).
 * @returns the point and its place in the chain
 * @throws POINT_UNKNOWN, POINT_AMBIGUOUS, ARGUMENT_INVALID
 */
export function findPoint(
  state: ChainState,
  wanted: string,
): { readonly point: PointState; readonly index: number } {
  const index = indexOf(state, wanted)
  const point = state.points[index]
  if (point !== undefined) return { point, index }
  throw new EverfoldError(
    'POINT_UNKNOWN',
    `"${state.machine}" has no point "${wanted}". See its points with: everfold points ${state.machine}`,
    { details: { machine: state.machine, point: wanted } },
  )
}

/**
 * The same, to read from a chain whose newest state may be damaged: then `latest`, or a time after the newest point that is
 * known, would silently give an older point than the one that was meant.
 * @throws as {@link findPoint}, and CHAIN_DAMAGED, naming the point that could be taken instead
 */
export function findPointOf(
  head: ChainHead,
  wanted: string,
): { readonly point: PointState; readonly index: number } {
  const { state, damaged } = head
  const found = findPoint(state, wanted)
  const open = wanted === 'latest' || LOOKS_LIKE_TIME.test(wanted)
  if (damaged.length === 0 || !open || found.index < state.points.length - 1) return found
  throw new EverfoldError(
    'CHAIN_DAMAGED',
    `The newest chain state of "${state.machine}" is damaged, so there may have been points after ${found.point.id} (${found.point.createdAt}). ` +
      `If that one will do, ask for it by this id.`,
    { details: { machine: state.machine, point: found.point.id, damagedSequences: damaged } },
  )
}

function indexOf(state: ChainState, wanted: string): number {
  if (wanted === 'latest') return state.points.length - 1
  if (wanted === 'parent') return 0
  if (LOOKS_LIKE_TIME.test(wanted)) return newestAt(state, wanted)
  const prefix = wanted.toLowerCase()
  if (prefix.length === 0 || prefix.length > POINT_ID_LENGTH) return -1
  const matches = state.points.filter((point) => point.id.startsWith(prefix))
  if (matches.length > 1)
    throw new EverfoldError(
      'POINT_AMBIGUOUS',
      `"${wanted}" could be any of ${matches.map((point) => point.id).join(', ')}. Give more characters.`,
      { details: { machine: state.machine, points: matches.map((point) => point.id) } },
    )
  return state.points.findIndex((point) => point === matches[0])
}

function newestAt(state: ChainState, wanted: string): number {
  // ECMAScript takes a date alone as one in UTC, and a date with a time as local.
  const time = Date.parse(IS_DATE.test(wanted) ? `${wanted}T00:00` : wanted)
  if (Number.isNaN(time))
    throw new EverfoldError('ARGUMENT_INVALID', `"${wanted}" is no time. Write it like 2026-05-31T18:00:00Z.`)
  return state.points.findLastIndex((point) => Date.parse(point.createdAt) <= time)
}
