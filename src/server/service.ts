import type { Logger } from 'pino'
import type { Repository } from '../chain/repository.js'
import type { Sessions } from '../chain/session/sessions.js'
import type { AfterCommit } from './after-commit.js'
import type { Auditor } from './audit/auditor.js'
import type { ServiceConfig } from './config/service-config.js'
import type { DiskReaders } from './disk-readers.js'
import type { JobQueue } from './job-queue.js'
import type { Limits } from './limits/limits.js'
import type { Quotas } from './limits/quotas.js'
import type { Metrics } from './metrics.js'
import type { TokenBook } from './token-book.js'

/** What the routes work with. */
export interface Service {
  readonly config: ServiceConfig
  readonly repository: Repository
  readonly tokens: TokenBook
  readonly readers: DiskReaders
  readonly metrics: Metrics
  readonly jobs: JobQueue
  readonly limits: Limits
  readonly quotas: Quotas
  readonly audit: Auditor
  readonly sessions: Sessions
  readonly afterCommit: AfterCommit
  readonly log: Logger
  /** For a line with each request: see log.ts. */
  readonly requestLog: Logger
  /** The service is on its way out: no new work. */
  readonly isStopping: () => boolean
}
