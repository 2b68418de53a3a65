import type { Command } from 'commander'
import { ERROR_CLASSES } from '../../errors.js'
import { isPinned, pinText } from '../../merge/pins.js'
import type { ListedPoint } from '../operations.js'
import { bytes, table, time } from '../output.js'
import { type CommonOptions, printResult, withOperations } from '../run.js'
import { writeTrouble } from '../trouble.js'

interface PointsOptions extends CommonOptions {
  readonly fast?: true
}

export function addPoints(program: Command): void {
  program
    .command('points')
    .description('List the recovery points of one machine or of all, oldest first.')
    .argument('[machine]')
    .option('--fast', 'leave out what deleting each point would free: it takes a look at all runs and packs')
    .addHelpText('after', '\nExamples:\n  everfold points\n  everfold points web1 --json')
    .action(async (machine: string | undefined, options: PointsOptions, command: Command) => {
      const { points, problems } = await withOperations(options, command, (operations) =>
        operations.listPoints(machine, options.fast === true),
      )
      for (const problem of problems) {
        writeTrouble(problem)
        process.exitCode = ERROR_CLASSES[problem.code].exit
      }
      await printResult(options, points, () => (points.length === 0 ? 'No points yet.' : listing(points)))
    })
}

function listing(points: readonly ListedPoint[]): Promise<string> {
  return table(
    [
      'machine',
      'point',
      'taken',
      'kind',
      'size',
      'changed',
      'new',
      'stored',
      'freed if deleted',
      'disks',
      'note',
    ],
    points.map((point) => [
      point.machine,
      point.point,
      time(point.createdAt),
      point.kind,
      bytes(point.sizeBytes),
      bytes(point.changedBytes),
      bytes(point.newBytes),
      bytes(point.storedBytes),
      point.freedBytes === null ? '–' : bytes(point.freedBytes),
      point.disks.map((disk) => disk.id).join(','),
      remarks(point),
    ]),
    [0, 1, 2, 3, 9, 10],
  )
}

function remarks({ note, pin, damagedBytes }: ListedPoint): string {
  const damage = damagedBytes > 0 ? [`DAMAGED: ${bytes(damagedBytes)}`] : []
  const pinned = pin !== undefined && isPinned({ pin }, Date.now()) ? [pinText(pin)] : []
  return [...damage, ...pinned, ...(note === undefined ? [] : [note])].join('; ')
}
