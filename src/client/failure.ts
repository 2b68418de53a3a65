import { ERROR_CLASSES, type ErrorCode, EverfoldError, isEverfoldError, messageOf } from '../errors.js'

/** Bytes of an error's document that are read. */
const PROBLEM_BYTES_MAX = 1024 * 1024

/** Codes of answers from 500 on after which the same request may succeed: the others say what will not change by itself. */
const PASSING: readonly ErrorCode[] = [
  'STORE_FAILED',
  'LISTING_INCOMPLETE',
  'INTERNAL',
  'SERVICE_FAILED',
  'SERVICE_STOPPING',
]

/** May the same succeed later, though nobody changes anything? */
export function isPassing(error: unknown): error is EverfoldError {
  if (!isEverfoldError(error)) return false
  const { status } = error.details
  const refused = typeof status === 'number' && status < 500
  return PASSING.includes(error.code) && !refused
}

/** An answer that is no success, and whether to ask again. */
export interface Failure {
  readonly error: EverfoldError
  /** `not done`: the service did nothing, so anything may be asked again. `unsure`: it may have been done. */
  readonly again: 'no' | 'not done' | 'unsure'
  /** As the service asked for. */
  readonly waitMs: number
}

/** What an answer that is no success says. It is read to its end. */
export async function failureOf(response: Response): Promise<Failure> {
  const error = await errorOf(response)
  const waitMs = Math.max(0, Number(response.headers.get('Retry-After') ?? 0) * 1000) || 0
  const { status } = response
  if (status === 429) return { error, again: 'not done', waitMs }
  const passing = status >= 500 && isPassing(error)
  return { error, again: passing ? 'unsure' : 'no', waitMs }
}

async function errorOf(response: Response): Promise<EverfoldError> {
  const { status } = response
  try {
    const text = (await response.text()).slice(0, PROBLEM_BYTES_MAX)
    const problem: unknown = JSON.parse(text)
    if (isProblem(problem)) {
      const details = typeof problem.details === 'object' ? (problem.details as Record<string, unknown>) : {}
      if (Object.hasOwn(ERROR_CLASSES, problem.code))
        return new EverfoldError(problem.code as ErrorCode, problem.detail, { details })
      // A newer service: its words are better than none.
      return new EverfoldError('SERVICE_FAILED', `${problem.detail} [${problem.code}]`, {
        details: { ...details, status, code: problem.code },
      })
    }
  } catch {
    // No problem document, or not all of it: the status says enough.
  }
  return new EverfoldError(
    'SERVICE_FAILED',
    `The service answered with the status ${status} and no reason. Is there an Everfold service at this address?`,
    { details: { status } },
  )
}

function isProblem(
  value: unknown,
): value is { readonly code: string; readonly detail: string; readonly details?: unknown } {
  return (
    typeof value === 'object' &&
    value !== null &&
    'code' in value &&
    typeof value.code === 'string' &&
    'detail' in value &&
    typeof value.detail === 'string'
  )
}

/** The request or its answer did not get through. */
export function connectionFailed(url: string, error: unknown): EverfoldError {
  return new EverfoldError('SERVICE_FAILED', `Cannot reach the service at ${url}: ${reasonOf(error)}.`, {
    cause: error,
    details: { url },
  })
}

/** Did no connection come about, so that nothing can have been done? */
export function isUnsent(error: unknown): boolean {
  const code = codeOf(error)
  return code === 'ECONNREFUSED' || code === 'ENOTFOUND' || code === 'EAI_AGAIN' || code === 'EHOSTUNREACH'
}

/** What fetch throws says little; its causes say more. */
function reasonOf(error: unknown): string {
  const code = codeOf(error)
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
  const message = messageOf(cause) === '' ? messageOf(error) : messageOf(cause)
  return code !== undefined && !message.includes(code) ? `${message} (${code})` : message
}

function codeOf(error: unknown): string | undefined {
  for (let at = error; at instanceof Error; at = at.cause)
    if ('code' in at && typeof at.code === 'string') return at.code
  return undefined
}
