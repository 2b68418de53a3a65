import { backUp } from '../chain/backup.js'
import { COMPLETE } from '../chain/open-repository.js'
import type { Repository } from '../chain/repository.js'
import { errorJson } from '../errors.js'
import { rebuildIndex } from '../index/rebuild.js'
import { deleteMachine, deletePoint, foldTo } from '../merge/fold.js'
import { collectGarbage, type GcResult } from '../merge/gc.js'
import { healDamage } from '../merge/heal.js'
import { pin, unpin } from '../merge/pins.js'
import { type RetainOptions, retain, retainAfterBackup } from '../merge/retain.js'
import { savePolicy } from '../merge/retain-policy.js'
import { statisticsOf } from '../merge/statistics.js'
import { verifyRepository } from '../restore/verify.js'
import { TokenBook } from '../server/token-book.js'
import { listPoints } from './local-points.js'
import { openPoint } from './local-restore.js'
import type { AfterBackup, GcWork, Operations, RetainWork } from './operations.js'

/** What commands do, on a repository that this process has opened. */
export function localOperations(repository: Repository): Operations {
  return {
    backUp: async ({ transfer: _transfer, patienceMs: _patience, ...request }) => {
      const backup = await backUp(repository, request)
      await healQuietly(repository)
      const retention = await retainAfter(repository, backup.machine)
      return { ...backup, ...(retention === undefined ? {} : { retention }) }
    },
    listPoints: (machine, fast) => listPoints(repository, machine, fast),
    openPoint: (machine, point, disks) => openPoint(repository, machine, point, disks),
    verify: (sample, onProgress) => verifyRepository(repository, { sample, onProgress }),
    collectGarbage: (work, onProgress) => collect(repository, work, onProgress),
    reindex: async (onProgress) => {
      const index = await repository.index()
      const { quarantine } = repository.catalog
      const rebuilt = await rebuildIndex(repository.store, quarantine, index, onProgress)
      await index.putNote(COMPLETE, 'yes')
      return rebuilt
    },
    statistics: () => statisticsOf(repository),
    retain: async (work) => {
      const saved = work.save && !work.dryRun
      if (saved) await savePolicy(repository, work.machine, work.policy)
      const report = await retain(repository, work.machine, retainOptions(work))
      const failed = report.failed.map(({ machine, error }) => ({ machine, error: errorJson(error) }))
      return { saved, machines: report.machines, withoutPolicy: report.withoutPolicy, failed }
    },
    forgetPolicy: (machine) => savePolicy(repository, machine, undefined),
    pin: (machine, point, request) => pin(repository, machine, point, request),
    unpin: (machine, point) => unpin(repository, machine, point),
    fold: (machine, keep) => foldTo(repository, machine, keep),
    deletePoint: (machine, point) => deletePoint(repository, machine, point),
    countPoints: async (machine) => {
      const { points } = (await repository.chains.get(machine)).state
      return {
        points: points.length,
        pinned: points.filter(({ pin }) => pin !== undefined).length,
      }
    },
    deleteMachine: (machine) => deleteMachine(repository, machine),
    createToken: async (request) => (await openBook(repository)).create(request),
    listTokens: async () => (await openBook(repository)).list(),
    revokeToken: async (id) => (await openBook(repository)).revoke(id),
  }
}

/** The backup may have brought good copies of damaged chunks. It is safe whatever comes of this. */
async function healQuietly(repository: Repository): Promise<void> {
  try {
    const { healedChunks } = await healDamage(repository)
    if (healedChunks > 0) process.stderr.write(`everfold: ${healedChunks} damaged chunks are whole again\n`)
  } catch (error) {
    const told = errorJson(error)
    process.stderr.write(`everfold: the backup is safe, but healing failed: ${told.message} [${told.code}]\n`)
  }
}

async function retainAfter(repository: Repository, machine: string): Promise<AfterBackup | undefined> {
  try {
    const removed = await retainAfterBackup(repository, machine)
    return removed === undefined ? undefined : { removed }
  } catch (error) {
    return { error: errorJson(error) }
  }
}

async function collect(
  repository: Repository,
  { dryRun, deadShareMax, rounds }: GcWork,
  onProgress: (done: number, total: number) => void,
): Promise<GcResult> {
  const options = { dryRun, ...(deadShareMax === undefined ? {} : { deadShareMax }), onProgress }
  let result = await collectGarbage(repository, options)
  // A dry run changes nothing, so a second one would say the same.
  for (let round = 1; round < rounds && !dryRun; round++)
    result = together(result, await collectGarbage(repository, options))
  return result
}

/** What two rounds did in all, and how things are after the later one. */
function together(earlier: GcResult, later: GcResult): GcResult {
  const sum = (
    name:
      | 'condemnedObjects'
      | 'condemnedBytes'
      | 'rewrittenPacks'
      | 'joinedPacks'
      | 'writtenBytes'
      | 'removedObjects'
      | 'removedBytes'
      | 'seconds',
  ): number => earlier[name] + later[name]
  return {
    ...later,
    condemnedObjects: sum('condemnedObjects'),
    condemnedBytes: sum('condemnedBytes'),
    rewrittenPacks: sum('rewrittenPacks'),
    joinedPacks: sum('joinedPacks'),
    writtenBytes: sum('writtenBytes'),
    removedObjects: sum('removedObjects'),
    removedBytes: sum('removedBytes'),
    seconds: sum('seconds'),
  }
}

/** A default that is saved does not hold for machines with a policy of their own: not now either. */
function retainOptions({ machine, policy, save, dryRun }: RetainWork): RetainOptions {
  if (policy === undefined) return { dryRun }
  return machine === undefined && save ? { dryRun, defaultPolicy: policy } : { dryRun, policy }
}

async function openBook({ store, environment }: Repository): Promise<TokenBook> {
  const { book, state } = await TokenBook.open(store, environment)
  if (state === 'damaged')
    process.stderr.write(
      'everfold: the newest list of tokens is damaged: none of the tokens made so far holds any more\n',
    )
  return book
}
