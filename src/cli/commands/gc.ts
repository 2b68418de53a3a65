import type { Command } from 'commander'
import { DEAD_SHARE_MAX_DEFAULT, type GcResult } from '../../merge/gc.js'
import { ROUNDS_MAX } from '../../merge/gc-rounds.js'
import { bytes } from '../output.js'
import { parseBetween, parseShare } from '../parse.js'
import { showProgress } from '../progress.js'
import { type CommonOptions, printResult, withOperations } from '../run.js'

interface GcCommandOptions extends CommonOptions {
  readonly dryRun?: true
  readonly deadShare?: number
  readonly rounds?: number
}

export function addGc(program: Command): void {
  program
    .command('gc')
    .description('Give back the space of what no point needs any more.')
    .option('--dry-run', 'only tell what would be done')
    .option(
      '--dead-share <percent>',
      `rewrite packs of which more than this is dead (default: ${DEAD_SHARE_MAX_DEFAULT * 100}%)`,
      parseShare,
    )
    .option('--rounds <n>', 'rounds to run one after the other (default: 1)', parseBetween(1, ROUNDS_MAX))
    .addHelpText(
      'after',
      `
What is not needed is first condemned, lies in quarantine for a round, and is removed by the round after that, if each of them
finds anew that nothing needs it: space comes back with the third gc, or at once with --rounds 3.
Interrupted, it starts again where that is safe; points are never touched.

Examples:
  everfold gc
  everfold gc --dry-run
  everfold gc --rounds 3
  everfold gc --dead-share 20% --json`,
    )
    .action(async (options: GcCommandOptions, command: Command) => {
      const result = await withOperations(
        options,
        command,
        async (operations) => {
          const progress = showProgress(
            'collecting garbage',
            options.json === true,
            (count) => `${count} pack${count === 1 ? '' : 's'}`,
          )
          try {
            const { dryRun, deadShare, rounds = 1 } = options
            const work = {
              dryRun: dryRun === true,
              rounds,
              ...(deadShare === undefined ? {} : { deadShareMax: deadShare }),
            }
            return await operations.collectGarbage(work, (done, total) => {
              progress.update(done, total)
            })
          } finally {
            progress.stop()
          }
        },
        { threads: true },
      )
      await printResult(options, result, () => describe(result))
    })
}

function describe(result: GcResult): string {
  const would = result.dryRun ? 'would be ' : ''
  const objects = (count: number): string => `${count} object${count === 1 ? '' : 's'}`
  const packs = (count: number): string => `${count} pack${count === 1 ? '' : 's'}`
  return [
    `Round ${result.round}: ${packs(result.packs)}, ${bytes(result.liveBytes)} needed, in ${result.seconds.toFixed(1)} s.`,
    `  ${would}removed    ${bytes(result.removedBytes)} (${objects(result.removedObjects)})`,
    `  ${would}condemned  ${bytes(result.condemnedBytes)} (${objects(result.condemnedObjects)}), to be removed by a later round`,
    `  ${would}rewritten  ${packs(result.rewrittenPacks)}, and ${packs(result.joinedPacks)} joined: ${bytes(result.writtenBytes)} written`,
    `  waiting ${bytes(result.waitingBytes)}; dead in packs that stay: ${bytes(result.deadBytes)}`,
    ...(result.locks === undefined
      ? []
      : [
          `  removed, and still locked ${bytes(result.locks.lockedBytes)}; locks over, and freed ${bytes(result.locks.freedBytes)} (${objects(result.locks.freedObjects)})`,
        ]),
  ].join('\n')
}
