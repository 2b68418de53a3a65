import { type ErrorCode, EverfoldError, isEverfoldError, messageOf, systemErrorCode } from '../errors.js'
import { storeFull } from './local-errors.js'

/** What the SDK says about an answer; all of it may be missing. */
interface SdkError {
  readonly name: string
  readonly message: string
  readonly status: number | undefined
  readonly requestId: string | undefined
}

/** Codes of answers that mean: too fast. */
const SLOW_DOWN = new Set([
  'SlowDown',
  'ServiceUnavailable',
  'Throttling',
  'ThrottlingException',
  'TooManyRequests',
])
/** Answers of 4xx that mean: again. */
const AGAIN = new Set(['RequestTimeout', 'OperationAborted', 'ConditionalRequestConflict', 'InternalError'])
/** What is not there. Another 404 is an answer that was spoiled on its way, or comes from something that is no S3. */
const NOT_FOUND = /NoSuch|NotFound/u
const FULL = new Set(['QuotaExceeded', 'InsufficientCapacity', 'XMinioStorageFull', 'InsufficientStorage'])
const CREDENTIALS = new Set([
  'InvalidAccessKeyId',
  'SignatureDoesNotMatch',
  'ExpiredToken',
  'InvalidToken',
  'TokenRefreshRequired',
  'CredentialsProviderError',
  'AuthorizationHeaderMalformed',
])

/** A mistake that only a person can mend, and how. */
const PERMANENT: readonly {
  readonly code: ErrorCode
  readonly when: (error: SdkError) => boolean
  readonly fix: string
}[] = [
  {
    code: 'BUCKET_NOT_FOUND',
    when: ({ name }) => name === 'NoSuchBucket' || name === 'InvalidBucketName',
    fix: 'there is no such bucket. Check its name and the endpoint (AWS_ENDPOINT_URL_S3), or make the bucket first: Everfold makes none',
  },
  {
    code: 'CLOCK_WRONG',
    when: ({ name }) => name === 'RequestTimeTooSkewed' || name === 'RequestExpired',
    fix: "this machine's clock is off by more than the service takes (15 minutes). Set the clock, and keep it right with NTP",
  },
  {
    code: 'REGION_WRONG',
    when: ({ name, status, message }) =>
      status === 301 ||
      name === 'PermanentRedirect' ||
      name === 'IllegalLocationConstraintException' ||
      (name === 'AuthorizationHeaderMalformed' && /region/iu.test(message)),
    fix: 'the bucket is in another region. Set AWS_REGION to its region (and AWS_ENDPOINT_URL_S3, if set, to the endpoint there)',
  },
  {
    code: 'CREDENTIALS_REJECTED',
    when: ({ name }) => CREDENTIALS.has(name),
    fix: 'the service does not take the credentials. Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the profile or role that they come from',
  },
  {
    code: 'PERMISSION_MISSING',
    when: ({ name, status }) => status === 403 || status === 401 || name === 'AccessDenied',
    fix: 'the service refuses it to these credentials. They need s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject and s3:DeleteObject on what is in it',
  },
]

export function sdkErrorOf(error: unknown): SdkError {
  if (!(error instanceof Error))
    return { name: '', message: String(error), status: undefined, requestId: undefined }
  const { $metadata } = error as { $metadata?: { httpStatusCode?: number; requestId?: string } }
  return {
    name: error.name,
    message: error.message,
    status: $metadata?.httpStatusCode,
    requestId: $metadata?.requestId,
  }
}

/** Does the service want us to be slower? */
export function asksForLess(error: unknown): boolean {
  const { name, status } = sdkErrorOf(error)
  return SLOW_DOWN.has(name) || status === 503 || status === 429
}

/** May the same request succeed later? Never said of a 4xx, but for those that mean just that. */
export function isTransient(error: unknown): boolean {
  if (isEverfoldError(error)) return false
  if (error instanceof TypeError || error instanceof RangeError) return false
  const { name, status } = sdkErrorOf(error)
  if (AGAIN.has(name) || SLOW_DOWN.has(name) || status === 429 || status === 408) return true
  if (
    FULL.has(name) ||
    status === 507 ||
    status === 501 ||
    PERMANENT.some(({ when }) => when(sdkErrorOf(error)))
  )
    return false
  if (status === 404) return !NOT_FOUND.test(name)
  // Without a status: the network. With 200: an answer that was cut, or is not to be understood.
  return status === undefined || status < 300 || status >= 500
}

/** Did the request reach nobody, or was it refused? Else it may have had its effect, although it failed. */
export function hadNoEffect(error: unknown): boolean {
  const { status } = sdkErrorOf(error)
  return (status !== undefined && status >= 400 && status < 500) || systemErrorCode(error) === 'ECONNREFUSED'
}

/**
 * What a request that failed for good means for people.
 * @param what  what could not be done: `write runs/…`
 * @param waitedMs  how long it was tried
 */
export function s3Error(what: string, location: string, cause: unknown, waitedMs = 0): EverfoldError {
  if (isEverfoldError(cause)) return cause
  const error = sdkErrorOf(cause)
  const { requestId } = error
  const details = { location, ...(error.status && { status: error.status }), ...(requestId && { requestId }) }
  if (FULL.has(error.name) || error.status === 507) return storeFull(what, location)
  const permanent = PERMANENT.find(({ when }) => when(error))
  // No cause is kept: what the SDK throws has the request in it, with its signature.
  if (permanent !== undefined)
    return new EverfoldError(
      permanent.code,
      `Cannot ${what} in ${location}: ${permanent.fix} (${nameOf(error)}).`,
      {
        details,
      },
    )
  const tried = waitedMs >= 1000 ? ` It was tried for ${Math.round(waitedMs / 1000)} s.` : ''
  return new EverfoldError(
    'STORE_FAILED',
    `Cannot ${what} in ${location}: ${reasonOf(error, cause)}.${tried} Check that the service is up and reachable from here.`,
    { details: { ...details, systemCode: systemErrorCode(cause) } },
  )
}

function nameOf({ name, status }: SdkError): string {
  return status === undefined ? name : `${name}, status ${status}`
}

function reasonOf(error: SdkError, cause: unknown): string {
  if (error.status !== undefined) return `the service answers ${nameOf(error)}`
  const code = systemErrorCode(cause)
  if (error.name === 'AbortError' || error.name === 'TimeoutError') return 'no answer in time'
  if (code === 'ECONNREFUSED') return 'nobody listens at the endpoint'
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return "the endpoint's name leads nowhere"
  return messageOf(cause).replaceAll('\n', ' ').slice(0, 200)
}
