import { STATUS_CODES } from 'node:http'
import * as z from 'zod'
import { ERROR_CLASSES, EverfoldError, isEverfoldError } from '../errors.js'

export const PROBLEM_TYPE = 'application/problem+json'

/** What every error is answered with: RFC 9457, with our stable code. */
export const problemSchema = z
  .strictObject({
    type: z.literal('about:blank'),
    title: z.string().meta({ description: "The status's own words" }),
    status: z.int().min(400).max(599),
    detail: z.string().meta({ description: 'For people: what is wrong, and what to do. May change' }),
    code: z.string().meta({ description: 'For programs: stable' }),
    request: z.string().optional().meta({ description: "The request's number in the service's log" }),
    details: z.record(z.string(), z.unknown()).optional().meta({ description: 'Facts, where there are any' }),
  })
  .meta({ id: 'Problem' })

export type Problem = z.infer<typeof problemSchema>

/** Lost ranges and the like that a problem lists; more are left out. */
const DETAIL_ITEMS_MAX = 100

/** What is told of anything that was thrown: nothing of the inside, unless it is an error meant for people. */
export function problemOf(error: unknown, request?: string): Problem {
  const known = asKnown(error)
  const { http: status } = ERROR_CLASSES[known.code]
  const details = Object.entries(known.details).map(([key, value]): [string, unknown] => [
    key,
    Array.isArray(value) ? value.slice(0, DETAIL_ITEMS_MAX) : value,
  ])
  return {
    type: 'about:blank',
    title: STATUS_CODES[status] ?? 'Client Closed Request',
    status,
    detail: known.message,
    code: known.code,
    ...(request === undefined ? {} : { request }),
    ...(details.length === 0 ? {} : { details: Object.fromEntries(details) }),
  }
}

function asKnown(error: unknown): EverfoldError {
  if (isEverfoldError(error)) return error
  // Express could not decode a path.
  if (error instanceof URIError || isBadRequest(error))
    return new EverfoldError(
      'ARGUMENT_INVALID',
      'The address is not well-formed: percent-encode it as UTF-8.',
    )
  return new EverfoldError(
    'INTERNAL',
    "Something went wrong in the service itself; its log has more under this request's number.",
  )
}

function isBadRequest(error: unknown): boolean {
  return error instanceof Error && 'status' in error && error.status === 400
}
