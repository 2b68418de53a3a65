import { readdir } from 'node:fs/promises'
import { type Command, InvalidArgumentError } from 'commander'
import { Repository } from '../../chain/repository.js'
import { EverfoldError, systemErrorCode } from '../../errors.js'
import { RESERVED_FOLDERS, repositoryKey } from '../../store/keys.js'
import { LOCK_DAYS_MAX } from '../../store/object-lock.js'
import { openEmptyStore } from '../../store/open-store.js'
import { parseS3Location } from '../../store/s3-location.js'
import { requireLocked } from '../../store/s3-retention.js'
import { S3Store } from '../../store/s3-store.js'
import { bytes } from '../output.js'
import { type CommonOptions, printResult, warn } from '../run.js'

interface InitOptions extends CommonOptions {
  readonly chunkSize?: number
  readonly level?: number
  readonly objectLock?: number
}

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 1024, m: 1024 ** 2 }

export function addInit(program: Command): void {
  program
    .command('init')
    .description('Make a repository in a folder that is empty or does not exist yet, or in a bucket.')
    .argument('[repo]', 'the folder, or s3://BUCKET/PREFIX (default: $EVERFOLD_REPO)')
    .option(
      '--chunk-size <size>',
      'unit of deduplication: 4K to 4M, a power of two (default: 64K)',
      parseSize,
    )
    .option('--level <n>', 'zstd level, 0 (off) to 19 (default: 3)', parseLevel)
    .option(
      '--object-lock <days>',
      'in a bucket with Object Lock: what points need cannot be removed by anybody for so many days, whatever happens (docs/object-lock.md)',
      parseDays,
    )
    .addHelpText(
      'after',
      '\nExamples:\n  everfold init /backup/repo\n  everfold init s3://backups/site-1\n  everfold init s3://vault/site-1 --object-lock 30\n  everfold init /backup/repo --chunk-size 16K --level 9',
    )
    .action(async (location: string | undefined, options: InitOptions) => {
      const path = location ?? process.env['EVERFOLD_REPO']
      if (path === undefined || path === '')
        throw new EverfoldError('ARGUMENT_INVALID', 'Which folder or bucket? Say everfold init REPO.')
      if (parseS3Location(path) === undefined) await refuseForeignFolder(path)
      const { objectLock } = options
      const store = await openEmptyStore(path, { onWarning: warn, lockDays: objectLock })
      try {
        const { chunkSize, level } = options
        const config = await Repository.init(store, {
          ...(chunkSize === undefined ? {} : { chunkSize }),
          ...(level === undefined ? {} : { level }),
          ...(objectLock === undefined ? {} : { objectLockDays: objectLock }),
        })
        if (store instanceof S3Store && objectLock !== undefined) await requireLocked(store, repositoryKey)
        const result = {
          repository: store.location,
          id: config.id,
          format: config.format,
          chunkSize: config.chunkSize,
          frameSize: config.frameSize,
          level: config.compression.level,
          ...(config.objectLock && { objectLockDays: config.objectLock.days }),
        }
        await printResult(
          options,
          result,
          () =>
            `Made the repository ${store.location} with chunks of ${bytes(config.chunkSize)}${objectLock === undefined ? '' : `, locked for ${objectLock} days`}.`,
        )
      } finally {
        await store.close()
      }
    })
}

/** Files that we did not make do not become part of a repository: a typing error would mix it with somebody's data. */
async function refuseForeignFolder(path: string): Promise<void> {
  const names = await readdir(path).catch((error: unknown) => {
    // What else is wrong with it, opening the store says.
    if (systemErrorCode(error) !== undefined) return []
    throw error
  })
  const foreign = names.filter((name) => !RESERVED_FOLDERS.includes(name))
  if (foreign.length === 0 || foreign.includes(repositoryKey)) return
  const shown = foreign.sort().slice(0, 3).join(', ')
  throw new EverfoldError(
    'ARGUMENT_INVALID',
    `${path} is not empty (it has ${shown}${foreign.length > 3 ? ', …' : ''}). Name an empty folder, or one that does not exist yet.`,
    { details: { location: path } },
  )
}

function parseSize(text: string): number {
  const match = /^(\d+)\s*([km]?)(?:i?b)?$/i.exec(text)
  const unit = UNITS[match?.[2]?.toLowerCase() ?? '']
  if (match?.[1] === undefined || unit === undefined)
    throw new InvalidArgumentError('Write a size such as 64K or 1M.')
  return Number(match[1]) * unit
}

function parseDays(text: string): number {
  const days = Number(text)
  if (!Number.isInteger(days) || days < 1 || days > LOCK_DAYS_MAX)
    throw new InvalidArgumentError(`Write a whole number of days from 1 to ${LOCK_DAYS_MAX}.`)
  return days
}

function parseLevel(text: string): number {
  const level = Number(text)
  if (!Number.isInteger(level) || level < 0 || level > 19)
    throw new InvalidArgumentError('Write a whole number from 0 to 19.')
  return level
}
