import { access } from 'node:fs/promises'
import { isEverfoldError } from '../errors.js'
import type { ChunkIndex } from '../index/chunk-index.js'
import { leaveCleanMark, takeCleanMark } from '../index/clean-mark.js'
import { ExpendableIndex } from '../index/expendable-index.js'
import { IndexUnusable } from '../index/index-unusable.js'
import { loadLevel } from '../index/level-database.js'
import { destroyIndex } from '../index/level-files.js'
import { LevelIndex } from '../index/level-index.js'
import { type RebuildProgress, rebuildIndex } from '../index/rebuild.js'
import { ThreadCrew } from '../pack/crew.js'
import type { Quarantine } from '../pack/quarantine.js'
import type { Archive } from '../store/archive.js'
import type { ObjectLocks } from '../store/object-lock.js'
import { type HeldStore, type OpenStoreOptions, openStore } from '../store/open-store.js'
import type { RequestLog } from '../store/request-log.js'
import type { Store } from '../store/store.js'
import type { Traffic } from '../store/traffic.js'
import { Repository } from './repository.js'

export interface OpenOptions extends OpenStoreOptions {
  /** What this process does, shown to whoever finds the repository taken. */
  readonly command: string
  /** Is there work for threads? Then they are started at once, beside the rest of opening. */
  readonly threads?: boolean
  /** Called while a missing index is rebuilt. */
  readonly onRebuild?: RebuildProgress
}

export interface OpenedRepository {
  readonly repository: Repository
  /** What was asked of a store on the network; undefined for a folder. */
  readonly traffic: Traffic | undefined
  /** Lets go of everything: index, threads, store, lock. */
  close(): Promise<void>
}

/**
 * Opens the repository in a folder for this process alone, with its index beside it. A missing index is rebuilt at once,
 * unless there is no space for it: then only what needs it fails.
 * @throws REPOSITORY_LOCKED, REPOSITORY_NOT_FOUND, REPOSITORY_DAMAGED, FORMAT_TOO_NEW, STORE_FAILED
 */
export async function openRepository(location: string, options: OpenOptions): Promise<OpenedRepository> {
  const opened = await openStore(location, options)
  const { store } = opened
  const closing: (() => Promise<void>)[] = [() => store.close()]
  const close = async (): Promise<void> => {
    for (const step of closing.splice(0).reverse()) await step()
  }
  try {
    const crew = new ThreadCrew()
    // The index is opened only when the repository is ours.
    const taken: { held?: HeldStore } = {}
    const openIndex = (quarantine: Quarantine): Promise<ChunkIndex> =>
      openLevelIndex(taken.held?.indexFolder ?? '', store, quarantine, options.onRebuild)
    const requestLog = (): RequestLog | undefined => taken.held?.requestLog
    closing.push(() => crew.close())
    if (options.threads === true) crew.prepare()
    const locks = (): ObjectLocks | undefined => taken.held?.locks
    const archive = (): Archive | undefined => taken.held?.archive
    const opening = Repository.open({ store, crew, openIndex, requestLog, locks, archive })
    const config = opening.then((repository) => repository.config)
    const locking = opened.lock(config, options.command)
    // While the system takes the lock: loading it takes as long.
    if (options.threads === true) loadLevel().catch(() => undefined)
    // Nothing is under way any more when one of them failed; that it is no repository matters more than whether it is taken.
    await Promise.allSettled([config, locking])
    const repository = await opening
    const held = await locking
    taken.held = held
    closing.push(() => held.release())
    closing.push(() => repository.close())
    // In a bucket it costs a request for each pack: then whoever needs it first has it rebuilt.
    const isNear = opened.traffic === undefined
    if (isNear && !(await exists(held.indexFolder))) await rebuildUnlessFull(repository)
    return { repository, traffic: opened.traffic, close }
  } catch (error) {
    await close()
    throw error
  }
}

async function openLevelIndex(
  path: string,
  store: Store,
  quarantine: Quarantine,
  onRebuild?: RebuildProgress,
): Promise<ChunkIndex> {
  let index: LevelIndex
  try {
    // LevelDB's process dies over a damaged table, so all of them are checked before it sees them: a second or two per GB.
    // That is spared after a clean end; should a table rot meanwhile, the end is not clean, and the next start checks.
    const left = takeCleanMark(path)
    if (left === 'changed') await destroyIndex(path)
    index = await LevelIndex.open(path, { checkTables: left === 'unclean' })
  } catch (error) {
    if (!(error instanceof IndexUnusable)) throw error
    await destroyIndex(path)
    index = await LevelIndex.open(path)
  }
  // A rebuild that was cut short leaves an index without this note.
  if (index.created || (await index.getNote(COMPLETE)) === undefined) {
    try {
      await rebuildIndex(store, quarantine, index, onRebuild)
      await index.putNote(COMPLETE, 'yes')
    } catch (error) {
      await index.close()
      throw error
    }
  }
  return new ExpendableIndex(
    index,
    () => destroyIndex(path),
    () => leaveCleanMark(path),
  )
}

/** Note in the index: every pack of the store was entered once. */
export const COMPLETE = 'complete'

async function rebuildUnlessFull(repository: Repository): Promise<void> {
  try {
    await repository.index()
  } catch (error) {
    if (!isEverfoldError(error, 'STORE_FULL', 'STORE_FAILED')) throw error
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
