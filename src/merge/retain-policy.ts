import type { RetentionPolicy } from '../chain/chain-state.js'
import type { Repository } from '../chain/repository.js'
import { readSettings, writeSettings } from '../chain/settings.js'
import { EverfoldError } from '../errors.js'
import { checkPolicy } from './retention-policy.js'

/** A policy, and whose it is. */
export interface PolicyInForce {
  readonly policy: RetentionPolicy
  readonly source: 'given' | 'machine' | 'repository'
}

/**
 * The policy that is saved for a machine: its own, else the repository's default; undefined if there is neither.
 * @param defaultPolicy  to be taken for the repository's default
 * @throws DATA_DAMAGED if what was set last for the repository cannot be read: an older policy might remove what the
 *         newer one keeps, so none is taken; MACHINE_UNKNOWN, CHAIN_DAMAGED, STORE_FAILED
 */
export async function savedPolicy(
  repository: Repository,
  machine: string,
  defaultPolicy?: RetentionPolicy,
): Promise<PolicyInForce | undefined> {
  const { state } = await repository.chains.get(machine)
  if (state.retention !== undefined) return { policy: state.retention, source: 'machine' }
  if (defaultPolicy !== undefined) return { policy: defaultPolicy, source: 'repository' }
  const { settings, damaged } = await readSettings(repository.store)
  if (damaged.length > 0)
    throw new EverfoldError(
      'DATA_DAMAGED',
      "The repository's newest settings are damaged, so its retention policy is not known and nothing is removed. Save it again: everfold retain --save with the options wanted.",
      { details: { settings: damaged } },
    )
  return settings.retention === undefined ? undefined : { policy: settings.retention, source: 'repository' }
}

/**
 * Saves a policy for a machine, or as the default of machines that have none; undefined takes it away. From now on it is
 * applied after each backup.
 * @throws POLICY_INVALID, MACHINE_UNKNOWN, CONFLICT, STORE_FULL, STORE_FAILED: nothing was saved then
 */
export async function savePolicy(
  repository: Repository,
  machine: string | undefined,
  policy: RetentionPolicy | undefined,
): Promise<void> {
  const retention = policy === undefined ? undefined : checkPolicy(policy)
  if (machine === undefined) {
    const { settings, next } = await readSettings(repository.store)
    const { retention: _before, ...others } = settings
    await writeSettings(repository.store, next, retention === undefined ? others : { ...others, retention })
    return
  }
  // Asked first: an edit would make the machine.
  await repository.chains.get(machine)
  await repository.chains.edit(machine, () => ({ retention }))
}
