import type { Command } from 'commander'
import { type OpenedRepository, openRepository } from '../../chain/open-repository.js'
import { ERROR_CLASSES, errorJson, isEverfoldError } from '../../errors.js'
import { type CopiedMachine, copyMachine } from '../../restore/copy.js'
import type { Trouble } from '../operations.js'
import { bytes, counted } from '../output.js'
import { showProgress } from '../progress.js'
import { type CommonOptions, printResult, warn } from '../run.js'

interface CopyOptions extends Pick<CommonOptions, 'json' | 'cache' | 'storageClass'> {
  readonly verify?: true
}

interface CopyOutcome {
  readonly machines: readonly CopiedMachine[]
  readonly failed: readonly { readonly machine: string; readonly error: Trouble }[]
}

export function addCopy(program: Command): void {
  program
    .command('copy')
    .description(
      'Bring points to another repository: those that came after what is there already. Only chunks that are missing there are sent.',
    )
    .argument('<from>', 'the repository that has them: a folder, or s3://BUCKET/PREFIX')
    .argument('<to>', 'the one that gets them; it may hold other machines, too')
    .argument('[machines...]', 'only these (default: all)')
    .option('--verify', 'read back what the copied points brought, and check it')
    .addHelpText(
      'after',
      `
Each point is there whole or not at all, with its name, time, note and pin; a machine's retention policy comes with its first point. Run it again, or on a schedule: it goes on where it was.
A point that was removed there does not come back.

Examples:
  everfold copy /backup/repo /mnt/offsite/repo
  everfold copy /backup/repo s3://backups/site-1        (made before with everfold init)
  everfold copy /backup/repo s3://backups/site-1 web1 db1`,
    )
    .action(async (from: string, to: string, machines: readonly string[], options: CopyOptions) => {
      const outcome = await withBoth(from, to, options, (source, target) =>
        copyAll(source, target, machines, options),
      )
      await printResult(options, outcome, () => describe(outcome))
      const [first] = outcome.failed
      if (first !== undefined) process.exitCode = ERROR_CLASSES[first.error.code].exit
    })
}

const OF_ONE_MACHINE = [
  'DATA_DAMAGED',
  'CHAIN_DAMAGED',
  'OBJECT_NOT_FOUND',
  'OBJECT_ARCHIVED',
  'MACHINE_UNKNOWN',
  'CONFLICT',
] as const

async function withBoth<T>(
  from: string,
  to: string,
  { cache, storageClass }: CopyOptions,
  work: (from: OpenedRepository, to: OpenedRepository) => Promise<T>,
): Promise<T> {
  const settings = {
    command: 'copy',
    threads: true,
    onWarning: warn,
    ...(cache !== undefined && { cacheFolder: cache }),
  }
  const source = await openRepository(from, settings)
  try {
    const target = await openRepository(to, {
      ...settings,
      ...(storageClass !== undefined && { s3: { storageClass } }),
    })
    try {
      const result = await work(source, target)
      await target.repository.locks?.extendIfDue()
      return result
    } finally {
      await target.close()
    }
  } finally {
    await source.close()
  }
}

async function copyAll(
  { repository: from }: OpenedRepository,
  { repository: to }: OpenedRepository,
  wanted: readonly string[],
  { json, verify }: CopyOptions,
): Promise<CopyOutcome> {
  const machines: CopiedMachine[] = []
  const failed: { machine: string; error: Trouble }[] = []
  for (const machine of wanted.length > 0 ? wanted : await from.chains.machines()) {
    const progress = showProgress(`copying ${machine}`, json === true)
    try {
      machines.push(
        await copyMachine(from, to, machine, {
          verify: verify === true,
          onProgress: (done, total) => {
            progress.update(done, total)
          },
        }),
      )
    } catch (error) {
      // Of one machine: the others are copied all the same.
      if (!isEverfoldError(error, ...OF_ONE_MACHINE)) throw error
      failed.push({ machine, error: errorJson(error) })
    } finally {
      progress.stop()
    }
  }
  return { machines, failed }
}

function describe({ machines, failed }: CopyOutcome): string {
  const lines = machines.map(({ machine, copied, readBytes, storedBytes, pinned, verifiedBytes }) => {
    const pins = pinned.length === 0 ? '' : ` Pinned ${counted(pinned.length, 'point')} as here.`
    if (copied.length === 0) return `${machine}: nothing new.${pins}`
    const checked = verifiedBytes === null ? '' : `, read back ${bytes(verifiedBytes)}`
    const figures = `read ${bytes(readBytes)}, stored ${bytes(storedBytes)}${checked}`
    return `${machine}: copied ${counted(copied.length, 'point')}, ${figures}.${pins}`
  })
  for (const { machine, error } of failed) lines.push(`${machine}: ${error.message} [${error.code}]`)
  return lines.length === 0 ? 'There are no machines to copy.' : lines.join('\n')
}
