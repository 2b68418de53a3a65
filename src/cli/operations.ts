import type { BackupRequest, BackupResult } from '../chain/backup.js'
import type { RetentionPolicy } from '../chain/chain-state.js'
import type { PointSummary } from '../chain/point-summary.js'
import type { ErrorCode, ErrorDetails } from '../errors.js'
import type { RebuildResult } from '../index/rebuild.js'
import type { FoldResult } from '../merge/fold.js'
import type { GcResult } from '../merge/gc.js'
import type { PinRequest, PinResult } from '../merge/pins.js'
import type { AfterBackup, RetainResult } from '../merge/retain.js'
import type { Statistics } from '../merge/statistics.js'
import type { DiskTarget } from '../restore/restore.js'
import type { VerifyResult } from '../restore/verify.js'
import type { CreatedToken, TokenInfo, TokenRequest } from '../server/token-book.js'
import type { RecallRequest } from '../store/archive.js'

/** Called as work is done, of how much in all. */
export type OnProgress = (done: number, total: number) => void

/** What went wrong, as it stands inside a result. */
export interface Trouble {
  readonly code: ErrorCode
  readonly message: string
  readonly details?: ErrorDetails
}

/** A point, what deleting it alone would free, and how much of it is known to be damaged. Bytes. */
export interface ListedPoint extends PointSummary {
  readonly freedBytes: number | null
  readonly damagedBytes: number
}

export interface ListedPoints {
  readonly points: readonly ListedPoint[]
  /** What is wrong with them, or with those that are not listed. */
  readonly problems: readonly Trouble[]
}

/** How disks are sent to a service: only chunks that it lacks, or all bytes. */
export type Transfer = 'offers' | 'stream'

export interface BackupWork extends BackupRequest {
  readonly transfer: Transfer
  /** For a service: how long to go on without progress. Milliseconds. */
  readonly patienceMs?: number
}

/** Absent retention: no policy is saved. */
export type BackupOutcome = BackupResult & { readonly retention?: AfterBackup }

export interface RetainWork {
  /** One machine; without it all of them. */
  readonly machine: string | undefined
  readonly policy: RetentionPolicy | undefined
  readonly save: boolean
  readonly dryRun: boolean
}

export interface RetainOutcome {
  readonly saved: boolean
  readonly machines: readonly RetainResult[]
  readonly withoutPolicy: readonly string[]
  readonly failed: readonly { readonly machine: string; readonly error: Trouble }[]
}

/** A disk that is wanted of a point. */
export interface WantedDisk {
  readonly id: string
  /** Only what may differ from this point. */
  readonly since?: string
}

/** A disk of an opened point. */
export interface OpenedDisk {
  readonly id: string
  readonly sizeBytes: number
  /** The point that it is compared with, and the disk's size there. */
  readonly since?: { readonly point: string; readonly sizeBytes: number }
  /** Bytes that {@link write} is going to be done with: the disk's size, or that of what differs. */
  readonly totalBytes: number
  /**
   * Writes the disk, or what differs, as it was; zeros are told, not written. Every byte was checked against its hash.
   * @throws DATA_DAMAGED, what the target throws
   */
  write(target: DiskTarget, onProgress: (doneBytes: number) => void): Promise<void>
}

export interface OpenedPoint {
  readonly machine: string
  readonly point: string
  readonly createdAt: string
  readonly disks: readonly OpenedDisk[]
  /**
   * Asks for what is archived and has to be read; absent for a service.
   * @throws OBJECT_ARCHIVED if there is any, PERMISSION_MISSING, STORE_FAILED
   */
  readonly recall?: (request: RecallRequest) => Promise<void>
  close(): void
}

/** Everything that commands do, on a repository of this computer or through a service. Errors are the same in both. */
export interface Operations {
  backUp(work: BackupWork): Promise<BackupOutcome>
  listPoints(machine: string | undefined, fast: boolean): Promise<ListedPoints>
  /** @param patienceMs  for a service: how long to go on without progress */
  openPoint(
    machine: string,
    point: string,
    disks: readonly WantedDisk[],
    patienceMs?: number,
  ): Promise<OpenedPoint>
  verify(sample: number, onProgress: OnProgress): Promise<VerifyResult>
  /** @returns what all rounds did in all, and how things are after the last */
  collectGarbage(options: GcWork, onProgress: OnProgress): Promise<GcResult>
  reindex(onProgress: OnProgress): Promise<RebuildResult>
  statistics(): Promise<Statistics>
  retain(work: RetainWork): Promise<RetainOutcome>
  forgetPolicy(machine: string | undefined): Promise<void>
  pin(machine: string, point: string, request: PinRequest): Promise<PinResult>
  unpin(machine: string, point: string): Promise<PinResult>
  fold(machine: string, keep: number): Promise<FoldResult>
  deletePoint(machine: string, point: string): Promise<FoldResult>
  /** How many points would go with a machine. */
  countPoints(machine: string): Promise<{ readonly points: number; readonly pinned: number }>
  deleteMachine(machine: string): Promise<{ readonly machine: string; readonly removed: readonly string[] }>
  createToken(request: TokenRequest): Promise<CreatedToken>
  listTokens(): Promise<readonly TokenInfo[]>
  revokeToken(id: string): Promise<TokenInfo>
}

export interface GcWork {
  readonly dryRun: boolean
  readonly deadShareMax?: number
  readonly rounds: number
}
