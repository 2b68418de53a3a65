import * as z from 'zod'
import { coversMachine } from '../roles.js'
import { duration, filePath, listenAddress } from './values.js'

/** Entries of a list in the configuration. */
const ENTRIES_MAX = 1000

/** A name, where `*` stands for any characters. */
const pattern = z
  .string()
  .min(1)
  .max(200)
  .transform((text) => text.normalize('NFC'))

/** All that everfold.yaml may say; docs/operations.md describes it, and test/config.test.ts holds the two together. */
export const serviceConfigSchema = z.strictObject({
  repository: filePath.optional(),
  listen: listenAddress.optional(),
  tls: z.strictObject({ certificate: filePath, key: filePath }).optional(),
  log: z.strictObject({ level: z.enum(['error', 'warn', 'info', 'debug', 'silent']).optional() }).optional(),
  machines: z
    .array(z.strictObject({ match: pattern, expectedInterval: duration(1).optional() }))
    .max(ENTRIES_MAX)
    .optional(),
})

export type ServiceConfig = z.output<typeof serviceConfigSchema>

export type MachineConfig = NonNullable<ServiceConfig['machines']>[number]

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
