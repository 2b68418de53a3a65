import { type CutJob, type HashJob, runCut } from '../chunker/batch-jobs.js'
import { type CompareJob, runCompare } from './compare.js'
import {
  type CheckJob,
  type DecodeJob,
  type EncodeJob,
  runCheck,
  runDecode,
  runEncode,
  runHash,
} from './jobs.js'
import { type PickJob, runPick } from './pick.js'
import { runScan, type ScanJob } from './scan.js'

/* What a worker thread answers: the jobs by name. Large buffers are handed back instead of copied. */

/** Memory that threads share needs no handing back. Then what hands back is not even loaded: it takes longer than many a thread's work. */
async function handBack(result: object, buffers: readonly ArrayBufferLike[]): Promise<unknown> {
  const own = buffers.filter((buffer) => buffer instanceof ArrayBuffer)
  if (own.length === 0) return result
  const piscina = await import('piscina')
  return piscina.move({ [piscina.valueSymbol]: result, [piscina.transferableSymbol]: own })
}

export function cut(job: CutJob): Promise<unknown> {
  const result = runCut(job)
  return handBack(result, [result.plain])
}

export function hash(job: HashJob): Promise<unknown> {
  const result = runHash(job)
  return handBack(result, [result.plain])
}

export function encode(job: EncodeJob): Promise<unknown> {
  const result = runEncode(job)
  return handBack(result, [result.plain, result.stored.buffer])
}

export function decode(job: DecodeJob): Promise<unknown> {
  const result = runDecode(job)
  return handBack(result, [result.plain.buffer])
}

export function check(job: CheckJob): Promise<unknown> {
  const result = runCheck(job)
  return handBack(result, [result.stored])
}

export function compare(job: CompareJob): Promise<unknown> {
  const result = runCompare(job)
  return handBack(result, result.plain === undefined ? [] : [result.plain])
}

export function scan(job: ScanJob): Promise<unknown> {
  const result = runScan(job)
  return handBack(result, [result.plain])
}

/** The bytes are in memory that is shared: only which of them are good is told. */
export function pick(job: PickJob): number {
  return runPick(job)
}
