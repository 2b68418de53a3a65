/** What LevelDB's errors mean to us. Its codes are few; the operating system's message is in the text. */

import { EverfoldError, messageOf, systemErrorCode } from '../errors.js'
import { IndexUnusable } from './index-unusable.js'

const NO_SPACE = /No space left on device|Disk quota exceeded|File too large|There is not enough space/i
/**
 * A table that is gone, or shorter than its own index says (its mapping answers a read beyond the end with
 * EINVAL).
 */
const DAMAGE = /No such file or directory|Invalid argument/

/** A database that is closed: the code abstract-level gives, alone or around the reason for a failed open. */
export const NOT_OPEN = 'LEVEL_DATABASE_NOT_OPEN'

/**
 * The error to throw for one that LevelDB threw.
 *
 * - damage → IndexUnusable. While opening, so is everything that is not understood: a rotten manifest
 *   shows in many ways.
 * - locked by another → REPOSITORY_LOCKED, no space → STORE_FULL.
 * - any other trouble with files → STORE_FAILED: it may pass (invariant 6), so it is no reason to rebuild.
 */
export function translateLevelError(path: string, error: unknown, opening = false): unknown {
  const [code, reason] = innermost(error)
  if (error instanceof IndexUnusable || error instanceof EverfoldError) return error
  if (code === 'LEVEL_CORRUPTION') return new IndexUnusable(path, reason, error)
  if (code === 'LEVEL_LOCKED') {
    return new EverfoldError('REPOSITORY_LOCKED', `Another process has the index in ${path} open.`, {
      cause: error,
    })
  }
  if (NO_SPACE.test(reason)) {
    return new EverfoldError('STORE_FULL', `No space left for the index in ${path}: ${reason}`, {
      cause: error,
    })
  }
  const ofFiles = code === 'LEVEL_IO_ERROR' || (code !== undefined && !code.startsWith('LEVEL_'))
  if (code === 'LEVEL_IO_ERROR' && DAMAGE.test(reason)) return new IndexUnusable(path, reason, error)
  if (ofFiles)
    return new EverfoldError('STORE_FAILED', `The index in ${path} failed: ${reason}`, { cause: error })
  return opening ? new IndexUnusable(path, reason, error) : error
}

/** Is this the failure of a call on a database that is closed (and not of an open that went wrong)? */
export function isNotOpen(error: unknown): boolean {
  const code = systemErrorCode(error)
  return (
    (code === NOT_OPEN || code === 'LEVEL_ITERATOR_NOT_OPEN') &&
    !(error instanceof Error && error.cause instanceof Error)
  )
}

/** Code and message of the error at the end of the chain of causes: abstract-level wraps those of an open. */
function innermost(error: unknown): [code: string | undefined, message: string] {
  let last = error
  while (last instanceof Error && last.cause instanceof Error) last = last.cause
  return [systemErrorCode(last), messageOf(last)]
}
