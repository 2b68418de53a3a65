import type { ErrorCode, ErrorDetails } from '../errors.js'

/* What the service answers, for programs that use it. Sizes in bytes. */

export interface Pin {
  readonly reason: string
  readonly until?: string
}

export interface PointDisk {
  readonly id: string
  readonly sizeBytes: number
}

export interface Point {
  readonly machine: string
  readonly point: string
  readonly kind: 'full' | 'incremental'
  readonly createdAt: string
  readonly note?: string
  /** What the source did before its disks were read; absent: nothing. */
  readonly consistency?: 'filesystem' | 'application'
  readonly pin?: Pin
  readonly disks: readonly PointDisk[]
  readonly sizeBytes: number
  readonly readBytes: number
  readonly changedBytes: number
  readonly newBytes: number
  readonly storedBytes: number
  readonly seconds: number
}

export interface Points {
  readonly machine: string
  /** Oldest first. */
  readonly points: readonly Point[]
  /** There may have been newer ones. */
  readonly newestStateDamaged: boolean
}

export interface MachineOverview {
  readonly machine: string
  readonly points: number
  readonly newest: { readonly point: string; readonly createdAt: string } | null
  /** Of its disks at the newest point. */
  readonly sizeBytes: number
  readonly damage: 'none' | 'newest state' | 'whole chain'
}

export interface Extent {
  readonly offset: number
  readonly length: number
  /** Absent in a list of changes. */
  readonly zero?: boolean
}

export interface FoldAnswer {
  readonly machine: string
  readonly removed: readonly string[]
  readonly kept: readonly string[]
  readonly readBytes: number
  readonly writtenBytes: number
  readonly seconds: number
}

export interface PinAnswer {
  readonly machine: string
  readonly point: string
  readonly pin: Pin | null
  readonly before: Pin | null
}

export interface StorageReport {
  /** Null for a token that is not for all machines. */
  readonly repository: {
    readonly logicalBytes: number
    readonly uniqueBytes: number
    readonly liveBytes: number
    readonly deadBytes: number
    readonly storedBytes: number
    readonly packs: number
  } | null
  readonly machines: readonly {
    readonly machine: string
    readonly points: number
    readonly logicalBytes: number
    readonly ownBytes: number
    readonly sharedBytes: number
  }[]
}

export interface ProtectionReport {
  readonly generatedAt: string
  readonly machines: readonly {
    readonly machine: string
    readonly points: number
    readonly oldestAt: string | null
    readonly newest: string | null
    readonly newestAt: string | null
    readonly ageSeconds: number | null
    readonly expectedIntervalSeconds: number | null
    readonly expectedFrom: 'configuration' | 'median' | null
    readonly missedIntervals: number | null
    readonly state: 'on time' | 'late' | 'never' | 'unknown'
    readonly sizeBytes: number
    readonly changedBytes7Days: number
    readonly storedBytes7Days: number
    readonly storedBytesPerDay: number | null
    readonly deduplicationRatio: number | null
    readonly compressionRatio: number | null
    readonly damage: 'none' | 'newest state' | 'whole chain'
  }[]
}

export type TokenRole = 'backup' | 'restore' | 'report' | 'operator' | 'admin'

export interface Token {
  readonly id: string
  readonly name: string
  readonly role: TokenRole
  readonly machines: readonly string[]
  readonly createdAt: string
  readonly expiresAt?: string
}

export interface CreatedToken extends Token {
  /** Shown this once. */
  readonly token: string
}

export interface TokenRequest {
  readonly name: string
  readonly role: TokenRole
  /** Names or patterns; absent: all machines. */
  readonly machines?: readonly string[]
  readonly expiresAt?: string
}

/** As `everfold points --json` lists it. */
export interface ListedPoint extends Point {
  /** What deleting it alone would free; null where that was not asked for or is not known. */
  readonly freedBytes: number | null
  readonly damagedBytes: number
}

export interface Problem {
  readonly code: ErrorCode
  readonly message: string
  readonly details?: ErrorDetails
}

export interface ListedPoints {
  readonly points: readonly ListedPoint[]
  /** What is wrong with points that are listed, or that could not be. */
  readonly problems: readonly Problem[]
}

export interface RetentionPolicy {
  readonly last?: number | undefined
  readonly hourly?: number | undefined
  readonly daily?: number | undefined
  readonly weekly?: number | undefined
  readonly monthly?: number | undefined
  readonly yearly?: number | undefined
  readonly minAgeSeconds?: number | undefined
  readonly timeZone?: string | undefined
}

export interface SavedRetention {
  readonly machine: string | null
  readonly policy: RetentionPolicy | null
  readonly source: 'machine' | 'repository' | null
}

export interface RetainRequest {
  readonly policy?: RetentionPolicy
  readonly save?: boolean
  readonly dryRun?: boolean
}

