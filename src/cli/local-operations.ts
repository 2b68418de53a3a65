import { backUp } from '../chain/backup.js'
import { reindex } from '../chain/reindex.js'
import type { Repository } from '../chain/repository.js'
import { errorJson } from '../errors.js'
import { deleteMachine, deletePoint, foldTo } from '../merge/fold.js'
import { collectRounds } from '../merge/gc-rounds.js'
import { healDamage } from '../merge/heal.js'
import { pin, unpin } from '../merge/pins.js'
import { retainAfterBackup } from '../merge/retain.js'
import { retainAsAsked } from '../merge/retain-as-asked.js'
import { savePolicy } from '../merge/retain-policy.js'
import { statisticsOf } from '../merge/statistics.js'
import { verifyRepository } from '../restore/verify.js'
import { listPoints } from '../server/listed-points.js'
import { TokenBook } from '../server/token-book.js'
import { tellHealed } from './healed.js'
import { openPoint } from './local-restore.js'
import type { Operations } from './operations.js'

/** What commands do, on a repository that this process has opened. */
export function localOperations(repository: Repository): Operations {
  return {
    backUp: async ({ transfer: _transfer, patienceMs: _patience, ...request }) => {
      const backup = await backUp(repository, request)
      await healQuietly(repository)
      const retention = await retainAfterBackup(repository, backup.machine)
      await extendLocksQuietly(repository)
      return { ...backup, ...(retention === undefined ? {} : { retention }) }
    },
    listPoints: (machine, fast) =>
      listPoints(repository, machine, {
        fast,
        onDamaged: (message) => process.stderr.write(`everfold: ${message}\n`),
      }),
    openPoint: (machine, point, disks) => openPoint(repository, machine, point, disks),
    verify: (sample, onProgress) => verifyRepository(repository, { sample, onProgress }),
    collectGarbage: ({ rounds, ...options }, onProgress) =>
      collectRounds(repository, rounds, { ...options, onProgress }),
    reindex: (onProgress) => reindex(repository, onProgress),
    statistics: () => statisticsOf(repository),
    retain: (work) => retainAsAsked(repository, work),
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
    if (healedChunks > 0) tellHealed(healedChunks)
  } catch (error) {
    const told = errorJson(error)
    process.stderr.write(`everfold: the backup is safe, but healing failed: ${told.message} [${told.code}]\n`)
  }
}

/** What there is stays locked ahead of time. The backup is safe and locked whatever comes of this. */
async function extendLocksQuietly({ locks }: Repository): Promise<void> {
  try {
    await locks?.extendIfDue()
  } catch (error) {
    const told = errorJson(error)
    process.stderr.write(
      `everfold: the backup is safe, but older locks could not be extended: ${told.message} [${told.code}]\n`,
    )
  }
}

async function openBook({ store, environment }: Repository): Promise<TokenBook> {
  const { book, state } = await TokenBook.open(store, environment)
  if (state === 'damaged')
    process.stderr.write(
      'everfold: the newest list of tokens is damaged: none of the tokens made so far holds any more\n',
    )
  return book
}
