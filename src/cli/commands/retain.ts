import type { Command } from 'commander'
import type { RetentionPolicy } from '../../chain/chain-state.js'
import { ERROR_CLASSES, EverfoldError } from '../../errors.js'
import type { RetainResult } from '../../merge/retain.js'
import { COUNT_KINDS, checkPolicy, policyText } from '../../merge/retention-policy.js'
import type { RetainOutcome } from '../operations.js'
import { bytes, table, time } from '../output.js'
import { parseDuration, parseMachine, parseWhole } from '../parse.js'
import { type CommonOptions, printResult, withOperations } from '../run.js'
import { writeTrouble } from '../trouble.js'
import { idList, points } from './fold.js'

type Counts = { readonly [kind in (typeof COUNT_KINDS)[number]]?: number }

interface RetainCommandOptions extends CommonOptions, Counts {
  readonly minAge?: number
  readonly timeZone?: string
  readonly dryRun?: true
  readonly save?: true
  readonly forgetPolicy?: true
}

const HELP = `
A point stays if any rule keeps it. Each of the periodic rules keeps the newest point of a period, for the last N periods
that have points. Pinned points and the newest always stay. Options given hold instead of what is saved, all together.
What is saved runs by itself after each backup. The space comes back with the next: everfold gc

Examples:
  everfold retain web1 --daily 7 --weekly 4 --monthly 12 --dry-run
  everfold retain web1 --hourly 24 --daily 7 --time-zone Europe/Berlin --save
  everfold retain --last 30 --save       for machines without a policy of their own
  everfold retain                        apply what is saved, to all machines
  everfold retain web1 --forget-policy   from now on, the repository's default holds`

export function addRetain(program: Command): void {
  program
    .command('retain')
    .description('Remove the points that a retention policy does not keep.')
    .argument('[machine]', 'one machine; without it all of them', parseMachine)
    .option('--dry-run', 'only show what would stay or go, and why')
    .option('--last <n>', 'keep the newest points', parseWhole)
    .option('--hourly <n>', 'keep one point per hour', parseWhole)
    .option('--daily <n>', 'keep one point per day', parseWhole)
    .option('--weekly <n>', 'keep one point per week (ISO: from Monday)', parseWhole)
    .option('--monthly <n>', 'keep one point per month', parseWhole)
    .option('--yearly <n>', 'keep one point per year', parseWhole)
    .option('--min-age <duration>', 'keep whatever is younger, such as 36h or 2d', parseDuration)
    .option('--time-zone <name>', 'whose hours and days they are, such as Europe/Berlin (default: UTC)')
    .option('--save', "save this policy: the machine's, or without a machine the repository's default")
    .option('--forget-policy', 'take the saved policy away, and remove nothing')
    .addHelpText('after', HELP)
    .action(async (machine: string | undefined, options: RetainCommandOptions, command: Command) => {
      const policy = policyFrom(options)
      if (options.forgetPolicy === true) await forget(machine, policy, options, command)
      else await apply(machine, policy, options, command)
    })
}

/** The policy that the options spell, checked; undefined if they say nothing of one. */
function policyFrom(options: RetainCommandOptions): RetentionPolicy | undefined {
  const policy: { -readonly [key in keyof RetentionPolicy]: RetentionPolicy[key] } = {}
  for (const kind of COUNT_KINDS) if (options[kind] !== undefined) policy[kind] = options[kind]
  if (options.minAge !== undefined) policy.minAgeSeconds = options.minAge
  if (options.timeZone !== undefined) policy.timeZone = options.timeZone
  return Object.keys(policy).length === 0 ? undefined : checkPolicy(policy)
}

async function forget(
  machine: string | undefined,
  policy: RetentionPolicy | undefined,
  options: RetainCommandOptions,
  command: Command,
): Promise<void> {
  if (policy !== undefined || options.save === true || options.dryRun === true)
    throw new EverfoldError(
      'ARGUMENT_INVALID',
      'Give --forget-policy alone: it only takes the saved policy away.',
    )
  await withOperations(options, command, (operations) => operations.forgetPolicy(machine))
  const whose =
    machine === undefined ? 'The repository has no default policy' : `${machine} has no policy of its own`
  await printResult(options, { machine: machine ?? null, policy: null }, () => `${whose} any more.`)
}

async function apply(
  machine: string | undefined,
  policy: RetentionPolicy | undefined,
  options: RetainCommandOptions,
  command: Command,
): Promise<void> {
  const work = { machine, policy, save: options.save === true, dryRun: options.dryRun === true }
  const outcome = await withOperations(options, command, (operations) => operations.retain(work))
  await printResult(options, outcome, () => describe(outcome))
  for (const { machine: failed, error } of outcome.failed) {
    writeTrouble(error, `${failed}: `)
    process.exitCode ??= ERROR_CLASSES[error.code].exit
  }
}

async function describe(report: RetainOutcome): Promise<string> {
  const parts: string[] = []
  if (report.saved) parts.push('Saved; it runs after each backup from now on.')
  for (const result of report.machines) parts.push(await describeMachine(result))
  if (report.withoutPolicy.length > 0)
    parts.push(`No policy, so nothing was removed: ${report.withoutPolicy.join(', ')}`)
  return parts.length === 0 ? 'Nothing to do.' : parts.join('\n\n')
}

async function describeMachine(result: RetainResult): Promise<string> {
  const { machine, dryRun, removed } = result
  const whose = { given: 'as given', machine: 'its own', repository: "the repository's default" }[
    result.source
  ]
  const left = result.points.length - removed.length
  const freed = result.freedBytes === null ? '' : `, which would free ${bytes(result.freedBytes)}`
  const did = dryRun ? `would lose ${points(removed.length)}` : `lost ${points(removed.length)}`
  const gone =
    removed.length === 0
      ? `keeps all of its ${points(left)}`
      : `${did} (${idList(removed)}) and ${dryRun ? 'have' : 'has'} ${left} left${freed}`
  const headline = `${machine} ${gone}. Policy, ${whose}: ${policyText(result.policy)}`
  if (!dryRun) return headline
  const rows = result.points.map((point) => [
    point.point,
    time(point.createdAt),
    point.keep ? 'stays' : 'goes',
    point.reasons.join('; '),
  ])
  return `${headline}\n${await table(['point', 'taken', '', 'why'], rows, [0, 1, 2, 3])}`
}
