import { move, transferableSymbol, valueSymbol } from 'piscina'
import {
  type CheckJob,
  type CutJob,
  type DecodeJob,
  type EncodeJob,
  type HashJob,
  runCheck,
  runCut,
  runDecode,
  runEncode,
  runHash,
} from './jobs.js'

/* What a worker thread answers: the jobs by name. Large buffers are handed back instead of copied. */

function handBack(result: object, buffers: readonly ArrayBuffer[]): unknown {
  return move({ [valueSymbol]: result, [transferableSymbol]: buffers })
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
  return handBack(result, [result.plain, result.stored])
}

export function decode(job: DecodeJob): unknown {
  const result = runDecode(job)
  return handBack(result, [result.plain])
}

export function check(job: CheckJob): unknown {
  const result = runCheck(job)
  return handBack(result, [result.stored])
}
