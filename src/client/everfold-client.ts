import type {
  AuditAnswer,
  AuditRequest,
  BackedUp,
  CreatedToken,
  FoldAnswer,
  ListedPoints,
  MachineOverview,
  PinAnswer,
  Point,
  Points,
  ProtectionReport,
  RetainAnswer,
  RetainRequest,
  RetentionPolicy,
  SavedRetention,
  StorageReport,
  Token,
  TokenRequest,
} from './answers.js'
import { type BackupOptions, backUp } from './back-up.js'
import { Http, type HttpOptions, type HttpRequest } from './http.js'
import { Jobs } from './jobs.js'
import { RemoteDisk } from './remote-disk.js'
import { Sessions } from './sessions.js'

export type { ByteRange } from '../byte-range.js'
export { type ErrorCode, EverfoldError, isEverfoldError } from '../errors.js'
export type * from './answers.js'
export type { BackupDisk, BackupOptions } from './back-up.js'
export { blobSource, type UploadSource } from './cut-batch.js'
export type { Transfer } from './disk-upload.js'
export type { HttpOptions as ClientOptions, PiecesRequest } from './http.js'
export { fastSha256, type Hasher, InlineWorkers } from './inline-workers.js'
export type { FollowOptions, JobEvent, Jobs } from './jobs.js'
export type { RetryNotice } from './patience.js'
export type { ReadOptions, RemoteDisk } from './remote-disk.js'
export type { Sessions, UploadSession } from './sessions.js'
export type * from './workers.js'

/**
 * An Everfold service, as docs/api.md describes it. Runs in Node.js and in browsers.
 *
 * Everything throws EverfoldError with the code that the service gave, or SERVICE_FAILED where it could not be reached for too
 * long. Requests that may be repeated are tried again after broken connections, 429 and passing failures (5xx); one that changes
 * something is not when nobody knows whether it was done.
 */
export class EverfoldClient {
  readonly #http: Http
  /** Long work: verify, gc, reindex, retain. */
  readonly jobs: Jobs
  /** Uploads, step by step; {@link backUp} does all of it. */
  readonly sessions: Sessions

  /** @throws ARGUMENT_INVALID if the address is none */
  constructor(options: HttpOptions) {
    this.#http = new Http(options)
    this.jobs = new Jobs(this.#http)
    this.sessions = new Sessions(this.#http)
  }

  get url(): string {
    return this.#http.url
  }

  /** Those that the token is for. */
  async machines(): Promise<readonly MachineOverview[]> {
    const { machines } = await this.#ask<{ machines: readonly MachineOverview[] }>({ path: '/v1/machines' })
    return machines
  }

  async points(machine: string): Promise<Points> {
    return this.#ask({ path: `${machinePath(machine)}/points` })
  }

  /** The points of one machine or of all, as `everfold points --json` lists them. @param fast  without what deleting each would free */
  async listPoints(
    options: { readonly machine?: string; readonly fast?: boolean } = {},
  ): Promise<ListedPoints> {
    const { machine, fast } = options
    return this.#ask({ path: '/v1/points', query: { machine, fast: fast === true ? 'true' : undefined } })
  }

  /** @param point  as everywhere: an id or a unique beginning of one, `latest`, `parent`, or an ISO 8601 time */
  async point(machine: string, point: string): Promise<Point> {
    return this.#ask({ path: pointPath(machine, point) })
  }

  /** A disk at a point, to read from. */
  async disk(machine: string, point: string, disk: string): Promise<RemoteDisk> {
    return RemoteDisk.open(this.#http, machine, point, disk)
  }

  /** Takes one recovery point of a machine: all of its disks, or nothing. @returns once it is durable */
  async backUp(options: BackupOptions): Promise<BackedUp> {
    return backUp(this.#http, options)
  }

  async pin(
    machine: string,
    point: string,
    pin: { readonly reason: string; readonly until?: string },
  ): Promise<PinAnswer> {
    return this.#ask({
      method: 'POST',
      path: `${pointPath(machine, point)}/pin`,
      json: pin,
      repeatable: isId(point),
    })
  }

  async unpin(machine: string, point: string): Promise<PinAnswer> {
    return this.#ask({ method: 'DELETE', path: `${pointPath(machine, point)}/pin`, repeatable: isId(point) })
  }

  /** Folds the oldest points into the next ones until `keep` are left. */
  async fold(machine: string, keep: number): Promise<FoldAnswer> {
    return this.#ask({ method: 'POST', path: `${machinePath(machine)}/fold`, json: { keep } })
  }

  async deletePoint(machine: string, point: string): Promise<FoldAnswer> {
    return this.#ask({ method: 'DELETE', path: pointPath(machine, point) })
  }

  /** Removes a machine with all of its points. */
  async deleteMachine(
    machine: string,
  ): Promise<{ readonly machine: string; readonly removed: readonly string[] }> {
    return this.#ask({ method: 'DELETE', path: machinePath(machine), query: { confirm: machine } })
  }

  /** The policy that is saved for a machine, or as the default of machines without one. */
  async retention(machine?: string): Promise<SavedRetention> {
    return this.#ask({ path: `${machineOrAll(machine)}/retention` })
  }

  /** From now on it is applied after each backup; nothing is removed now. */
  async saveRetention(machine: string | undefined, policy: RetentionPolicy): Promise<SavedRetention> {
    return this.#ask({
      method: 'PUT',
      path: `${machineOrAll(machine)}/retention`,
      json: policy,
      repeatable: true,
    })
  }

