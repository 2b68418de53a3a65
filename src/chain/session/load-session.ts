import { isEverfoldError } from '../../errors.js'
import { chunkAt, type PackDirectory, plainPosition } from '../../pack/pack-format.js'
import { sessionPrefix } from '../../store/keys.js'
import { ExtentList, ZEROS } from '../extent-list.js'
import type { Repository } from '../repository.js'
import { Session } from './session.js'
import type { SessionBegin } from './session-objects.js'
import { readParts } from './session-store.js'

/** In place of a pack, while a session is loaded: what was here is lost, and has to come again. */
const LOST = -3

/**
 * Takes a session up again from its parts. Whatever they name is held from now on, and is looked at: a part that names something
 * that may no longer be referred to counts as not arrived, and so does whatever it was written over.
 * @throws STORE_FAILED
 */
export async function loadSession(repository: Repository, begin: SessionBegin): Promise<Session> {
  const session = new Session(repository, begin)
  try {
    const tables = session.disks.map(({ packs, about }) => ({ packs, stride: session.strideOf(about) }))
    for await (const part of readParts(repository.store, begin, tables)) {
      if (part === undefined) session.restoreDamaged()
      else {
        const whole = await mayReferenceAll(repository, session, part.extents)
        session.restore({ ...part, extents: whole ? part.extents : lost(part.extents) })
      }
    }
    // Some of what was read may be what is left of a process that was killed: see StoreReader.settle.
    await repository.store.settle(sessionPrefix(session.id))
    for (const [number, list] of session.together().entries()) {
      const disk = session.disk(number)
      disk.lists = [withoutLost(list)]
    }
    return session
  } catch (error) {
    session.pins.end()
    throw error
  }
}

async function mayReferenceAll(repository: Repository, session: Session, list: ExtentList): Promise<boolean> {
  const { catalog } = repository
  const directories = new Map<number, PackDirectory>()
  for (let i = 0; i < list.length; i++) {
    const pack = list.pack[i] ?? ZEROS
    if (pack < 0 || directories.has(pack)) continue
    // Pinned before it is asked about: from then on collection leaves it as it is.
    session.pins.pin(list.packs.idOf(pack))
    try {
      directories.set(pack, await catalog.directory(list.packs.idOf(pack)))
    } catch (error) {
      if (isEverfoldError(error, 'OBJECT_NOT_FOUND', 'DATA_DAMAGED')) return false
      throw error
    }
  }
  for (let i = 0; i < list.length; i++) {
    const directory = directories.get(list.pack[i] ?? ZEROS)
    if (directory === undefined) continue
    const start = plainPosition(directory, list.chunk[i] ?? 0, list.skip[i] ?? 0, list.size[i] ?? 0)
    if (start === undefined) return false
    const end = start + (list.size[i] ?? 0)
    for (let chunk = chunkAt(directory, start); (directory.chunkStart[chunk] ?? end) < end; chunk++)
      if (!catalog.mayReference(directory, chunk)) return false
  }
  return true
}

function lost(list: ExtentList): ExtentList {
  const out = new ExtentList(list.stride, list.packs)
  for (let i = 0; i < list.length; i++) out.append(list.startOf(i), list.size[i] ?? 0, LOST, 0, 0)
  return out
}

function withoutLost(list: ExtentList): ExtentList {
  const out = new ExtentList(list.stride, list.packs, list.length)
  for (let i = 0; i < list.length; i++)
    if (list.pack[i] !== LOST) out.appendPart(list, i, list.startOf(i), list.endOf(i))
  return out
}
