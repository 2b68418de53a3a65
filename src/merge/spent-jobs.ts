import { JOB_STEP_END, jobKey, jobsPrefix, parseJobKey } from '../store/keys.js'
import type { StoreReader } from '../store/store.js'

/** Jobs that have ended and stay in the list, newest first. */
export const JOBS_KEPT = 100

/**
 * Records of the service's jobs that nobody needs: all but the last of a job that has ended, and that one too of all but the
 * newest. In the order in which they have to go: a job without its last record would look like one that was interrupted.
 */
export async function spentJobRecords(store: StoreReader): Promise<string[]> {
  const stepsOf = new Map<number, number[]>()
  for await (const { key } of store.list(jobsPrefix)) {
    const named = parseJobKey(key)
    if (named === undefined) continue
    const steps = stepsOf.get(named.number)
    if (steps === undefined) stepsOf.set(named.number, [named.step])
    else steps.push(named.step)
  }
  const ended = [...stepsOf].filter(([, steps]) => steps.includes(JOB_STEP_END)).sort(([a], [b]) => b - a)
  return ended.flatMap(([number, steps], rank) =>
    steps
      .filter((step) => step !== JOB_STEP_END || rank >= JOBS_KEPT)
      .sort((a, b) => a - b)
      .map((step) => jobKey(number, step)),
  )
}
