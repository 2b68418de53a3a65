import type { RetentionPolicy } from '../chain/chain-state.js'
import type { Repository } from '../chain/repository.js'
import { EverfoldError, errorJson } from '../errors.js'
import { type RetainOptions, type RetainResult, retain } from './retain.js'
import { savePolicy } from './retain-policy.js'

/** What people ask of retention: by the command line, the service, or a schedule. */
export interface RetentionRequest {
  /** Without it: all machines. */
  readonly machine?: string | undefined
  /** Holds instead of what is saved. */
  readonly policy?: RetentionPolicy | undefined
  /** Also save the policy: the machine's, or without a machine the repository's default. */
  readonly save?: boolean | undefined
  /** Only tell what would be removed, and save nothing. */
  readonly dryRun?: boolean | undefined
}

/** What came of it, as `everfold retain --json` prints it. */
export interface RetentionReport {
  readonly saved: boolean
  readonly machines: readonly RetainResult[]
  /** Machines for which neither a policy was given nor one is saved. */
  readonly withoutPolicy: readonly string[]
  readonly failed: readonly { readonly machine: string; readonly error: ReturnType<typeof errorJson> }[]
}

/** @throws as retain and savePolicy */
export async function retainAsAsked(
  repository: Repository,
  { machine, policy, save, dryRun }: RetentionRequest,
  running: Pick<RetainOptions, 'onProgress' | 'signal'> = {},
): Promise<RetentionReport> {
  if (save === true && policy === undefined)
    throw new EverfoldError(
      'POLICY_INVALID',
      'There is nothing to save: say what to keep, such as --daily 7.',
    )
  const saved = save === true && dryRun !== true
  if (saved) await savePolicy(repository, machine, policy)
  const options = { ...running, dryRun: dryRun === true }
  const report = await retain(repository, machine, { ...options, ...given(machine, policy, save) })
  const failed = report.failed.map((one) => ({ machine: one.machine, error: errorJson(one.error) }))
  return { saved, machines: report.machines, withoutPolicy: report.withoutPolicy, failed }
}

/** A default that is saved does not hold for machines with a policy of their own: not now either. */
function given(
  machine: string | undefined,
  policy: RetentionPolicy | undefined,
  save: boolean | undefined,
): Pick<RetainOptions, 'policy' | 'defaultPolicy'> {
  if (policy === undefined) return {}
  return machine === undefined && save === true ? { defaultPolicy: policy } : { policy }
}
