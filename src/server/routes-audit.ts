import * as z from 'zod'
import { checkName } from '../names.js'
import { auditEntrySchema } from './audit/audit-entry.js'
import { AUDIT_ENTRIES_MAX, readAudit } from './audit/read-audit.js'
import { noParams, type Route, route, wholeNumber } from './route.js'

const ENTRIES_DEFAULT = 100

export const auditSchema = z
  .strictObject({
    entries: z.array(auditEntrySchema).meta({ description: 'Newest first' }),
    more: z.boolean().meta({ description: 'There are older ones: ask with until, or a larger limit' }),
  })
  .meta({ id: 'Audit' })

const text = z.string().min(1).max(200).optional()
const time = z.iso.datetime({ offset: true }).optional()

const readAuditLog = route({
  name: 'readAudit',
  method: 'get',
  path: '/v1/audit',
  summary: 'Who did what to which machine and point, when, and what came of it',
  params: noParams,
  query: z.strictObject({
    machine: text,
    point: text.meta({ description: 'Its whole id' }),
    token: text.meta({ description: 'Its id or name' }),
    action: text.meta({ description: 'As in the entries' }),
    since: time,
    until: time.meta({ description: 'Before this moment' }),
    limit: wholeNumber(1, AUDIT_ENTRIES_MAX).optional(),
  }),
  answers: { 200: { description: 'Entries, newest first', content: { 'application/json': auditSchema } } },
  handle: async ({ audit }, { query: { machine, since, until, limit = ENTRIES_DEFAULT, ...query } }) => ({
    json: await readAudit(audit.log.folder, {
      ...query,
      machine: machine === undefined ? undefined : checkName('machine', machine),
      sinceMs: since === undefined ? undefined : Date.parse(since),
      untilMs: until === undefined ? undefined : Date.parse(until),
      limit,
    }),
  }),
})

export const auditRoutes: readonly Route[] = [readAuditLog]
