import type { Command } from 'commander'
import { type PointSummary, summarise } from '../../chain/statistics.js'
import { isPinned, pinText } from '../../merge/pins.js'
import { bytes, table, time } from '../output.js'
import { type CommonOptions, printResult, withRepository } from '../run.js'

export function addPoints(program: Command): void {
  program
    .command('points')
    .description('List the recovery points of one machine or of all, oldest first.')
    .argument('[machine]')
    .addHelpText('after', '\nExamples:\n  everfold points\n  everfold points web1 --json')
    .action(async (machine: string | undefined, options: CommonOptions, command: Command) => {
      const points = await withRepository(options, command, async (repository) => {
        const all: PointSummary[] = []
        for (const name of machine === undefined ? await repository.chains.machines() : [machine]) {
          const { state, damaged } = await repository.chains.get(name)
          if (damaged.length > 0)
            process.stderr.write(
              `everfold: the newest chain state of "${name}" is damaged: points may be missing. Run: everfold verify\n`,
            )
          all.push(...state.points.map((point, index) => summarise(name, point, index)))
        }
        return all
      })
      await printResult(options, points, () => (points.length === 0 ? 'No points yet.' : listing(points)))
    })
}

function listing(points: readonly PointSummary[]): Promise<string> {
  return table(
    ['machine', 'point', 'taken', 'kind', 'size', 'changed', 'new', 'stored', 'disks', 'note'],
    points.map((point) => [
      point.machine,
      point.point,
      time(point.createdAt),
      point.kind,
      bytes(point.sizeBytes),
      bytes(point.changedBytes),
      bytes(point.newBytes),
      bytes(point.storedBytes),
      point.disks.map((disk) => disk.id).join(','),
      remarks(point),
    ]),
    [0, 1, 2, 3, 8, 9],
  )
}

function remarks({ note, pin }: PointSummary): string {
  const pinned = pin !== undefined && isPinned({ pin }, Date.now()) ? [pinText(pin)] : []
  return [...pinned, ...(note === undefined ? [] : [note])].join('; ')
}
