import type { Command } from 'commander'
import { statisticsOf } from '../../chain/statistics.js'
import { bytes, ratio, table } from '../output.js'
import { type CommonOptions, printResult, withRepository } from '../run.js'

export function addStats(program: Command): void {
  program
    .command('stats')
    .description('Show what is kept and what it takes.')
    .addHelpText('after', '\nExamples:\n  everfold stats\n  everfold stats --json')
    .action(async (options: CommonOptions, command: Command) => {
      const stats = await withRepository(options, command, statisticsOf)
      await printResult(options, stats, async () =>
        (
          await table(
            ['', ''],
            [
              ['machines', String(stats.machines)],
              ['recovery points', String(stats.points)],
              ['as plain disk images', bytes(stats.logicalBytes)],
              ['changed in all', bytes(stats.changedBytes)],
              ['new after deduplication', `${bytes(stats.newBytes)}  (${ratio(stats.deduplicationRatio)})`],
              ['stored after compression', `${bytes(stats.storedBytes)}  (${ratio(stats.compressionRatio)})`],
              ['packs', String(stats.packs)],
              ['index', bytes(stats.indexBytes)],
            ],
          )
        ).trim(),
      )
    })
}
