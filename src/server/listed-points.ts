import type { ChainHead } from '../chain/chains.js'
import { type PointSummary, summarise } from '../chain/point-summary.js'
import type { Repository } from '../chain/repository.js'
import { errorJson, isEverfoldError } from '../errors.js'
import { account } from '../merge/account.js'
import { knownDamage } from '../restore/quarantine-damage.js'

/** What is wrong with points, or with those that are not listed. */
type Trouble = ReturnType<typeof errorJson>

export interface ListedPoints {
  readonly points: readonly (PointSummary & {
    /** What deleting it alone would free, and how much of it is known to be damaged. Bytes. */
    readonly freedBytes: number | null
    readonly damagedBytes: number
  })[]
  readonly problems: readonly Trouble[]
}

export interface ListedPointsOptions {
  /** Leaves out what deleting each point would free. */
  readonly fast: boolean
  /** Machines to pass over, if all are listed. */
  readonly wants?: (machine: string) => boolean
  /** Told of machines whose newest chain state is damaged. */
  readonly onDamaged: (message: string) => void
}

/**
 * The points of a machine, or of all that can be read: what is wrong with the others is in the answer.
 * @throws MACHINE_UNKNOWN, CHAIN_DAMAGED if a machine is named; STORE_FAILED
 */
export async function listPoints(
  repository: Repository,
  machine: string | undefined,
  { fast, wants = () => true, onDamaged }: ListedPointsOptions,
): Promise<ListedPoints> {
  if (machine !== undefined)
    return withAccount(
      repository,
      pointsOf(machine, await repository.chains.get(machine), onDamaged),
      [],
      fast,
    )
  const points: PointSummary[] = []
  const problems: Trouble[] = []
  for (const name of await repository.chains.allMachines()) {
    if (!wants(name)) continue
    try {
      const head = await repository.chains.find(name)
      if (head !== undefined) points.push(...pointsOf(name, head, onDamaged))
    } catch (error) {
      // The other machines are listed all the same.
      if (!isEverfoldError(error, 'CHAIN_DAMAGED', 'LISTING_INCOMPLETE')) throw error
      problems.push(errorJson(error))
    }
  }
  return withAccount(repository, points, problems, fast)
}

function pointsOf(
  machine: string,
  { state, damaged }: ChainHead,
  onDamaged: (message: string) => void,
): PointSummary[] {
  if (damaged.length > 0)
    onDamaged(
      `the newest chain state of "${machine}" is damaged: points may be missing. Run: everfold verify`,
    )
  return state.points.map((point, index) => summarise(machine, point, index))
}

function nameOf({ machine, point }: { readonly machine: string; readonly point: string }): string {
  return `${machine}/${point}`
}

async function withAccount(
  repository: Repository,
  points: readonly PointSummary[],
  before: readonly Trouble[],
  fast: boolean,
): Promise<ListedPoints> {
  const freed = new Map<string, number>()
  const damaged = new Map<string, number>()
  const problems = [...before]
  try {
    for (const range of await knownDamage(repository))
      damaged.set(nameOf(range), (damaged.get(nameOf(range)) ?? 0) + range.length)
    if (!fast)
      for (const machine of (await account(repository)).machines)
        for (const { point, freedBytes } of machine.points)
          freed.set(nameOf({ machine: machine.machine, point }), freedBytes)
  } catch (error) {
    // The list is worth more than its last column: what is wrong is told, and the points are shown.
    if (!isEverfoldError(error)) throw error
    problems.push(errorJson(error))
  }
  const listed = points.map((point) => ({
    ...point,
    freedBytes: freed.get(nameOf(point)) ?? null,
    damagedBytes: damaged.get(nameOf(point)) ?? 0,
  }))
  return { points: listed, problems }
}
