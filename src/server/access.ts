import { EverfoldError } from '../errors.js'
import { coversAll, coversMachine, type Role } from './roles.js'
import type { TokenInfo } from './token-book.js'

/** Who may call a route. */
export type Access =
  | 'anyone'
  /** Whoever has a token that holds. */
  | 'any token'
  | {
      readonly roles: readonly Role[]
      /**
       * `its own`: the machine in the address has to be one of the token's; where there is none in it, the answer is about the
       * token's machines alone. `all`: it is about the whole repository, so the token has to be for all machines.
       */
      readonly machines: 'its own' | 'all'
    }

const FIGURES = { roles: ['restore', 'report', 'operator', 'admin'], machines: 'its own' } satisfies Access
const REPORT = { roles: ['report', 'operator', 'admin'], machines: 'its own' } satisfies Access
const DATA: Access = { roles: ['restore', 'admin'], machines: 'its own' }
const CHANGE = { roles: ['operator', 'admin'], machines: 'its own' } satisfies Access
/** A session belongs to the token that made it: the routes see to that. */
const UPLOAD = { roles: ['backup', 'admin'], machines: 'its own' } satisfies Access
const ADMIN: Access = { roles: ['admin'], machines: 'all' }

/** By name of the route; the service does not start while one of its routes has no line here. */
export const ACCESS: Readonly<Record<string, Access>> = {
  health: 'anyone',
  ready: 'any token',
  openapi: 'any token',
  metrics: { roles: ['report', 'operator', 'admin'], machines: 'all' },
  listMachines: FIGURES,
  listPoints: FIGURES,
  getPoint: FIGURES,
  readDisk: DATA,
  listExtents: DATA,
  storageReport: REPORT,
  protectionReport: REPORT,
  pinPoint: CHANGE,
  unpinPoint: CHANGE,
  deletePoint: CHANGE,
  foldMachine: CHANGE,
  deleteMachine: { roles: ['admin'], machines: 'its own' },
  getRetention: REPORT,
  getRetentionDefault: { ...REPORT, machines: 'all' },
  setRetention: CHANGE,
  setRetentionDefault: { ...CHANGE, machines: 'all' },
  forgetRetention: CHANGE,
  forgetRetentionDefault: { ...CHANGE, machines: 'all' },
  retain: CHANGE,
  retainDefault: { ...CHANGE, machines: 'all' },
  stats: { ...REPORT, machines: 'all' },
  allPoints: FIGURES,
  createSession: UPLOAD,
  listSessions: { roles: ['backup', 'operator', 'admin'], machines: 'its own' },
  getSession: UPLOAD,
  getReceived: UPLOAD,
  dropSession: UPLOAD,
  commitSession: UPLOAD,
  putData: UPLOAD,
  putImage: UPLOAD,
  putStream: UPLOAD,
  offerChunks: UPLOAD,
  startJob: CHANGE,
  listJobs: CHANGE,
  getJob: CHANGE,
  followJob: CHANGE,
  cancelJob: CHANGE,
  listTokens: ADMIN,
  createToken: ADMIN,
  readAudit: ADMIN,
  revokeToken: ADMIN,
}

/**
 * For routes that name a machine elsewhere than in their address.
 * @param machine  undefined: it is about all of them
 * @throws FORBIDDEN, the same whether or not there is such a machine: who may not see it does not learn
 */
export function requireMachine(token: TokenInfo | undefined, machine: string | undefined): void {
  const patterns = token?.machines ?? []
  if (machine === undefined && !coversAll(patterns))
    throw new EverfoldError('FORBIDDEN', 'This takes a token for all machines.')
  if (machine !== undefined && !coversMachine(patterns, machine))
    throw new EverfoldError('FORBIDDEN', `This token is not for the machine "${machine}".`)
}
