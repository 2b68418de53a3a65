import type { Command } from 'commander'
import type { Statistics } from '../../merge/statistics.js'
import { bytes, counted, ratio, table } from '../output.js'
import { type CommonOptions, printResult, withOperations } from '../run.js'

export function addStats(program: Command): void {
  program
    .command('stats')
    .description('Show what is kept and what it takes.')
    .addHelpText('after', '\nExamples:\n  everfold stats\n  everfold stats --json')
    .action(async (options: CommonOptions, command: Command) => {
      const stats = await withOperations(options, command, (operations) => operations.statistics())
      await printResult(options, stats, () => describe(stats))
    })
}

async function describe(stats: Statistics): Promise<string> {
  const overview = await table(
    ['', ''],
    [
      ['machines', String(stats.machines.length)],
      ['recovery points', String(stats.points)],
      ['as plain disk images', bytes(stats.logicalBytes)],
      ['unique after deduplication', `${bytes(stats.uniqueBytes)}  (${ratio(stats.deduplicationRatio)})`],
      ['stored after compression', `${bytes(stats.liveBytes)}  (${ratio(stats.compressionRatio)})`],
      ['dead, for gc to free', bytes(stats.deadBytes)],
      ['of it in quarantine', bytes(stats.waitingBytes)],
      ['all packs', `${bytes(stats.storedBytes)}  (${counted(stats.packs, 'pack')})`],
      ['index', bytes(stats.indexBytes)],
      ...(stats.damagedChunks > 0 ? [['DAMAGED chunks', String(stats.damagedChunks)]] : []),
    ],
  )
  if (stats.machines.length === 0) return overview.trim()
  const machines = await table(
    ['machine', 'points', 'as images', 'its own', 'shared'],
    stats.machines.map((machine) => [
      machine.machine,
      String(machine.points.length),
      bytes(machine.logicalBytes),
      bytes(machine.ownBytes),
      bytes(machine.sharedBytes),
    ]),
  )
  return `${overview.trim()}\n\n${machines}`
}
