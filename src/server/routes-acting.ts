import * as z from 'zod'
import { EverfoldError } from '../errors.js'
import { deleteMachine, deletePoint, foldTo } from '../merge/fold.js'
import { PIN_REASON_LENGTH_MAX, pin, unpin } from '../merge/pins.js'
import { foldSchema, machineRemovedSchema, pinSchema } from './answers.js'
import { machineParams, noQuery, pointParams, type Route, route } from './route.js'

const pinPoint = route({
  name: 'pinPoint',
  method: 'post',
  path: '/v1/machines/{machine}/points/{point}/pin',
  summary: 'Keep a point from being removed; replaces the pin that it may have',
  params: pointParams,
  query: noQuery,
  body: z
    .strictObject({
      reason: z.string().max(PIN_REASON_LENGTH_MAX),
      until: z.iso.datetime({ offset: true }).optional(),
    })
    .meta({ id: 'PinRequest' }),
  answers: { 200: { description: 'The pin', content: { 'application/json': pinSchema } } },
  handle: async ({ repository }, { params, body, facts }) => {
    const { reason, until } = body
    const request = { reason, ...(until === undefined ? {} : { untilMs: Date.parse(until) }) }
    const result = await pin(repository, params.machine, params.point, request)
    facts.point = result.point
    return { json: result }
  },
})

const unpinPoint = route({
  name: 'unpinPoint',
  method: 'delete',
  path: '/v1/machines/{machine}/points/{point}/pin',
  summary: "Take a point's pin off; one without a pin stays as it is",
  params: pointParams,
  query: noQuery,
  answers: { 200: { description: 'The pin as it was', content: { 'application/json': pinSchema } } },
  handle: async ({ repository }, { params, facts }) => {
    const result = await unpin(repository, params.machine, params.point)
    facts.point = result.point
    return { json: result }
  },
})

const removePoint = route({
  name: 'deletePoint',
  method: 'delete',
  path: '/v1/machines/{machine}/points/{point}',
  summary: 'Remove one point, wherever it stands in its chain; all others stay as they are',
  params: pointParams,
  query: noQuery,
  answers: { 200: { description: 'What was done', content: { 'application/json': foldSchema } } },
  handle: async ({ repository }, { params, facts }) => {
    const result = await deletePoint(repository, params.machine, params.point)
    const [removed] = result.removed
    if (removed !== undefined) facts.point = removed
    facts['removed'] = result.removed
    return { json: result }
  },
})

const foldMachine = route({
  name: 'foldMachine',
  method: 'post',
  path: '/v1/machines/{machine}/fold',
  summary: 'Fold the oldest points into the next ones until so many are left; pinned ones stay',
  params: machineParams,
  query: noQuery,
  body: z.strictObject({ keep: z.int().min(1).max(1_000_000) }).meta({ id: 'FoldRequest' }),
  answers: { 200: { description: 'What was done', content: { 'application/json': foldSchema } } },
  handle: async ({ repository }, { params, body, facts }) => {
    const result = await foldTo(repository, params.machine, body.keep)
    facts['removed'] = result.removed
    return { json: result }
  },
})

const removeMachine = route({
  name: 'deleteMachine',
  method: 'delete',
  path: '/v1/machines/{machine}',
  summary: 'Remove a machine with all of its points, pinned ones included',
  params: machineParams,
  query: z.strictObject({
    confirm: z
      .string()
      .optional()
      .meta({ description: "The machine's name once more: yes, all of its points" }),
  }),
  answers: {
    200: { description: 'What was removed', content: { 'application/json': machineRemovedSchema } },
  },
  handle: async ({ repository }, { params: { machine }, query, facts }) => {
    const { state } = await repository.chains.get(machine)
    if (query.confirm?.normalize('NFC') !== machine)
      throw new EverfoldError(
        'ARGUMENT_INVALID',
        `This would remove all ${state.points.length} points of "${machine}", for ever. If that is what you want, add ?confirm= and the machine's name.`,
        { details: { machine, points: state.points.length } },
      )
    const result = await deleteMachine(repository, machine)
    facts['removed'] = result.removed
    return { json: result }
  },
})

export const actingRoutes: readonly Route[] = [pinPoint, unpinPoint, removePoint, foldMachine, removeMachine]
