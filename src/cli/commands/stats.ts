import type { Command } from 'commander'
import type { Statistics } from '../../merge/statistics.js'
import type { JobRequests } from '../../store/request-log.js'
import { bytes, counted, ratio, table } from '../output.js'
import { type CommonOptions, printResult, withOperations } from '../run.js'

/** Jobs whose requests are printed; --json has more. */
const JOBS_SHOWN = 10

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
      ...(stats.objectLock === null ? [] : [['locked', describeLock(stats.objectLock)]]),
      ...(stats.damagedChunks > 0 ? [['DAMAGED chunks', String(stats.damagedChunks)]] : []),
    ],
  )
  const parts = [overview.trim()]
  if (stats.machines.length > 0)
    parts.push(
      await table(
        ['machine', 'points', 'as images', 'its own', 'shared'],
        stats.machines.map((machine) => [
          machine.machine,
          String(machine.points.length),
          bytes(machine.logicalBytes),
          bytes(machine.ownBytes),
          bytes(machine.sharedBytes),
        ]),
      ),
    )
  if (stats.requests !== null && stats.requests.length > 0) parts.push(await describeRequests(stats.requests))
  return parts.join('\n\n')
}

function describeLock({ days, until, objects }: NonNullable<Statistics['objectLock']>): string {
  const known = until === null ? '' : ` (until ${until.slice(0, 10)}: ${counted(objects, 'object')} extended)`
  return `for ${days} days at least${known}`
}

function describeRequests(jobs: readonly JobRequests[]): Promise<string> {
  return table(
    [
      'requests to the bucket',
      'begun',
      'get',
      'put',
      'list',
      'delete',
      'lock',
      'other',
      'repeated',
      'received',
      'sent',
    ],
    jobs
      .slice(-JOBS_SHOWN)
      .map((job) => [
        job.job,
        job.startedAt.slice(0, 19).replace('T', ' '),
        ...[job.get, job.put, job.list, job.delete, job.lock, job.other, job.retries].map(String),
        bytes(job.bytesIn),
        bytes(job.bytesOut),
      ]),
  )
}
