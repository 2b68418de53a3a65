import * as z from 'zod'
import type { Repository } from '../chain/repository.js'
import { readSettings } from '../chain/settings.js'
import { EverfoldError } from '../errors.js'
import { retainAsAsked } from '../merge/retain-as-asked.js'
import { savedPolicy, savePolicy } from '../merge/retain-policy.js'
import { statisticsOf } from '../merge/statistics.js'
import { checkName } from '../names.js'
import { requireMachine } from './access.js'
import { policySchema } from './job-schemas.js'
import { listPoints } from './listed-points.js'
import { coversMachine } from './roles.js'
import { machineParams, noParams, noQuery, type Route, route } from './route.js'

export const savedSchema = z
  .strictObject({
    machine: z.string().nullable(),
    policy: policySchema.nullable(),
    source: z.enum(['machine', 'repository']).nullable(),
  })
  .meta({ id: 'SavedRetention' })

export const requestSchema = z
  .strictObject({
    policy: policySchema.optional(),
    save: z.boolean().optional(),
    dryRun: z.boolean().optional(),
  })
  .meta({ id: 'RetainRequest' })

const json = (description: string, schema: z.ZodType): Route['answers'] => ({
  200: { description, content: { 'application/json': schema } },
})

/** What holds for a machine, or for those without a policy of their own. @throws DATA_DAMAGED, and as savedPolicy */
async function saved(
  repository: Repository,
  machine: string | undefined,
): Promise<z.infer<typeof savedSchema>> {
  if (machine !== undefined) {
    const found = await savedPolicy(repository, machine)
    const source = found === undefined || found.source === 'given' ? null : found.source
    return { machine, policy: found?.policy ?? null, source }
  }
  const { settings, damaged } = await readSettings(repository.store)
  if (damaged.length > 0)
    throw new EverfoldError(
      'DATA_DAMAGED',
      "The repository's newest settings are damaged: save its policy again.",
    )
  const policy = settings.retention ?? null
  return { machine: null, policy, source: policy === null ? null : 'repository' }
}

/** The same five routes for one machine, and for the repository as a whole. */
function routesAt(prefix: string, suffix: string, params: typeof machineParams | typeof noParams): Route[] {
  const machineOf = (given: { readonly machine?: string }): string | undefined => given.machine
  const path = `${prefix}/retention`
  const shared = { params, query: noQuery }
  return [
    route({
      ...shared,
      name: `getRetention${suffix}`,
      method: 'get',
      path,
      summary: 'The retention policy that is saved',
      answers: json('The policy, or null', savedSchema),
      handle: async ({ repository }, call) => ({ json: await saved(repository, machineOf(call.params)) }),
    }),
    route({
      ...shared,
      name: `setRetention${suffix}`,
      method: 'put',
      path,
      summary: 'Save a retention policy; it removes nothing now',
      body: policySchema,
      answers: json('The policy', savedSchema),
      handle: async ({ repository }, call) => {
        const machine = machineOf(call.params)
        await savePolicy(repository, machine, call.body)
        return { json: await saved(repository, machine) }
      },
    }),
    route({
      ...shared,
      name: `forgetRetention${suffix}`,
      method: 'delete',
      path,
      summary: 'Take the saved policy away, and remove nothing',
      answers: json('None', z.strictObject({ machine: z.string().nullable(), policy: z.null() })),
      handle: async ({ repository }, call) => {
        const machine = machineOf(call.params)
        await savePolicy(repository, machine, undefined)
        return { json: { machine: machine ?? null, policy: null } }
      },
    }),
    route({
      ...shared,
      name: `retain${suffix}`,
      method: 'post',
      path: `${prefix}/retain`,
      summary: 'Remove the points that a policy does not keep, or with dryRun tell which they are',
      body: requestSchema,
      answers: json('As everfold retain --json', z.looseObject({})),
      handle: async ({ repository }, call) => ({
        json: await retainAsAsked(repository, { ...call.body, machine: machineOf(call.params) }),
      }),
    }),
  ]
}

const stats = route({
  name: 'stats',
  method: 'get',
  path: '/v1/stats',
  summary: 'What is kept and what it takes, as everfold stats --json',
  params: noParams,
  query: noQuery,
  answers: json('Figures', z.looseObject({})),
  handle: async ({ repository }) => ({ json: await statisticsOf(repository) }),
})

const allPoints = route({
  name: 'allPoints',
  method: 'get',
  path: '/v1/points',
  summary: 'Points as everfold points --json lists them, and what is wrong with those that are not listed',
  params: noParams,
  query: z.strictObject({ machine: z.string().optional(), fast: z.enum(['true', 'false']).optional() }),
  answers: json('Points', z.looseObject({})),
  handle: async ({ repository, log }, { query, token }) => {
    const machine = query.machine === undefined ? undefined : checkName('machine', query.machine)
    if (machine !== undefined) requireMachine(token, machine)
    const listed = await listPoints(repository, machine, {
      fast: query.fast === 'true',
      wants: (name) => coversMachine(token?.machines ?? [], name),
      onDamaged: (message) => log.warn(message),
    })
    return { json: listed }
  },
})

export const retentionRoutes: readonly Route[] = [
  stats,
  allPoints,
  ...routesAt('/v1', 'Default', noParams),
  ...routesAt('/v1/machines/{machine}', '', machineParams),
]
