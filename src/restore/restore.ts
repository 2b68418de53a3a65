import { type ByteRange, bytesIn } from '../byte-range.js'
import type { Repository } from '../chain/repository.js'
import { EverfoldError, isEverfoldError } from '../errors.js'
import { Gate } from '../gate.js'
import type { ReadTask } from '../pack/chunk-reader.js'
import { archivedError, archivedObjects } from './archived.js'
import { type DiskPlan, type Step, sortPieces, stepsOf } from './plan.js'
import { tasksAtOnce, withReadRoom } from './read-rooms.js'

/** Where a disk is restored to. Offsets in bytes; calls may overlap in time but never in place. */
export interface DiskTarget {
  write(bytes: Uint8Array, offset: number): Promise<void>
  /** Makes a range read as zeros. */
  zeros(offset: number, length: number): Promise<void>
}

export interface LostRange {
  readonly machine: string
  readonly point: string
  readonly disk: string
  readonly offset: number
  readonly length: number
}

/** Lost ranges that an error names; more are only counted. */
const LOST_NAMED_MAX = 20

/**
 * Writes a disk as it was, in parallel and read ahead; every chunk is checked against its hash. What cannot be
 * read is never filled with zeros in silence: all the rest is tried, then this fails.
 * @param ranges  what of the disk is wanted: sorted, apart
 * @throws DATA_DAMAGED with `details.lost` naming the ranges; OBJECT_ARCHIVED with `details.archived` naming all objects; STORE_FAILED, TARGET_FAILED
 */
export async function restoreDisk(
  repository: Repository,
  plan: DiskPlan,
  target: DiskTarget,
  onProgress: (doneBytes: number) => void,
  ranges: readonly ByteRange[] = [{ offset: 0, length: plan.sizeBytes }],
): Promise<void> {
  try {
    await writeDisk(repository, plan, target, onProgress, ranges)
  } catch (error) {
    if (!isEverfoldError(error, 'OBJECT_ARCHIVED')) throw error
    throw archivedError(await archivedObjects(repository, [{ plan, ranges }]))
  }
}

async function writeDisk(
  repository: Repository,
  plan: DiskPlan,
  target: DiskTarget,
  onProgress: (doneBytes: number) => void,
  ranges: readonly ByteRange[],
): Promise<void> {
  const gate = new Gate(tasksAtOnce(repository.crew.size))
  const lost: LostRange[] = []
  const underWay = new Set<Promise<void>>()
  let failure: { readonly error: unknown } | undefined
  let done = 0
  const advance = (bytes: number): void => {
    done += bytes
    onProgress(done)
  }
  const start = (work: () => Promise<void>): void => {
    const running = work()
      .catch((error: unknown) => {
        failure ??= { error }
      })
      .finally(() => {
        gate.leave()
        underWay.delete(running)
      })
    underWay.add(running)
  }
  const takeSteps = async (): Promise<void> => {
    for await (const step of stepsOfAll(repository, plan, ranges)) {
      if (failure !== undefined) break
      if (step.kind === 'lost') {
        lost.push(lostRange(plan, step.offset, step.length))
        advance(step.length)
        continue
      }
      await gate.enter()
      start(async () => {
        if (step.kind === 'zeros') {
          await target.zeros(step.offset, step.length)
          advance(step.length)
          return
        }
        await readTask(repository, plan, step.task, target, lost)
        advance(step.task.pieces.reduce((sum, piece) => sum + piece.length, 0))
      })
    }
  }
  await takeSteps().catch((error: unknown) => {
    failure ??= { error }
  })
  await Promise.all(underWay)
  if (failure !== undefined) throw failure.error
  if (lost.length > 0) throw lostError(plan, lost)
}

async function* stepsOfAll(
  repository: Repository,
  plan: DiskPlan,
  ranges: readonly ByteRange[],
): AsyncGenerator<Step> {
  for (const { offset, length } of ranges) yield* stepsOf(repository, plan, offset, offset + length)
}

async function readTask(
  repository: Repository,
  plan: DiskPlan,
  task: ReadTask,
  target: DiskTarget,
  lost: LostRange[],
): Promise<void> {
  try {
    await withReadRoom(repository.crew, task, async (room) => {
      const { plain, damaged } = await repository.reader.run(task, room)
      const pieces = sortPieces(task, damaged)
      for (const piece of pieces.good)
        await target.write(plain.subarray(piece.from, piece.from + piece.length), piece.target)
      lost.push(...pieces.lost.map((piece) => lostRange(plan, piece.target, piece.length)))
    })
  } catch (error) {
    if (!isEverfoldError(error, 'OBJECT_NOT_FOUND', 'DATA_DAMAGED')) throw error
    lost.push(...task.pieces.map((piece) => lostRange(plan, piece.target, piece.length)))
  }
}

function lostRange(plan: DiskPlan, offset: number, length: number): LostRange {
  return { machine: plan.machine, point: plan.point, disk: plan.disk, offset, length }
}

function lostError(plan: DiskPlan, lost: readonly LostRange[]): EverfoldError {
  const sorted = [...lost].sort((a, b) => a.offset - b.offset)
  const bytes = bytesIn(sorted)
  const named = sorted.slice(0, LOST_NAMED_MAX).map((range) => `${range.offset}+${range.length}`)
  const more = sorted.length > named.length ? ` and ${sorted.length - named.length} more` : ''
  return new EverfoldError(
    'DATA_DAMAGED',
    `Point ${plan.point} of "${plan.machine}": ${bytes} bytes of disk "${plan.disk}" are damaged in the repository and were not restored ` +
      `(offset+length: ${named.join(', ')}${more}). Other points may be whole: run everfold verify to see.`,
    { details: { lostBytes: bytes, lost: sorted } },
  )
}
