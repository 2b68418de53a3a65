import { ACCESS } from './access.js'
import type { Route } from './route.js'
import { actingRoutes } from './routes-acting.js'
import { auditRoutes } from './routes-audit.js'
import { chunkRoutes } from './routes-chunks.js'
import { diskRoutes } from './routes-disk.js'
import { figureRoutes } from './routes-figures.js'
import { jobRoutes } from './routes-jobs.js'
import { retentionRoutes } from './routes-retention.js'
import { serviceRoutes } from './routes-service.js'
import { sessionRoutes } from './routes-sessions.js'
import { tokenRoutes } from './routes-tokens.js'
import { uploadRoutes } from './routes-uploads.js'

const others = [
  ...figureRoutes,
  ...diskRoutes,
  ...actingRoutes,
  ...jobRoutes,
  ...retentionRoutes,
  ...sessionRoutes,
  ...uploadRoutes,
  ...chunkRoutes,
  ...tokenRoutes,
  ...auditRoutes,
]

/** The whole API. */
export const ROUTES: readonly Route[] = [...serviceRoutes(others), ...others]

const unruled = ROUTES.find((route) => ACCESS[route.name] === undefined)
if (unruled !== undefined) throw new Error(`nobody said who may call ${unruled.name}: see access.ts`)
