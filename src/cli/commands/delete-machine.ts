import type { Command } from 'commander'
import { EverfoldError } from '../../errors.js'
import { parseMachine } from '../parse.js'
import { type CommonOptions, printResult, withOperations } from '../run.js'
import { points } from './fold.js'

interface DeleteMachineOptions extends CommonOptions {
  readonly yes?: true
}

export function addDeleteMachine(program: Command): void {
  program
    .command('delete-machine')
    .description('Remove a machine with all of its points, pinned ones included.')
    .argument('<machine>', 'its name', parseMachine)
    .option('--yes', 'yes, all of its points')
    .addHelpText(
      'after',
      '\nThe space comes back with the next: everfold gc\n\nExample:\n  everfold delete-machine web1 --yes',
    )
    .action(async (machine: string, options: DeleteMachineOptions, command: Command) => {
      const result = await withOperations(options, command, async (operations) => {
        if (options.yes === true) return operations.deleteMachine(machine)
        const { points: count, pinned } = await operations.countPoints(machine)
        throw new EverfoldError(
          'ARGUMENT_INVALID',
          `This would remove ${points(count)} of "${machine}"${pinned > 0 ? `, ${pinned} of them pinned` : ''}, for ever. If that is what you want, add --yes.`,
          { details: { machine, points: count, pinned } },
        )
      })
      await printResult(
        options,
        result,
        () => `Removed the machine ${machine} with its ${points(result.removed.length)}.`,
      )
    })
}
