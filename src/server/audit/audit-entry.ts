import * as z from 'zod'

/** One line of the audit log: who did what to what, when, from where, and what came of it. */
export const auditEntrySchema = z
  .looseObject({
    time: z.iso.datetime(),
    action: z
      .string()
      .meta({ description: 'The operationId of the route; or start, stop, login, jobEnded, retention' }),
    request: z.string().optional().meta({ description: "The request's number in the service's log" }),
    token: z.string().optional().meta({ description: 'Id of the token' }),
    tokenName: z.string().optional(),
    role: z.string().optional(),
    from: z.string().optional().meta({ description: 'Address of the client' }),
    machine: z.string().optional(),
    point: z.string().optional(),
    disk: z.string().optional(),
    status: z.int().optional().meta({ description: 'Of the answer' }),
    code: z.string().optional().meta({ description: 'Of the problem, where it failed' }),
  })
  .meta({ id: 'AuditEntry', description: 'And what else there is to say of the action' })

export type AuditEntry = z.output<typeof auditEntrySchema>

/** Which entries are wanted. */
export interface AuditQuery {
  readonly machine?: string | undefined
  readonly point?: string | undefined
  /** Its id or name. */
  readonly token?: string | undefined
  readonly action?: string | undefined
  /** Milliseconds since 1970, UTC: from the first on, and before the second. */
  readonly sinceMs?: number | undefined
  readonly untilMs?: number | undefined
  /** So many at most: the newest. */
  readonly limit: number
}

export interface AuditPage {
  /** Newest first. */
  readonly entries: readonly AuditEntry[]
  /** There are older ones, beyond the limit. */
  readonly more: boolean
}
