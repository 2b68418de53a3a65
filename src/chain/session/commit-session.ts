import type { ByteRange } from '../../byte-range.js'
import { EverfoldError } from '../../errors.js'
import { chainsPrefix } from '../../store/keys.js'
import { checkFeedBase } from '../backup.js'
import { commitPoint, overtaken, type PointResult, resultOf } from '../commit-point.js'
import { ExtentList, SAME, ZEROS } from '../extent-list.js'
import type { Repository } from '../repository.js'
import { arrivedOf, missingOf, type Session } from './session.js'
import type { SessionBegin } from './session-objects.js'

/** Missing ranges that an error names. */
const MISSING_NAMED_MAX = 100

/** The point that a session became, if it did. @throws as Chains.find */
export async function committedAs(
  repository: Repository,
  begin: SessionBegin,
): Promise<PointResult | undefined> {
  const points = (await repository.chains.find(begin.machine))?.state.points ?? []
  const index = points.findIndex(({ id }) => id === begin.point)
  const point = points[index]
  if (point === undefined) return undefined
  // Whoever made it may not have got an answer: it is relied upon from now on.
  await repository.store.settle(chainsPrefix(begin.machine))
  return resultOf(begin.machine, { point, index })
}

/**
 * Makes the point of a session of which no data request is running.
 * @param all    what has arrived of each disk
 * @param sizes  sizes of disks that were not known when it began, by number
 * @throws DISK_INCOMPLETE, CONFLICT, FEED_BASE_UNSURE, and as commitPoint: no point was made then
 */
export async function commitSession(
  repository: Repository,
  session: Session,
  all: readonly ExtentList[],
  sizes: ReadonlyMap<number, number> = new Map(),
): Promise<PointResult> {
  const { begin, figures } = session
  const { machine, note, consistency, createdAt } = begin
  // It may have been made by a request whose answer got lost, or failed after its effect.
  const before = await committedAs(repository, begin)
  if (before !== undefined) return before
  const head = await repository.chains.find(machine)
  const newest = head?.state.points.at(-1)?.id
  if ((newest ?? null) !== begin.base) throw overtaken(machine, newest)
  if (begin.disks.some((disk) => disk.content === 'changes')) checkFeedBase(machine, head)
  const disks = begin.disks.map((about, number) => {
    const sizeBytes = sizes.get(number) ?? about.sizeBytes
    const arrived = arrivedOf(all, number)
    const missing = [...firstOf(missingOf({ ...about, sizeBytes }, arrived), MISSING_NAMED_MAX)]
    if (missing.length > 0) throw incomplete(session.id, about.id, missing)
    const { extents, anySame } = withoutSame(arrived)
    const complete = about.content === 'whole' && !anySame
    return { id: about.id, sizeBytes, chunker: about.chunker, complete, extents }
  })
  const pins = repository.pins.begin()
  try {
    // Held by the session as well; but the work that relies on them is this.
    for (const { extents } of disks)
      for (let i = 0; i < extents.length; i++) {
        const slot = extents.pack[i] ?? ZEROS
        if (slot >= 0) pins.pin(extents.packs.idOf(slot))
      }
    const { receivedBytes, newBytes, storedBytes } = figures
    const changedBytes = disks.reduce((sum, { extents }) => sum + extents.totalBytes, 0)
    const committed = await commitPoint(
      repository,
      {
        machine,
        base: begin.base ?? undefined,
        id: begin.point,
        ...(note === undefined ? {} : { note }),
        ...(consistency === 'crash' ? {} : { consistency }),
        disks,
        figures: { readBytes: receivedBytes, changedBytes, newBytes, storedBytes },
        seconds: () => Math.max(0, repository.environment.now() - Date.parse(createdAt)) / 1000,
      },
      pins,
    )
    return resultOf(machine, committed)
  } finally {
    pins.end()
  }
}

function withoutSame(list: ExtentList): { readonly extents: ExtentList; readonly anySame: boolean } {
  const extents = new ExtentList(list.stride, list.packs, list.length)
  let anySame = false
  for (let i = 0; i < list.length; i++)
    if (list.pack[i] === SAME) anySame = true
    else extents.appendPart(list, i, list.startOf(i), list.endOf(i))
  return { extents, anySame }
}

function incomplete(session: string, disk: string, missing: readonly ByteRange[]): EverfoldError {
  return new EverfoldError(
    'DISK_INCOMPLETE',
    `Not all of disk "${disk}" has arrived: from byte ${missing[0]?.offset ?? 0} on, something is missing. Send it, and commit again.`,
    { details: { session, disk, missing } },
  )
}

/** The first of many. */
export function* firstOf<T>(all: Iterable<T>, count: number): Generator<T> {
  if (count <= 0) return
  let taken = 0
  for (const one of all) {
    yield one
    if (++taken === count) return
  }
}
