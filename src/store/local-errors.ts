import { EverfoldError, isEverfoldError, messageOf, systemErrorCode } from '../errors.js'

const FULL = new Set(['ENOSPC', 'EDQUOT', 'EFBIG'])

/** ENOTDIR: a part of the path is a file, so nothing can be below it. */
export function isAbsence(error: unknown): boolean {
  const code = systemErrorCode(error)
  return code === 'ENOENT' || code === 'ENOTDIR'
}

export function objectNotFound(key: string, location: string, cause?: unknown): EverfoldError {
  return new EverfoldError('OBJECT_NOT_FOUND', `The store ${location} has no object ${key}.`, {
    cause,
    details: { key, location },
  })
}

/** The object ends before what was asked for. */
export function objectTooShort(key: string, location: string, endBytes: number): EverfoldError {
  return new EverfoldError(
    'DATA_DAMAGED',
    `The object ${key} in ${location} ends before byte ${endBytes}: it was cut short. Run a verification.`,
    { details: { key, location, endBytes } },
  )
}

export function storeFull(what: string, location: string, cause?: unknown): EverfoldError {
  const reasons: Record<string, string> = {
    EDQUOT: 'the disk quota is used up. Raise the quota',
    EFBIG: 'a file may not be that large there (a limit of the file system, or `ulimit -f`). Raise the limit',
  }
  const reason = reasons[systemErrorCode(cause) ?? ''] ?? 'no space is left. Make space there'
  return new EverfoldError(
    'STORE_FULL',
    `Cannot ${what} in ${location}: ${reason}, or delete recovery points and collect garbage; then try again. ` +
      'What was committed before stays readable.',
    { cause, details: { location } },
  )
}

/** What a system call threw, as the store's contract names it. Our own errors pass unchanged. */
export function storeError(what: string, location: string, cause: unknown): EverfoldError {
  if (isEverfoldError(cause)) return cause
  if (FULL.has(systemErrorCode(cause) ?? '')) return storeFull(what, location, cause)
  return new EverfoldError(
    'STORE_FAILED',
    `Cannot ${what} in ${location}: ${messageOf(cause)}. Check that the disk is mounted, healthy and writable.`,
    { cause, details: { location, systemCode: systemErrorCode(cause) } },
  )
}
