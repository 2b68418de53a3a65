import * as z from 'zod'
import { retentionPolicySchema } from '../chain/chain-state.js'
import { ROUNDS_MAX } from '../merge/gc-rounds.js'
import { checkName } from '../names.js'

const machineName = z.string().transform((text) => checkName('machine', text))

export const policySchema = retentionPolicySchema.meta({ id: 'RetentionPolicy' })

/** What a job is to do: its kind, and the options of the command of that name. */
export const jobRequestSchema = z
  .discriminatedUnion('kind', [
    z.strictObject({
      kind: z.literal('verify'),
      sample: z
        .number()
        .gt(0)
        .max(1)
        .optional()
        .meta({ description: 'Read only this share of the data; default 1' }),
    }),
    z.strictObject({
      kind: z.literal('gc'),
      dryRun: z.boolean().optional(),
      deadShare: z
        .number()
        .min(0)
        .max(1)
        .optional()
        .meta({ description: 'Rewrite packs of which more than this is dead' }),
      rounds: z.int().min(1).max(ROUNDS_MAX).optional(),
    }),
    z.strictObject({ kind: z.literal('reindex') }),
    z.strictObject({
      kind: z.literal('retain'),
      machine: machineName.optional().meta({ description: 'Absent: all machines' }),
      policy: policySchema.optional().meta({ description: 'Holds instead of what is saved' }),
      save: z.boolean().optional(),
      dryRun: z.boolean().optional(),
    }),
  ])
  .meta({ id: 'JobRequest' })

export type JobRequest = z.infer<typeof jobRequestSchema>
export const JOB_KINDS = ['verify', 'gc', 'reindex', 'retain'] as const
export type JobKind = (typeof JOB_KINDS)[number]

export const JOB_STATES = ['queued', 'running', 'done', 'failed', 'cancelled'] as const
export type JobState = (typeof JOB_STATES)[number]

const time = z.iso.datetime()
const count = z.int().min(0)

export const progressSchema = z
  .strictObject({ done: count, total: count, unit: z.enum(['bytes', 'packs', 'machines']) })
  .meta({ id: 'JobProgress' })

export type JobProgress = z.infer<typeof progressSchema>

/** A job without its result. */
export const jobHeadSchema = z.strictObject({
  id: z.string().regex(/^\d{1,12}$/),
  kind: z.enum(JOB_KINDS),
  parameters: z.record(z.string(), z.unknown()).meta({ description: 'As they were asked for' }),
  state: z.enum(JOB_STATES),
  createdAt: time,
  startedAt: time.optional(),
  endedAt: time.optional(),
  attempt: count.meta({ description: 'How often it began: more than once after a restart of the service' }),
  by: z.string().meta({ description: 'Name of the token, or: schedule' }),
  token: z.string().optional(),
  progress: progressSchema.nullable(),
  error: z
    .strictObject({
      code: z.string(),
      message: z.string(),
      details: z.record(z.string(), z.unknown()),
    })
    .optional()
    .meta({ description: 'Why it failed, or that it was cancelled' }),
})

export const jobSchema = jobHeadSchema
  .extend({
    result: z
      .record(z.string(), z.unknown())
      .optional()
      .meta({ description: 'What the command of this kind prints with --json' }),
  })
  .meta({ id: 'Job' })

export const jobsSchema = z
  .strictObject({ jobs: z.array(jobHeadSchema).meta({ description: 'Newest first, without results' }) })
  .meta({ id: 'Jobs' })

export type Job = z.infer<typeof jobHeadSchema>
export type JobWithResult = z.infer<typeof jobSchema>
