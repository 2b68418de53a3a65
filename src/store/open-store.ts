import { EverfoldError } from '../errors.js'
import { LocalStore } from './local-store.js'
import type { Store } from './store.js'

/** Opens the store at a location: a folder. `create` makes the folder if it is missing. */
export async function openStore(
  location: string,
  options: { readonly create?: boolean } = {},
): Promise<Store> {
  if (/^[a-z][a-z0-9+.-]+:\/\//i.test(location))
    throw new EverfoldError(
      'ARGUMENT_INVALID',
      `"${location}" is not a folder. Repositories are local folders in this version.`,
    )
  return LocalStore.open(location, options)
}
