import type { Command } from 'commander'
import { parseMachine } from '../parse.js'
import { type CommonOptions, printResult, withOperations } from '../run.js'
import { foldText } from './fold.js'

export function addDelete(program: Command): void {
  program
    .command('delete')
    .description('Remove one point, wherever it stands in its chain; all others stay as they are.')
    .argument('<machine>', 'its name', parseMachine)
    .argument(
      '<point>',
      'its id or a unique prefix, latest, parent, or a time (the newest point at or before it)',
    )
    .addHelpText(
      'after',
      `
A pinned point and the last one of a machine are not removed. The space comes back with the next: everfold gc

Examples:
  everfold delete web1 k3f9
  everfold delete web1 latest --json`,
    )
    .action(async (machine: string, wanted: string, options: CommonOptions, command: Command) => {
      const result = await withOperations(options, command, (operations) =>
        operations.deletePoint(machine, wanted),
      )
      await printResult(options, result, () => foldText(result))
    })
}
