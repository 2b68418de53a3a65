import { MalformedError } from '../binary.js'
import { isEverfoldError } from '../errors.js'
import { uncached } from './uncached.js'

/**
 * Reads and decodes something; what comes out damaged is read once more before it is called so: a bad transfer is no damage
 * (invariant 6), and a cached copy says nothing about the store: the second time, no cache answers.
 * @param isGood  Is the result undamaged? Not asked when `read` throws MalformedError, DATA_DAMAGED or REPOSITORY_DAMAGED: it is not.
 * @returns what `read` gives, the second time whatever that is
 * @throws what `read` throws
 */
export async function readAgainIfDamaged<T>(
  read: () => Promise<T>,
  isGood: (result: T) => boolean = () => true,
): Promise<T> {
  try {
    const result = await read()
    if (isGood(result)) return result
  } catch (error) {
    if (!(error instanceof MalformedError || isEverfoldError(error, 'DATA_DAMAGED', 'REPOSITORY_DAMAGED')))
      throw error
  }
  return uncached(read)
}
