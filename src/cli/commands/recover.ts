import type { Command } from 'commander'
import { decodeConfig } from '../../chain/config.js'
import { EverfoldError } from '../../errors.js'
import { repositoryKey } from '../../store/keys.js'
import { lockTerms } from '../../store/object-lock.js'
import { openBareBucket } from '../../store/open-bucket.js'
import { parseS3Location, type S3Location } from '../../store/s3-location.js'
import {
  type HourOfHistory,
  historyOf,
  type RecoverResult,
  readAsOf,
  recoverBucket,
} from '../../store/s3-recover.js'
import type { S3Store } from '../../store/s3-store.js'
import { counted, table } from '../output.js'
import { parseMoment } from '../parse.js'
import { type CommonOptions, printResult } from '../run.js'

interface RecoverOptions extends Pick<CommonOptions, 'json'> {
  readonly to?: number
  readonly dryRun?: true
}

/** Hours that are printed; --json has all. */
const HOURS_SHOWN = 50

export function addRecover(program: Command): void {
  program
    .command('recover')
    .description(
      'Bring a repository in a bucket that keeps versions back to what it was at a time: undoes removals, overwriting, and what was added.',
    )
    .argument('[repo]', 's3://BUCKET/PREFIX (default: $EVERFOLD_REPO)')
    .option(
      '--to <time>',
      'such as 2026-12-31T18:00:00Z; without it, only what happened when is shown',
      parseMoment,
    )
    .option('--dry-run', 'only count what would be done')
    .addHelpText(
      'after',
      `
First take the credentials away from whoever misused them, and stop everything that uses the repository.
Points that were made after that time are out of sight afterwards. Nothing is removed for good: run it again with a later time to
have them back. docs/object-lock.md says what is protected, and what is not.

Examples:
  everfold recover s3://vault/site-1
  everfold recover s3://vault/site-1 --to 2026-12-31T18:00:00Z --dry-run
  everfold recover s3://vault/site-1 --to 2026-12-31T18:00:00Z && everfold verify --repo s3://vault/site-1`,
    )
    .action(async (repo: string | undefined, options: RecoverOptions) => {
      const bucket = await openBareBucket(locationOf(repo))
      try {
        const { to } = options
        if (to === undefined) {
          const hours = await historyOf(bucket.store)
          await printResult(options, hours, () => describeHistory(hours))
          return
        }
        await useTerms(bucket.store, to)
        if (options.dryRun !== true) await bucket.take('recover')
        const result = await recoverBucket(bucket.store, to, options.dryRun === true)
        await printResult(options, { to: new Date(to).toISOString(), ...result }, () =>
          describe(result, options.dryRun === true),
        )
      } finally {
        await bucket.close()
      }
    })
}

function locationOf(repo = process.env['EVERFOLD_REPO'] ?? ''): S3Location {
  const location = repo === '' ? undefined : parseS3Location(repo)
  if (location !== undefined) return location
  throw new EverfoldError(
    'ARGUMENT_INVALID',
    'Which repository? Name one in a bucket, as s3://BUCKET/PREFIX: a folder keeps no versions.',
  )
}

/** What is written on top has to be locked as the repository wants it. */
async function useTerms(store: S3Store, toMs: number): Promise<void> {
  if (toMs > Date.now()) throw new EverfoldError('ARGUMENT_INVALID', 'That time is yet to come.')
  const encoded = await readAsOf(store, repositoryKey, toMs)
  if (encoded === undefined)
    throw new EverfoldError(
      'REPOSITORY_NOT_FOUND',
      `At that time there was no repository in ${store.location}. See what happened when, with: everfold recover ${store.location}`,
    )
  const { objectLock } = decodeConfig(encoded, store.location)
  store.lockTerms = objectLock && lockTerms(objectLock.days)
}

async function describeHistory(hours: readonly HourOfHistory[]): Promise<string> {
  if (hours.length === 0) return 'There is nothing, and there never was.'
  const rows = hours
    .slice(-HOURS_SHOWN)
    .map(({ hour, added, removed, overwritten }) => [
      `${hour.slice(0, 16)}Z`,
      ...[added, removed, overwritten].map(String),
    ])
  return `${await table(['hour', 'added', 'removed', 'written over'], rows)}\n\nEverfold itself never writes over anything, and removes only in gc.`
}

function describe({ brought, rewritten, hidden, right }: RecoverResult, isDry: boolean): string {
  const would = isDry ? 'would be ' : ''
  return [
    `${counted(right, 'object')} as it was, or as they were.`,
    `  ${would}brought back     ${counted(brought, 'object')} that had been removed`,
    `  ${would}written anew     ${counted(rewritten, 'object')} that had been written over`,
    `  ${would}put out of sight ${counted(hidden, 'object')} that came later`,
  ].join('\n')
}
