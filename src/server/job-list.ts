import * as z from 'zod'
import { isEverfoldError } from '../errors.js'
import { inOrder } from '../in-order.js'
import { JOBS_KEPT } from '../merge/spent-jobs.js'
import { openSealedJson, sealJson } from '../sealed-json.js'
import { JOB_STEP_END, jobKey, jobsPrefix, parseJobKey } from '../store/keys.js'
import { readAgainIfDamaged } from '../store/read-again.js'
import type { StoreReader, StoreWriter } from '../store/store.js'
import { type JobWithResult, jobSchema } from './job-schemas.js'

/*
 * jobs/<number>/<step>, format 1: sealed JSON. One job as it was at that step, and the highest step holds: 0 when it was taken,
 * 999 when it had ended, with its result. Losing all of them loses nothing but the list.
 */

const jobRecord = z.strictObject({
  everfold: z.literal('job'),
  format: z.literal(1),
  number: z.number().int().min(0),
  step: z.number().int().min(0).max(JOB_STEP_END),
  job: jobSchema,
})

export interface FoundJob {
  readonly number: number
  readonly step: number
  readonly job: JobWithResult
}

const READS_AT_ONCE = 8

/** Jobs that have not ended, and the newest that have; oldest first. What cannot be read is left out. @throws STORE_FAILED */
export async function readJobs(
  store: StoreReader,
): Promise<{ readonly jobs: FoundJob[]; readonly next: number }> {
  const steps = new Map<number, number>()
  for await (const { key } of store.list(jobsPrefix)) {
    const named = parseJobKey(key)
    if (named !== undefined) steps.set(named.number, Math.max(named.step, steps.get(named.number) ?? 0))
  }
  const numbers = [...steps].sort(([a], [b]) => b - a)
  const ended = numbers.filter(([, step]) => step === JOB_STEP_END).slice(0, JOBS_KEPT)
  const wanted = [...numbers.filter(([, step]) => step !== JOB_STEP_END), ...ended].sort(([a], [b]) => a - b)
  const jobs: FoundJob[] = []
  for await (const found of inOrder(wanted, READS_AT_ONCE, ([number, step]) => readJob(store, number, step)))
    if (found !== undefined) jobs.push(found)
  return { jobs, next: (numbers[0]?.[0] ?? -1) + 1 }
}

/** One record; undefined if it is not there or damaged. @throws STORE_FAILED */
export async function readJob(
  store: StoreReader,
  number: number,
  step: number,
): Promise<FoundJob | undefined> {
  try {
    const job = await readAgainIfDamaged(
      async () => decode(await store.readAll(jobKey(number, step)), number, step),
      (found) => found !== undefined,
    )
    return job === undefined ? undefined : { number, step, job }
  } catch (error) {
    if (isEverfoldError(error, 'OBJECT_NOT_FOUND')) return undefined
    throw error
  }
}

/** Records a job, durably. @returns 'exists' if that step is there already @throws STORE_FULL, STORE_FAILED */
export async function writeJob(
  store: StoreWriter,
  number: number,
  step: number,
  job: JobWithResult,
): Promise<'created' | 'exists'> {
  const encoded = sealJson({ everfold: 'job', format: 1, number, step, job })
  if (decode(encoded, number, step) === undefined) throw new Error('a record of a job did not decode')
  return store.put(jobKey(number, step), [encoded])
}

function decode(bytes: Uint8Array, number: number, step: number): JobWithResult | undefined {
  const parsed = jobRecord.safeParse(openSealedJson(bytes))
  return parsed.success && parsed.data.number === number && parsed.data.step === step
    ? parsed.data.job
    : undefined
}
