import { findPointOf } from '../chain/find-point.js'
import { summarise } from '../chain/point-summary.js'
import type { Repository } from '../chain/repository.js'
import { type Accounting, account } from '../merge/account.js'
import {
  machinesSchema,
  pointSchema,
  pointsSchema,
  protectionReportSchema,
  storageReportSchema,
} from './answers.js'
import { expectedMachines, machineSetting } from './config/service-config.js'
import { formatQuery, rowsAs } from './csv.js'
import { type MachineOverview, machinesOf, sizeOf } from './machine-overview.js'
import { PROTECTION_COLUMNS, protectionOf } from './protection.js'
import { coversAll, coversMachine } from './roles.js'
import { machineParams, noParams, noQuery, pointParams, type Route, route } from './route.js'

const listMachines = route({
  name: 'listMachines',
  method: 'get',
  path: '/v1/machines',
  summary: 'The machines that the token is for',
  params: noParams,
  query: noQuery,
  answers: { 200: { description: 'Machines, by name', content: { 'application/json': machinesSchema } } },
  handle: async ({ repository }, { token }) => {
    const machines = (await machinesOf(repository, token)).map(({ machine, points, damage }) => {
      const newest = points.at(-1)
      return {
        machine,
        points: points.length,
        newest: newest === undefined ? null : { point: newest.id, createdAt: newest.createdAt },
        sizeBytes: sizeOf(newest),
        damage,
      }
    })
    return { json: { machines } }
  },
})

const listPoints = route({
  name: 'listPoints',
  method: 'get',
  path: '/v1/machines/{machine}/points',
  summary: 'The recovery points of a machine',
  params: machineParams,
  query: noQuery,
  answers: { 200: { description: 'Points, oldest first', content: { 'application/json': pointsSchema } } },
  handle: async ({ repository }, { params: { machine } }) => {
    const { state, damaged } = await repository.chains.get(machine)
    const points = state.points.map((point, index) => summarise(machine, point, index))
    return { json: { machine, points, newestStateDamaged: damaged.length > 0 } }
  },
})

const getPoint = route({
  name: 'getPoint',
  method: 'get',
  path: '/v1/machines/{machine}/points/{point}',
  summary: 'One recovery point',
  params: pointParams,
  query: noQuery,
  answers: { 200: { description: 'The point', content: { 'application/json': pointSchema } } },
  handle: async ({ repository }, { params, facts }) => {
    const { point, index } = findPointOf(await repository.chains.get(params.machine), params.point)
    facts.point = point.id
    return { json: summarise(params.machine, point, index) }
  },
})

/** Accounts that are being made: it takes a look at all runs, so whoever asks meanwhile shares one. */
const accounting = new WeakMap<Repository, Promise<Accounting>>()

function sharedAccount(repository: Repository): Promise<Accounting> {
  const running = accounting.get(repository)
  if (running !== undefined) return running
  const started = account(repository).finally(() => accounting.delete(repository))
  accounting.set(repository, started)
  return started
}

const storageReport = route({
  name: 'storageReport',
  method: 'get',
  path: '/v1/reports/storage',
  summary: 'What is kept, and what it takes; the CSV has the machines',
  params: noParams,
  query: formatQuery,
  answers: {
    200: { description: 'Figures', content: { 'application/json': storageReportSchema, 'text/csv': null } },
  },
  handle: async ({ repository }, { token, query, request, response }) => {
    const { machines: all, ...figures } = await sharedAccount(repository)
    const patterns = token?.machines ?? []
    const machines = all
      .filter(({ machine }) => coversMachine(patterns, machine))
      .map(({ machine, points, logicalBytes, ownBytes, sharedBytes }) => ({
        machine,
        points: points.length,
        logicalBytes,
        ownBytes,
        sharedBytes,
      }))
    const json = { repository: coversAll(patterns) ? figures : null, machines }
    const columns = ['machine', 'points', 'logicalBytes', 'ownBytes', 'sharedBytes'] as const
    return rowsAs(request, response, query.format, json, machines, columns)
  },
})

const protectionReport = route({
  name: 'protectionReport',
  method: 'get',
  path: '/v1/reports/protection',
  summary: 'How old the newest point of each machine is, and how old it should be',
  params: noParams,
  query: formatQuery,
  answers: {
    200: {
      description: 'Figures',
      content: { 'application/json': protectionReportSchema, 'text/csv': null },
    },
  },
  handle: async ({ repository, config }, { token, query, request, response }) => {
    const now = repository.environment.now()
    const found = await machinesOf(repository, token)
    const expected = expectedMachines(config).filter(
      (name) => coversMachine(token?.machines ?? [], name) && !found.some(({ machine }) => machine === name),
    )
    const without = expected.map((machine): MachineOverview => ({ machine, points: [], damage: 'none' }))
    const machines = [...found, ...without].map((machine) =>
      protectionOf(machine, machineSetting(config, machine.machine, 'expectedInterval'), now),
    )
    const json = { generatedAt: new Date(now).toISOString(), machines }
    return rowsAs(request, response, query.format, json, machines, PROTECTION_COLUMNS)
  },
})

export const figureRoutes: readonly Route[] = [
  listMachines,
  listPoints,
  getPoint,
  storageReport,
  protectionReport,
]