  async forgetRetention(
    machine?: string,
  ): Promise<{ readonly machine: string | null; readonly policy: null }> {
    return this.#ask({ method: 'DELETE', path: `${machineOrAll(machine)}/retention`, repeatable: true })
  }

  /** Removes the points that a policy does not keep: the given one, or what is saved. */
  async retain(machine: string | undefined, request: RetainRequest = {}): Promise<RetainAnswer> {
    return this.#ask({ method: 'POST', path: `${machineOrAll(machine)}/retain`, json: request })
  }

  /** What is kept and what it takes, as `everfold stats --json` has it. */
  async stats(): Promise<unknown> {
    return this.#ask({ path: '/v1/stats' })
  }

  async storageReport(): Promise<StorageReport> {
    return this.#ask({ path: '/v1/reports/storage' })
  }

  async protectionReport(): Promise<ProtectionReport> {
    return this.#ask({ path: '/v1/reports/protection' })
  }

  /** Who did what, newest first: for tokens of admins. */
  async audit(request: AuditRequest = {}): Promise<AuditAnswer> {
    return this.#ask({ path: '/v1/audit', query: { ...request } })
  }

  async tokens(): Promise<readonly Token[]> {
    const { tokens } = await this.#ask<{ tokens: readonly Token[] }>({ path: '/v1/tokens' })
    return tokens
  }

  async createToken(request: TokenRequest): Promise<CreatedToken> {
    return this.#ask({ method: 'POST', path: '/v1/tokens', json: request })
  }

  async revokeToken(id: string): Promise<Token> {
    return this.#ask({ method: 'DELETE', path: `/v1/tokens/${encodeURIComponent(id)}` })
  }

  /** The service is trusted to answer as it documents: the tests hold its answers against these types. */
  async #ask<T>(request: HttpRequest): Promise<T> {
    return (await this.#http.json(request)) as T
  }
}

function machinePath(machine: string): string {
  return `/v1/machines/${encodeURIComponent(machine)}`
}

function machineOrAll(machine: string | undefined): string {
  return machine === undefined ? '/v1' : machinePath(machine)
}

function pointPath(machine: string, point: string): string {
  return `${machinePath(machine)}/points/${encodeURIComponent(point)}`
}

/** A whole id means the same point whenever it is asked for; other names may mean another one by then. */
function isId(point: string): boolean {
  return /^[a-z][0-9a-z]{7}$/.test(point) && point !== 'latest'
}
