import { type CutJob, type CutResult, type HashJob, type HashResult, runCut } from '../chunker/batch-jobs.js'
import { type CompareJob, type CompareResult, runCompare } from './compare.js'
import type { Crew } from './crew.js'
import {
  type CheckJob,
  type CheckResult,
  type DecodeJob,
  type DecodeResult,
  type EncodeJob,
  type EncodeResult,
  runCheck,
  runDecode,
  runEncode,
  runHash,
} from './jobs.js'
import { type PickJob, runPick } from './pick.js'
import { type ReadWhole, readWhole } from './read-whole.js'
import { runScan, type ScanJob, type ScanResult } from './scan.js'

/** Works on the calling thread, in the order asked: for simulation and small tests. */
export class InlineCrew implements Crew {
  readonly size = 1
  readonly #read: ReadWhole

  /** @param read  how files are read */
  constructor(read: ReadWhole = readWhole) {
    this.#read = read
  }

  expect(): void {}

  cut(job: CutJob): Promise<CutResult> {
    return Promise.resolve().then(() => runCut(job))
  }

  hash(job: HashJob): Promise<HashResult> {
    return Promise.resolve().then(() => runHash(job))
  }

  encode(job: EncodeJob): Promise<EncodeResult> {
    return Promise.resolve().then(() => runEncode(job))
  }

  decode(job: DecodeJob): Promise<DecodeResult> {
    return Promise.resolve().then(() => runDecode(job))
  }

  check(job: CheckJob): Promise<CheckResult> {
    return Promise.resolve().then(() => runCheck(job))
  }

  compare(job: CompareJob): Promise<CompareResult> {
    return Promise.resolve().then(() => runCompare(job, this.#read))
  }

  scan(job: ScanJob): Promise<ScanResult> {
    return Promise.resolve().then(() => runScan(job, this.#read))
  }

  pick(job: PickJob): Promise<number> {
    return Promise.resolve().then(() => runPick(job))
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}
