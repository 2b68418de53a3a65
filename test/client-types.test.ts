/** The types of everfold/client are those of the service's schemas: the type checker proves it (`npm run check`), nothing runs. */

import { expect, it } from 'vitest'
import type * as z from 'zod'
import type { RetainOutcome } from '../src/cli/operations.js'
import type * as Client from '../src/client/everfold-client.js'
import type * as Answers from '../src/server/answers.js'
import type { jobHeadSchema, jobRequestSchema, jobSchema } from '../src/server/job-schemas.js'
import type { ListedPoints } from '../src/server/listed-points.js'
import type { auditSchema } from '../src/server/routes-audit.js'
import type { requestSchema, savedSchema } from '../src/server/routes-retention.js'
import type { sessionRequest } from '../src/server/routes-sessions.js'
import type {
  committedSchema,
  sessionSchema,
  sessionsSchema,
  streamedSchema,
} from '../src/server/session-answers.js'
import type { createdTokenSchema, tokenRequestSchema, tokenSchema } from '../src/server/token-schemas.js'

type Output<Schema extends z.ZodType> = z.output<Schema>

/** Read-only all the way down; what may be absent is never there as undefined in JSON. */
type Plain<T> = T extends readonly (infer Item)[]
  ? readonly Plain<Item>[]
  : T extends object
    ? { readonly [Key in keyof T]: Plain<Exclude<T[Key], undefined>> }
    : T

/** `true`, or what each has that the other has not: the message of the type checker shows it. */
type Same<A, B> = [Plain<A>] extends [Plain<B>]
  ? [Plain<B>] extends [Plain<A>]
    ? keyof A extends keyof B
      ? keyof B extends keyof A
        ? true
        : { readonly onlyInSecond: Exclude<keyof B, keyof A> }
      : { readonly onlyInFirst: Exclude<keyof A, keyof B> }
    : { readonly secondDoesNotFit: Plain<B> }
  : { readonly firstDoesNotFit: Plain<A> }

/** The client narrows codes of errors; results of jobs are what the commands print. */
type WithoutOpen<T> = Omit<T, 'error' | 'result'>

interface Pairs {
  readonly point: Same<Client.Point, Output<typeof Answers.pointSchema>>
  readonly points: Same<Client.Points, Output<typeof Answers.pointsSchema>>
  readonly machine: Same<Client.MachineOverview, Output<typeof Answers.machinesSchema>['machines'][number]>
  readonly extent: Same<Client.Extent, Output<typeof Answers.extentsSchema>[number]>
  readonly fold: Same<Client.FoldAnswer, Output<typeof Answers.foldSchema>>
  readonly pin: Same<Client.PinAnswer, Output<typeof Answers.pinSchema>>
  readonly storage: Same<Client.StorageReport, Output<typeof Answers.storageReportSchema>>
  readonly storageRow: Same<
    Client.StorageReport['machines'][number],
    Output<typeof Answers.storageReportSchema>['machines'][number]
  >
  readonly protection: Same<Client.ProtectionReport, Output<typeof Answers.protectionReportSchema>>
  readonly protectionRow: Same<
    Client.ProtectionReport['machines'][number],
    Output<typeof Answers.protectionReportSchema>['machines'][number]
  >
  readonly token: Same<Client.Token, Output<typeof tokenSchema>>
  readonly createdToken: Same<Client.CreatedToken, Output<typeof createdTokenSchema>>
  readonly tokenRequest: Same<Client.TokenRequest, z.input<typeof tokenRequestSchema>>
  readonly retention: Same<Client.SavedRetention, Output<typeof savedSchema>>
  readonly retainRequest: Same<Client.RetainRequest, z.input<typeof requestSchema>>
  readonly retained: Same<Client.RetainAnswer, RetainOutcome>
  readonly listed: Same<Client.ListedPoints['points'][number], ListedPoints['points'][number]>
  readonly job: Same<WithoutOpen<Client.Job>, WithoutOpen<Output<typeof jobSchema>>>
  readonly jobHead: Same<WithoutOpen<Client.Job>, WithoutOpen<Output<typeof jobHeadSchema>>>
  readonly jobRequest: Same<Client.JobRequest, z.input<typeof jobRequestSchema>>
  readonly newSession: Same<Client.NewSession, z.input<typeof sessionRequest>>
  readonly session: Same<Client.SessionState, Output<typeof sessionSchema>>
  readonly openSession: Same<Client.OpenSession, Output<typeof sessionsSchema>['sessions'][number]>
  readonly streamed: Same<Client.StreamedBytes, Output<typeof streamedSchema>>
  readonly backedUp: Same<Client.BackedUp, Output<typeof committedSchema>>
  readonly audit: Same<Client.AuditAnswer, Output<typeof auditSchema>>
}

/** Does not compile unless all of them are the same. */
const same: { readonly [Name in keyof Pairs]: Pairs[Name] extends true ? 'same' : Pairs[Name] } = {
  point: 'same',
  points: 'same',
  machine: 'same',
  extent: 'same',
  fold: 'same',
  pin: 'same',
  storage: 'same',
  storageRow: 'same',
  protection: 'same',
  protectionRow: 'same',
  token: 'same',
  createdToken: 'same',
  tokenRequest: 'same',
  retention: 'same',
  retainRequest: 'same',
  retained: 'same',
  listed: 'same',
  job: 'same',
  jobHead: 'same',
  jobRequest: 'same',
  newSession: 'same',
  session: 'same',
  openSession: 'same',
  streamed: 'same',
  backedUp: 'same',
  audit: 'same',
}

it('the types of the client are those of the service', () => {
  expect(new Set(Object.values(same))).toEqual(new Set(['same']))
})
