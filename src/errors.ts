/**
 * Every error that a user, a script or an API client can meet. The code is stable and documented; the message
 * is for people and says what to do. Wrong arguments from our own code are assertions, not codes.
 */

interface ErrorClass {
  /** HTTP status the service answers with. */
  readonly http: number
  /** Exit status of the command. */
  readonly exit: number
}

/**
 * One row per code. Exit status: 2 bad input, 3 not found, 4 busy or conflicting, 5 damaged data, 6 the store or a
 * file failed, 7 no space, 1 anything else.
 */
export const ERROR_CLASSES = {
  ARGUMENT_INVALID: { http: 400, exit: 2 },
  NAME_INVALID: { http: 400, exit: 2 },
  CONFIG_INVALID: { http: 400, exit: 2 },
  FEED_INVALID: { http: 400, exit: 2 },
  FEED_BEYOND_DISK: { http: 400, exit: 2 },
  FEED_WITHOUT_BASE: { http: 409, exit: 2 },
  FEED_BASE_UNSURE: { http: 409, exit: 2 },
  REPOSITORY_NOT_FOUND: { http: 404, exit: 3 },
  BUCKET_NOT_FOUND: { http: 404, exit: 3 },
  CREDENTIALS_REJECTED: { http: 500, exit: 6 },
  PERMISSION_MISSING: { http: 500, exit: 6 },
  REGION_WRONG: { http: 500, exit: 6 },
  CLOCK_WRONG: { http: 500, exit: 6 },
  OBJECT_LOCK_MISSING: { http: 500, exit: 2 },
  OBJECT_ARCHIVED: { http: 409, exit: 6 },
  LOCK_LOST: { http: 503, exit: 6 },
  REPOSITORY_EXISTS: { http: 409, exit: 4 },
  REPOSITORY_LOCKED: { http: 409, exit: 4 },
  REPOSITORY_DAMAGED: { http: 500, exit: 5 },
  FORMAT_TOO_NEW: { http: 501, exit: 2 },
  MACHINE_UNKNOWN: { http: 404, exit: 3 },
  POINT_UNKNOWN: { http: 404, exit: 3 },
  POINT_AMBIGUOUS: { http: 409, exit: 2 },
  DISK_UNKNOWN: { http: 404, exit: 3 },
  POINT_PINNED: { http: 409, exit: 4 },
  LAST_POINT: { http: 409, exit: 4 },
  POLICY_INVALID: { http: 400, exit: 2 },
  SESSION_UNKNOWN: { http: 404, exit: 3 },
  SESSION_BUSY: { http: 409, exit: 4 },
  DISK_INCOMPLETE: { http: 409, exit: 2 },
  SESSION_TOO_LARGE: { http: 413, exit: 2 },
  CHUNK_UNKNOWN: { http: 409, exit: 4 },
  HASH_MISMATCH: { http: 422, exit: 2 },
  STREAM_INVALID: { http: 400, exit: 2 },
  SOURCE_FAILED: { http: 422, exit: 6 },
  SOURCE_CHANGED: { http: 422, exit: 6 },
  TARGET_EXISTS: { http: 409, exit: 4 },
  TARGET_FAILED: { http: 500, exit: 6 },
  TARGET_FULL: { http: 507, exit: 7 },
  OBJECT_NOT_FOUND: { http: 500, exit: 5 },
  STORE_FAILED: { http: 503, exit: 6 },
  STORE_FULL: { http: 507, exit: 7 },
  QUOTA_EXCEEDED: { http: 507, exit: 7 },
  LISTING_INCOMPLETE: { http: 503, exit: 6 },
  CONFLICT: { http: 409, exit: 4 },
  DATA_DAMAGED: { http: 500, exit: 5 },
  CHAIN_DAMAGED: { http: 500, exit: 5 },
  UNAUTHENTICATED: { http: 401, exit: 2 },
  FORBIDDEN: { http: 403, exit: 2 },
  TOKEN_UNKNOWN: { http: 404, exit: 3 },
  JOB_UNKNOWN: { http: 404, exit: 3 },
  ROUTE_UNKNOWN: { http: 404, exit: 3 },
  METHOD_NOT_ALLOWED: { http: 405, exit: 2 },
  REQUEST_TIMEOUT: { http: 408, exit: 1 },
  BODY_TOO_LARGE: { http: 413, exit: 2 },
  URL_TOO_LONG: { http: 414, exit: 2 },
  MEDIA_TYPE_UNSUPPORTED: { http: 415, exit: 2 },
  RANGE_UNSATISFIABLE: { http: 416, exit: 2 },
  TOO_MANY_REQUESTS: { http: 429, exit: 4 },
  HEADERS_TOO_LARGE: { http: 431, exit: 2 },
  SERVICE_STOPPING: { http: 503, exit: 6 },
  LISTEN_FAILED: { http: 500, exit: 6 },
  SERVICE_FAILED: { http: 502, exit: 6 },
  CANCELLED: { http: 499, exit: 1 },
  INTERNAL: { http: 500, exit: 1 },
} as const satisfies Record<string, ErrorClass>

export type ErrorCode = keyof typeof ERROR_CLASSES

/** Structured facts for scripts, shown with `--json` (never secrets). */
export type ErrorDetails = Readonly<Record<string, unknown>>

export class EverfoldError extends Error {
  readonly code: ErrorCode
  readonly details: ErrorDetails

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; details?: ErrorDetails } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'EverfoldError'
    this.code = code
    this.details = options.details ?? {}
  }
}

/** Is `error` ours, and (when given) of one of these codes? */
export function isEverfoldError(error: unknown, ...codes: readonly ErrorCode[]): error is EverfoldError {
  return error instanceof EverfoldError && (codes.length === 0 || codes.includes(error.code))
}

/** The `code` of a Node.js system error (`ENOSPC`, …), or undefined. */
export function systemErrorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  return typeof error.code === 'string' ? error.code : undefined
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

/** An error as it stands inside a result. */
export function errorJson(error: unknown): { readonly code: ErrorCode; readonly message: string } {
  return { code: error instanceof EverfoldError ? error.code : 'INTERNAL', message: messageOf(error) }
}
