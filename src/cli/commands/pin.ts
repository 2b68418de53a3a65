import type { Command } from 'commander'
import { EverfoldError } from '../../errors.js'
import type { PinResult } from '../../merge/pins.js'
import { time } from '../output.js'
import { parseMachine, parseMoment } from '../parse.js'
import { type CommonOptions, printResult, withOperations } from '../run.js'

interface PinOptions extends CommonOptions {
  readonly reason?: string
  readonly until?: number
}

const POINT = 'its id or a unique prefix, latest, parent, or a time (the newest point at or before it)'

export function addPin(program: Command): void {
  program
    .command('pin')
    .description('Keep a point from being removed, whatever the retention policy says.')
    .argument('<machine>', 'its name', parseMachine)
    .argument('<point>', POINT)
    .option('--reason <text>', 'why, for whoever comes next')
    .option('--until <date>', 'the pin falls off after this day, or at this time', parseMoment)
    .addHelpText(
      'after',
      `
A new pin replaces the one that the point may have.

Examples:
  everfold pin web1 latest --reason 'before the upgrade'
  everfold pin web1 k3f9 --reason 'tax audit' --until 2026-12-31`,
    )
    .action(async (machine: string, wanted: string, options: PinOptions, command: Command) => {
      const { reason, until } = options
      if (reason === undefined)
        throw new EverfoldError('ARGUMENT_INVALID', 'Why is the point to be kept? Give --reason TEXT.')
      const request = { reason, ...(until === undefined ? {} : { untilMs: until }) }
      const result = await withOperations(options, command, (operations) =>
        operations.pin(machine, wanted, request),
      )
      await printResult(options, result, () => describe(result))
    })
}

export function addUnpin(program: Command): void {
  program
    .command('unpin')
    .description("Take a point's pin off.")
    .argument('<machine>', 'its name', parseMachine)
    .argument('<point>', POINT)
    .addHelpText('after', '\nExample:\n  everfold unpin web1 k3f9')
    .action(async (machine: string, wanted: string, options: CommonOptions, command: Command) => {
      const result = await withOperations(options, command, (operations) => operations.unpin(machine, wanted))
      await printResult(options, result, () => describe(result))
    })
}

function describe({ machine, point, pin: now, before }: PinResult): string {
  if (now === null)
    return before === null
      ? `Point ${point} of ${machine} was not pinned.`
      : `Point ${point} of ${machine} is no longer pinned (it was: ${before.reason}).`
  const until = now.until === undefined ? '' : ` until ${time(now.until)}`
  return `Point ${point} of ${machine} is pinned${until}: ${now.reason}.`
}
