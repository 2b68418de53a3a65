import { type Command, InvalidArgumentError } from 'commander'
import type { VerifyResult } from '../../restore/verify.js'
import { bytes, counted } from '../output.js'
import { showProgress } from '../progress.js'
import { type CommonOptions, printResult, withOperations } from '../run.js'

interface VerifyOptions extends CommonOptions {
  readonly sample?: number
}

const LISTED_MAX = 50

export function addVerify(program: Command): void {
  program
    .command('verify')
    .description(
      'Prove from the store alone that every point can be restored. Damage is recorded; nothing is deleted.',
    )
    .option('--sample <percent>', 'read only this share of the data, such as 5%', parsePercent)
    .addHelpText(
      'after',
      '\nExit status 5 if anything is damaged.\n\nExamples:\n  everfold verify\n  everfold verify --sample 5%',
    )
    .action(async (options: VerifyOptions, command: Command) => {
      const result = await withOperations(
        options,
        command,
        async (operations) => {
          const progress = showProgress('verifying', options.json === true)
          try {
            return await operations.verify(options.sample ?? 1, (done, total) => {
              progress.update(done, total)
            })
          } finally {
            progress.stop()
          }
        },
        { threads: true },
      )
      await printResult(options, result, () => describe(result, options.sample))
      if (!result.ok) process.exitCode = 5
    })
}

function parsePercent(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*%?$/.exec(text)
  const share = Number(match?.[1]) / 100
  if (!(share > 0 && share <= 1))
    throw new InvalidArgumentError('Write a share such as 5%, over 0 and up to 100%.')
  return share
}

function describe(result: VerifyResult, sample: number | undefined): string {
  const what = sample === undefined ? '' : ` (a sample of ${Math.round(sample * 1000) / 10}%)`
  const checked =
    `Checked ${counted(result.points, 'point')} of ${counted(result.machines, 'machine')}: ` +
    `${counted(result.chunks, 'chunk')} in ${counted(result.packs, 'pack')}, ` +
    `${bytes(result.readBytes)}${what}.`
  if (result.ok) return `${checked}\nAll is well.`
  const lines = [checked]
  const some = <T>(list: readonly T[], line: (item: T) => string): void => {
    lines.push(...list.slice(0, LISTED_MAX).map(line))
    if (list.length > LISTED_MAX) lines.push(`  … and ${list.length - LISTED_MAX} more; see --json`)
  }
  lines.push('', 'Damaged objects:')
  some(result.objects, (object) => `  ${object.key}: ${object.problem}`)
  lines.push('', result.damaged.length === 0 ? 'No point is affected.' : 'Cannot be restored:')
  some(
    result.damaged,
    (range) =>
      `  ${range.machine} ${range.point} ${range.disk}: ${bytes(range.length)} at byte ${range.offset}`,
  )
  return lines.join('\n')
}
