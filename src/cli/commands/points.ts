import type { Command } from 'commander'
import type { ChainHead } from '../../chain/chains.js'
import { type PointSummary, summarise } from '../../chain/point-summary.js'
import type { Repository } from '../../chain/repository.js'
import { isEverfoldError } from '../../errors.js'
import { account } from '../../merge/account.js'
import { isPinned, pinText } from '../../merge/pins.js'
import { knownDamage } from '../../restore/quarantine-damage.js'
import { bytes, table, time } from '../output.js'
import { type CommonOptions, printResult, reportError, withRepository } from '../run.js'

interface PointsOptions extends CommonOptions {
  readonly fast?: true
}

/** A point, what deleting it alone would free, and how much of it is known to be damaged. Bytes. */
interface ListedPoint extends PointSummary {
  readonly freedBytes: number | null
  readonly damagedBytes: number
}

export function addPoints(program: Command): void {
  program
    .command('points')
    .description('List the recovery points of one machine or of all, oldest first.')
    .argument('[machine]')
    .option('--fast', 'leave out what deleting each point would free: it takes a look at all runs and packs')
    .addHelpText('after', '\nExamples:\n  everfold points\n  everfold points web1 --json')
    .action(async (machine: string | undefined, options: PointsOptions, command: Command) => {
      const points = await withRepository(options, command, async (repository) => {
        if (machine !== undefined)
          return withAccount(repository, options, pointsOf(machine, await repository.chains.get(machine)))
        const all: PointSummary[] = []
        for (const name of await repository.chains.allMachines()) {
          try {
            const head = await repository.chains.find(name)
            if (head !== undefined) all.push(...pointsOf(name, head))
          } catch (error) {
            // The other machines are listed all the same.
            if (!isEverfoldError(error, 'CHAIN_DAMAGED', 'LISTING_INCOMPLETE')) throw error
            process.exitCode = reportError(error, false)
          }
        }
        return withAccount(repository, options, all)
      })
      await printResult(options, points, () => (points.length === 0 ? 'No points yet.' : listing(points)))
    })
}

function pointsOf(machine: string, { state, damaged }: ChainHead): PointSummary[] {
  if (damaged.length > 0)
    process.stderr.write(
      `everfold: the newest chain state of "${machine}" is damaged: points may be missing. Run: everfold verify\n`,
    )
  return state.points.map((point, index) => summarise(machine, point, index))
}

function nameOf({ machine, point }: { readonly machine: string; readonly point: string }): string {
  return `${machine}/${point}`
}

async function withAccount(
  repository: Repository,
  options: PointsOptions,
  points: readonly PointSummary[],
): Promise<ListedPoint[]> {
  const freed = new Map<string, number>()
  const damaged = new Map<string, number>()
  try {
    for (const range of await knownDamage(repository))
      damaged.set(nameOf(range), (damaged.get(nameOf(range)) ?? 0) + range.length)
    if (options.fast !== true)
      for (const machine of (await account(repository)).machines)
        for (const { point, freedBytes } of machine.points)
          freed.set(nameOf({ machine: machine.machine, point }), freedBytes)
  } catch (error) {
    // The list is worth more than its last column: what is wrong is told, and the points are shown.
    if (!isEverfoldError(error)) throw error
    process.exitCode = reportError(error, false)
  }
  return points.map((point) => ({
    ...point,
    freedBytes: freed.get(nameOf(point)) ?? null,
    damagedBytes: damaged.get(nameOf(point)) ?? 0,
  }))
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
