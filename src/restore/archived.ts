import type { ByteRange } from '../byte-range.js'
import { ZEROS } from '../chain/extent-list.js'
import type { Repository } from '../chain/repository.js'
import { EverfoldError, isEverfoldError } from '../errors.js'
import { inOrder } from '../in-order.js'
import type { RecallRequest } from '../store/archive.js'
import type { DiskPlan } from './plan.js'

/** What is wanted of a disk: sorted, apart. */
export interface WantedRanges {
  readonly plan: DiskPlan
  readonly ranges: readonly ByteRange[]
}

/** Objects that are asked for at once. */
const ASKED_AT_ONCE = 16
/** Objects that a message names. */
const NAMED_MAX = 5

/**
 * Keys of the objects that would have to be read, and are archived. Asks for one byte of each.
 * @throws STORE_FAILED
 */
export async function archivedObjects(
  repository: Repository,
  wanted: readonly WantedRanges[],
): Promise<readonly string[]> {
  const packs = new Set<string>()
  for (const { plan, ranges } of wanted) for (const id of packsOf(plan, ranges)) packs.add(id)
  const archived = new Set<string>()
  for await (const key of inOrder(packs, ASKED_AT_ONCE, (id) => archivedObjectOf(repository, id)))
    if (key !== undefined) archived.add(key)
  return [...archived]
}

function* packsOf({ extents: list }: DiskPlan, ranges: readonly ByteRange[]): Generator<string> {
  for (const { offset, length } of ranges)
    for (let i = list.indexAt(offset); i < list.length && list.startOf(i) < offset + length; i++) {
      const pack = list.pack[i] ?? ZEROS
      if (pack !== ZEROS) yield list.packs.idOf(pack)
    }
}

async function archivedObjectOf({ catalog, store }: Repository, packId: string): Promise<string | undefined> {
  try {
    // Its directory may be known from a copy.
    await store.read((await catalog.directory(packId)).key, 0, 1)
    return undefined
  } catch (error) {
    if (isEverfoldError(error, 'OBJECT_ARCHIVED')) return String(error.details['key'])
    // What else is wrong with it, the restore says.
    if (isEverfoldError(error, 'OBJECT_NOT_FOUND', 'DATA_DAMAGED')) return undefined
    throw error
  }
}

/** Asks for objects to be made readable. @returns how many nobody had asked for before @throws PERMISSION_MISSING, STORE_FAILED */
export async function recallObjects(
  { archive }: Repository,
  keys: readonly string[],
  request: RecallRequest,
): Promise<number> {
  if (archive === undefined) return 0
  let asked = 0
  const recalls = inOrder(keys, ASKED_AT_ONCE, (key) => archive.recall(key, request))
  for await (const answer of recalls) if (answer === 'asked') asked++
  return asked
}

/** For whoever wants to restore what cannot be read yet. @param asked  how many were recalled just now; undefined: none was to be */
export function archivedError(keys: readonly string[], asked?: number): EverfoldError {
  const named = keys.slice(0, NAMED_MAX).join(', ')
  const more = keys.length > NAMED_MAX ? ` and ${keys.length - NAMED_MAX} more` : ''
  const are =
    keys.length === 1 ? 'An object that this needs is' : `${keys.length} objects that this needs are`
  const fix =
    asked === undefined
      ? 'Have them recalled: the same command with --recall DAYS'
      : `Their recall was asked for (${asked} now, ${keys.length - asked} before), which takes minutes to days: then give the same command again`
  return new EverfoldError('OBJECT_ARCHIVED', `${are} archived: ${named}${more}. ${fix}.`, {
    details: { archived: keys, ...(asked !== undefined && { asked }) },
  })
}