export interface RetainAnswer {
  readonly saved: boolean
  readonly machines: readonly {
    readonly machine: string
    readonly policy: RetentionPolicy
    readonly source: 'given' | 'machine' | 'repository'
    readonly dryRun: boolean
    readonly points: readonly {
      readonly point: string
      readonly createdAt: string
      readonly keep: boolean
      readonly reasons: readonly string[]
    }[]
    readonly removed: readonly string[]
    readonly freedBytes: number | null
  }[]
  readonly withoutPolicy: readonly string[]
  readonly failed: readonly { readonly machine: string; readonly error: Problem }[]
}

export type JobRequest =
  | { readonly kind: 'verify'; readonly sample?: number }
  | { readonly kind: 'gc'; readonly dryRun?: boolean; readonly deadShare?: number; readonly rounds?: number }
  | { readonly kind: 'reindex' }
  | ({ readonly kind: 'retain'; readonly machine?: string } & RetainRequest)

export interface JobProgress {
  readonly done: number
  readonly total: number
  readonly unit: 'bytes' | 'packs' | 'machines'
}

/** A line of the audit log. */
export interface AuditEntry {
  readonly time: string
  readonly action: string
  readonly request?: string | undefined
  readonly token?: string | undefined
  readonly tokenName?: string | undefined
  readonly role?: string | undefined
  readonly from?: string | undefined
  readonly machine?: string | undefined
  readonly point?: string | undefined
  readonly disk?: string | undefined
  readonly status?: number | undefined
  readonly code?: string | undefined
  readonly [fact: string]: unknown
}

export interface AuditAnswer {
  /** Newest first. */
  readonly entries: readonly AuditEntry[]
  /** There are older ones. */
  readonly more: boolean
}

/** Which entries of the audit log are wanted; times in ISO 8601. */
export interface AuditRequest {
  readonly machine?: string | undefined
  readonly point?: string | undefined
  /** Its id or name. */
  readonly token?: string | undefined
  readonly action?: string | undefined
  readonly since?: string | undefined
  /** Before this moment. */
  readonly until?: string | undefined
  readonly limit?: number | undefined
}

export interface Job {
  readonly id: string
  readonly kind: JobRequest['kind']
  readonly parameters: Readonly<Record<string, unknown>>
  readonly state: 'queued' | 'running' | 'done' | 'failed' | 'cancelled'
  readonly createdAt: string
  readonly startedAt?: string
  readonly endedAt?: string
  /** More than 1 where a restart of the service interrupted it. */
  readonly attempt: number
  readonly by: string
  readonly token?: string
  readonly progress: JobProgress | null
  /** What the command prints with --json; in state `done`. */
  readonly result?: unknown
  readonly error?: Problem
}

export interface NewSession {
  readonly disks: readonly {
    readonly id: string
    readonly sizeBytes: number
    /** Is all of it going to be sent, or what changed since the parent? */
    readonly content?: 'whole' | 'changes'
    readonly chunker?: 'cdc' | 'fixed'
  }[]
  /** What changes are relative to: `newest`, or the id of the newest point. */
  readonly parent?: string
  readonly note?: string
  readonly consistency?: 'crash' | 'filesystem' | 'application'
}

/** Once it is committed, there is `point`, and only what says what it was. */
export interface SessionState {
  readonly session: string
  readonly machine: string
  readonly state: 'open' | 'committed'
  readonly parent?: string | null
  readonly note?: string
  readonly consistency?: 'crash' | 'filesystem' | 'application'
  readonly createdAt?: string
  readonly expiresAt?: string
  /** No chunk is longer. */
  readonly chunkSize: number
  /** How the repository compresses: plain bytes of a frame, and zstd's level. */
  readonly frameSize: number
  readonly level: number
  readonly disks: readonly {
    readonly id: string
    readonly sizeBytes: number
    readonly content?: 'whole' | 'changes'
    readonly chunker?: 'cdc' | 'fixed'
    readonly receivedBytes?: number
    /** What has to come and has not: at most 1000 ranges. */
    readonly missing?: readonly { readonly offset: number; readonly length: number }[]
    readonly missingTruncated?: true
  }[]
  readonly point?: BackedUp
}

/** A session in the list of those that are open. */
export interface OpenSession {
  readonly session: string
  readonly machine: string
  readonly createdAt: string
  readonly note?: string
  /** Id of the token that made it. */
  readonly token: string
  readonly disks: readonly PointDisk[]
}

export interface StreamedBytes {
  /** Of the disk. */
  readonly receivedBytes: number
  /** Of chunks that were new, before and after compression. */
  readonly newBytes: number
  readonly storedBytes: number
}

/** A point that was made, as `everfold backup --json` prints it. */
export interface BackedUp {
  readonly machine: string
  readonly point: string
  readonly kind: 'full' | 'incremental'
  readonly createdAt: string
  readonly disks: readonly PointDisk[]
  readonly readBytes: number
  readonly changedBytes: number
  readonly newBytes: number
  readonly storedBytes: number
  readonly seconds: number
  /** Damaged chunks that are whole again since; absent if it was not waited for, or there were none. */
  readonly healedChunks?: number
  /** What the machine's saved policy did then; absent if it was not waited for, or none is saved. */
  readonly retention?:
    | { readonly removed: readonly string[] }
    | { readonly error: { readonly code: ErrorCode; readonly message: string } }
}
