import { stopIfCancelled } from '../cancellation.js'
import { reindex } from '../chain/reindex.js'
import type { Repository } from '../chain/repository.js'
import { collectRounds } from '../merge/gc-rounds.js'
import { retainAsAsked } from '../merge/retain-as-asked.js'
import { verifyRepository } from '../restore/verify.js'
import type { JobKind, JobProgress, JobRequest } from './job-schemas.js'

/** Jobs of one lane run one after the other: they would wait for each other's locks anyway. */
export const LANE_OF: Readonly<Record<JobKind, string>> = {
  verify: 'verify',
  gc: 'collect',
  reindex: 'collect',
  retain: 'retain',
}

export const UNIT_OF: Readonly<Record<JobKind, JobProgress['unit']>> = {
  verify: 'bytes',
  gc: 'packs',
  reindex: 'packs',
  retain: 'machines',
}

/** Does what a job asks for. @returns what the command of that name prints with --json @throws CANCELLED, and as the command */
export async function runJob(
  repository: Repository,
  request: JobRequest,
  onProgress: (done: number, total: number) => void,
  signal: AbortSignal,
): Promise<object> {
  stopIfCancelled(signal)
  const running = { onProgress, signal }
  switch (request.kind) {
    case 'verify':
      return verifyRepository(repository, { sample: request.sample ?? 1, ...running })
    case 'gc': {
      const { dryRun, deadShare } = request
      return collectRounds(repository, request.rounds ?? 1, {
        dryRun: dryRun === true,
        ...(deadShare === undefined ? {} : { deadShareMax: deadShare }),
        ...running,
      })
    }
    case 'reindex':
      return reindex(repository, onProgress, signal)
    case 'retain':
      return retainAsAsked(repository, request, running)
  }
}
