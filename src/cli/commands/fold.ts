import type { Command } from 'commander'
import { EverfoldError } from '../../errors.js'
import type { FoldResult } from '../../merge/fold.js'
import { bytes } from '../output.js'
import { parseCount, parseMachine } from '../parse.js'
import { type CommonOptions, printResult, withOperations } from '../run.js'

interface FoldOptions extends CommonOptions {
  readonly keep?: number
}

export function addFold(program: Command): void {
  program
    .command('fold')
    .description('Fold the oldest points of a machine into the next ones, until so many are left.')
    .argument('<machine>', 'its name', parseMachine)
    .option('--keep <n>', 'how many points to keep: at least 1', parseCount)
    .addHelpText(
      'after',
      `
No chunk is read or written, and restores that are running go on undisturbed. Pinned points stay.
The space comes back with the next: everfold gc

Examples:
  everfold fold web1 --keep 30
  everfold fold web1 --keep 1 --json`,
    )
    .action(async (machine: string, options: FoldOptions, command: Command) => {
      const { keep } = options
      if (keep === undefined)
        throw new EverfoldError('ARGUMENT_INVALID', 'How many points are to be kept? Give --keep N.')
      const result = await withOperations(options, command, (operations) => operations.fold(machine, keep))
      await printResult(options, result, () => `${foldText(result)}${surplus(result, keep)}`)
    })
}

/** What a fold did, in a sentence or two. */
export function foldText(result: FoldResult): string {
  const { machine, removed, kept, readBytes, writtenBytes, seconds } = result
  if (removed.length === 0) return `Nothing to do: ${machine} has ${points(kept.length)}.`
  return (
    `Removed ${points(removed.length)} of ${machine} (${idList(removed)}); ${kept.length} left. ` +
    `Read ${bytes(readBytes)} and wrote ${bytes(writtenBytes)} in ${seconds.toFixed(1)} s, no chunk among it.`
  )
}

const LISTED_MAX = 10

/** The first ids, and how many more. */
export function idList(ids: readonly string[]): string {
  const more = ids.length - LISTED_MAX
  return ids.slice(0, LISTED_MAX).join(', ') + (more > 0 ? ` and ${more} more` : '')
}

export function points(count: number): string {
  return `${count} point${count === 1 ? '' : 's'}`
}

function surplus(result: FoldResult, keep: number): string {
  const more = result.kept.length - keep
  return more > 0 ? `\n${points(more)} more than ${keep} stay because they are pinned.` : ''
}
