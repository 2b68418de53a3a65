import type { Command } from 'commander'
import type { RetentionPolicy } from '../../chain/chain-state.js'
import { ERROR_CLASSES, EverfoldError } from '../../errors.js'
import { type RetainOptions, type RetainReport, type RetainResult, retain } from '../../merge/retain.js'
import { savePolicy } from '../../merge/retain-policy.js'
import { COUNT_KINDS, checkPolicy, policyText } from '../../merge/retention-policy.js'
import { bytes, table, time } from '../output.js'
import { parseDuration, parseMachine, parseWhole } from '../parse.js'
import { type CommonOptions, errorJson, printResult, withRepository } from '../run.js'
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
  await withRepository(options, command, (repository) => savePolicy(repository, machine, undefined))
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
  if (options.save === true && policy === undefined)
    throw new EverfoldError(
      'POLICY_INVALID',
      'There is nothing to save: say what to keep, such as --daily 7.',
    )
  const save = options.save === true && options.dryRun !== true
  const report = await withRepository(options, command, async (repository) => {
    if (save) await savePolicy(repository, machine, policy)
    return retain(repository, machine, retainOptions(machine, policy, options))
  })
  await printResult(options, toJson(report, save), () => describe(report, save))
  tellFailures(report)
}

/** A default that is saved does not hold for machines with a policy of their own: not now either. */
function retainOptions(
  machine: string | undefined,
  policy: RetentionPolicy | undefined,
  options: RetainCommandOptions,
): RetainOptions {
  const dryRun = options.dryRun === true
  if (policy === undefined) return { dryRun }
  return machine === undefined && options.save === true
    ? { dryRun, defaultPolicy: policy }
    : { dryRun, policy }
}

function toJson(report: RetainReport, saved: boolean): unknown {
  const failed = report.failed.map(({ machine, error }) => ({ machine, error: errorJson(error) }))
  return { saved, machines: report.machines, withoutPolicy: report.withoutPolicy, failed }
}

function tellFailures(report: RetainReport): void {
  for (const { machine, error } of report.failed) {
    const { code, message } = errorJson(error)
    process.stderr.write(`everfold: ${machine}: ${message} [${code}]\n`)
    process.exitCode ??= ERROR_CLASSES[code].exit
  }
}

async function describe(report: RetainReport, saved: boolean): Promise<string> {
  const parts: string[] = []
  if (saved) parts.push('Saved; it runs after each backup from now on.')
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
