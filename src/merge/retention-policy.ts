import { type RetentionPolicy, retentionPolicySchema } from '../chain/chain-state.js'
import { EverfoldError } from '../errors.js'
import { isTimeZone, PERIOD_KINDS } from './retention-periods.js'

export const COUNT_KINDS = ['last', ...PERIOD_KINDS] as const

/** Where a policy does not name one. */
export const TIME_ZONE_DEFAULT = 'UTC'

/**
 * Refuses a policy that makes no sense, before anything is decided by it or saved.
 * @throws POLICY_INVALID for counts and ages that are no whole numbers from 0 on, for an unknown time zone, and for a
 *         policy without a count above zero: it would keep nothing on purpose.
 */
export function checkPolicy(policy: RetentionPolicy): RetentionPolicy {
  const parsed = retentionPolicySchema.safeParse(policy)
  if (!parsed.success) {
    const what = parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ')
    throw invalid(
      `This is no retention policy: ${what}. Counts and ages are whole numbers from 0 on.`,
      policy,
    )
  }
  if (!COUNT_KINDS.some((kind) => (policy[kind] ?? 0) > 0))
    throw invalid(
      'This policy keeps no point. Give at least one count above zero: last, hourly, daily, weekly, monthly or yearly. A minimum age alone does not keep what gets older.',
      policy,
    )
  if (policy.timeZone !== undefined && !isTimeZone(policy.timeZone))
    throw invalid(
      `There is no time zone "${policy.timeZone}". Write a name such as Europe/Berlin or UTC.`,
      policy,
    )
  return parsed.data
}

/** `last 3, daily 7, younger than 2 days (Europe/Berlin)` */
export function policyText(policy: RetentionPolicy): string {
  const rules = COUNT_KINDS.filter((kind) => (policy[kind] ?? 0) > 0).map(
    (kind) => `${kind} ${policy[kind] ?? 0}`,
  )
  const age = policy.minAgeSeconds ?? 0
  if (age > 0) rules.push(`younger than ${durationText(age)}`)
  return `${rules.join(', ')} (${policy.timeZone ?? TIME_ZONE_DEFAULT})`
}

const UNITS = [
  ['week', 604_800],
  ['day', 86_400],
  ['hour', 3600],
  ['minute', 60],
  ['second', 1],
] as const

/** In the largest unit that divides it: `2 days`, `36 hours`. */
export function durationText(seconds: number): string {
  const [name, size] = UNITS.find(([, unit]) => seconds % unit === 0) ?? ['second', 1]
  const count = seconds / size
  return `${count} ${name}${count === 1 ? '' : 's'}`
}

function invalid(message: string, policy: RetentionPolicy): EverfoldError {
  return new EverfoldError('POLICY_INVALID', message, { details: { policy } })
}
