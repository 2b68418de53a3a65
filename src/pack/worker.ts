import { move, transferableSymbol, valueSymbol } from 'piscina'
import { type CutJob, type HashJob, runCut } from '../chunker/batch-jobs.js'
import {
  type CheckJob,
  type DecodeJob,
  type EncodeJob,
  runCheck,
  runDecode,
  runEncode,
  runHash,
} from './jobs.js'

/* What a worker thread answers: the jobs by name. Large buffers are handed back instead of copied. */

function handBack(result: object, buffers: readonly ArrayBufferLike[]): unknown {
  const own = buffers.filter((buffer) => buffer instanceof ArrayBuffer)
  return move({ [valueSymbol]: result, [transferableSymbol]: own })
}

export function cut(job: CutJob): unknown {
  const result = runCut(job)
  return handBack(result, [result.plain])
}

export function hash(job: HashJob): unknown {
  const result = runHash(job)
  return handBack(result, [result.plain])
}

export function encode(job: EncodeJob): unknown {
  const result = runEncode(job)
  return handBack(result, [result.plain, result.stored.buffer])
}

export function decode(job: DecodeJob): unknown {
  const result = runDecode(job)
  return handBack(result, [result.plain])
}

export function check(job: CheckJob): unknown {
  const result = runCheck(job)
  return handBack(result, [result.stored])
}
