import { EverfoldError } from './errors.js'

/** Called where long work may stop and everything is consistent. @throws CANCELLED */
export function stopIfCancelled(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new EverfoldError('CANCELLED', 'This was cancelled before it was done.')
}
