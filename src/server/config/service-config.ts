import * as z from 'zod'
import { UPLOADS_MAX } from '../../chain/session/sessions.js'
import { isTimeZone } from '../../merge/retention-periods.js'
import { coversMachine } from '../roles.js'
import { count, duration, filePath, listenAddress, size, timeOfDay } from './values.js'

/** Entries of a list in the configuration. */
const ENTRIES_MAX = 1000

/** A name, where `*` stands for any characters. */
const pattern = z
  .string()
  .min(1)
  .max(200)
  .transform((text) => text.normalize('NFC'))

/** Once the service is told to stop: how long running answers may take, and after how long it ends whatever comes. */
export const STOP_ANSWERS_SECONDS = 10
export const STOP_DEADLINE_SECONDS = 45

/** As Date.getUTCDay numbers them. */
export const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const

/** Slower, and a single piece would hold everything up for minutes. Bytes per second. */
const RATE_MIN = 64 * 1024
const rate = z.union([z.literal('unlimited').transform(() => Infinity), size(RATE_MIN)])

const rates = z.strictObject({
  in: rate.optional(),
  out: rate.optional(),
  hours: z
    .array(
      z
        .strictObject({
          days: z.array(z.enum(DAYS)).min(1).optional(),
          from: timeOfDay,
          to: timeOfDay,
          in: rate.optional(),
          out: rate.optional(),
        })
        .refine(({ from, to }) => from !== to, {
          path: ['to'],
          error: 'the same as from: nothing lies between',
        }),
    )
    .max(100)
    .optional(),
})

export type RatesConfig = z.output<typeof rates>

/** What there may be at once, and per second: in all, and of one token. */
const shared = {
  requests: count(1, 100_000).optional(),
  reads: count(1, 1000).optional(),
  uploads: count(1, UPLOADS_MAX).optional(),
  sessions: count(1, 10_000).optional(),
  body: size(1024, 16 * 1024 * 1024).optional(),
  upload: size(1024 * 1024).optional(),
  bytesPerSecond: rates.optional(),
}

/** All that everfold.yaml may say; docs/operations.md describes it, and test/config.test.ts holds the two together. */
export const serviceConfigSchema = z.strictObject({
  repository: filePath.optional(),
  s3: z
    .strictObject({
      endpoint: z
        .url({ protocol: /^https?$/u, error: 'write an address, such as https://s3.example.org' })
        .optional(),
      region: z.string().min(1).optional(),
      pathStyle: z.boolean().optional(),
      profile: z.string().min(1).optional(),
      credentialsFile: filePath.optional(),
      storageClass: z
        .string()
        .regex(/^[A-Z0-9_-]{1,64}$/u, 'write a storage class, such as STANDARD_IA')
        .optional(),
      requestTimeout: duration(1, 86_400).optional(),
      giveUpAfter: duration(1, 86_400).optional(),
      cache: filePath.optional(),
      cacheSize: size(0).optional(),
    })
    .optional(),
  listen: listenAddress.optional(),
  tls: z.strictObject({ certificate: filePath, key: filePath }).optional(),
  log: z.strictObject({ level: z.enum(['error', 'warn', 'info', 'debug', 'silent']).optional() }).optional(),
  audit: z
    .strictObject({
      folder: filePath.optional(),
      fileSize: size(64 * 1024, 1024 ** 3).optional(),
      files: count(2, 10_000).optional(),
    })
    .optional(),
  limits: z
    .strictObject({
      connections: count(1, 100_000).optional(),
      connectionsPerAddress: count(1, 100_000).optional(),
      ...shared,
      timeZone: z
        .string()
        .refine(isTimeZone, 'there is no such time zone: write a name such as Europe/Berlin or UTC')
        .optional(),
    })
    .optional(),
  tokens: z
    .array(z.strictObject({ match: pattern, ...shared }))
    .max(ENTRIES_MAX)
    .optional(),
  sessions: z.strictObject({ expiry: duration(1).optional() }).optional(),
  stop: z
    .strictObject({ answers: duration(1, 3600).optional(), deadline: duration(2, 7200).optional() })
    .refine(({ answers = STOP_ANSWERS_SECONDS, deadline = STOP_DEADLINE_SECONDS }) => deadline > answers, {
      path: ['deadline'],
      error: 'it has to be longer than answers have',
    })
    .optional(),
  machines: z
    .array(
      z.strictObject({ match: pattern, expectedInterval: duration(1).optional(), quota: size(0).optional() }),
    )
    .max(ENTRIES_MAX)
    .optional(),
})

export type ServiceConfig = z.output<typeof serviceConfigSchema>

/** How the bucket of a repository is reached, and what is kept of it here. */
export type S3Config = NonNullable<ServiceConfig['s3']>

export type MachineConfig = NonNullable<ServiceConfig['machines']>[number]

export type TokenConfig = NonNullable<ServiceConfig['tokens']>[number]

/** What the first entry that is for a token, by id or name, and says it, says. */
export function tokenSetting<K extends keyof TokenConfig>(
  config: ServiceConfig,
  { id, name }: { readonly id: string; readonly name: string },
  key: K,
): TokenConfig[K] | undefined {
  const covers = ({ match }: TokenConfig): boolean => match === id || coversMachine([match], name)
  return (config.tokens ?? []).find((entry) => entry[key] !== undefined && covers(entry))?.[key]
}

/** What the first entry that is for a machine, and says it, says. */
export function machineSetting<K extends keyof MachineConfig>(
  config: ServiceConfig,
  machine: string,
  key: K,
): MachineConfig[K] | undefined {
  const entries = config.machines ?? []
  return entries.find((entry) => entry[key] !== undefined && coversMachine([entry.match], machine))?.[key]
}

/** Machines that are named, not meant by a pattern, and that points are expected of. */
export function expectedMachines(config: ServiceConfig): readonly string[] {
  const entries = (config.machines ?? []).filter(({ expectedInterval }) => expectedInterval !== undefined)
  const names = entries.map(({ match }) => match).filter((match) => !match.includes('*'))
  return [...new Set(names)]
}
