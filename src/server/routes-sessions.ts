import * as z from 'zod'
import { SESSION_DISKS_MAX } from '../chain/session/new-session.js'
import { arrivedOf, rangesOf } from '../chain/session/session.js'
import { isOpen, LARGE_EXTENTS } from '../chain/session/sessions.js'
import { createFor, noteCommitted, openOnly, sessionOf } from './its-session.js'
import { sendJsonList } from './json-list.js'
import { SHARE_OF_ONE } from './limits/limits.js'
import { Places, untilClosed } from './limits/places.js'
import { coversMachine } from './roles.js'
import {
  machineParams,
  noParams,
  noQuery,
  type Route,
  route,
  sessionDiskParams,
  sessionParams,
} from './route.js'
import {
  committedSchema,
  consistencySchema,
  describe,
  droppedSchema,
  noteSchema,
  rangesSchema,
  sessionSchema,
  sessionsSchema,
} from './session-answers.js'
import { idempotencyKeyOf } from './upload-body.js'

export const sessionRequest = z
  .strictObject({
    disks: z
      .array(
        z.strictObject({
          id: z.string(),
          sizeBytes: z.int().min(0),
          content: z.enum(['whole', 'changes']).optional().meta({
            description:
              '`whole`: all of it is sent. `changes`: what is not sent is as it was at the parent. The default, if there is one',
          }),
          chunker: z.enum(['cdc', 'fixed']).optional(),
        }),
      )
      .min(1)
      .max(SESSION_DISKS_MAX),
    parent: z
      .string()
      .min(1)
      .max(64)
      .optional()
      .meta({ description: '`newest`, or the id of the newest point: nothing else can be a parent' }),
    note: noteSchema.optional(),
    consistency: consistencySchema.optional(),
  })
  .meta({ id: 'SessionRequest' })

/** Long lists of what arrived that are being sent: each is kept until its client has taken it. */
const LONG_LISTS_MAX = 4

const longLists = new Places('long lists being sent', LONG_LISTS_MAX)

const createSession = route({
  name: 'createSession',
  method: 'post',
  path: '/v1/machines/{machine}/sessions',
  summary: 'Begin to upload a point. With an Idempotency-Key, whoever repeats this gets the same session',
  params: machineParams,
  query: noQuery,
  body: sessionRequest,
  answers: {
    201: {
      description: 'The session',
      content: { 'application/json': sessionSchema },
      headers: { Location: 'The session' },
    },
    200: {
      description: 'The session that was made with this Idempotency-Key before',
      content: { 'application/json': sessionSchema },
    },
  },
  handle: async (service, { params, body, token, request, response, facts }) => {
    const { sessions, repository } = service
    const { session, created } = await createFor(
      service,
      token,
      {
        machine: params.machine,
        disks: body.disks.map(({ id, sizeBytes, content, chunker }) => ({
          id,
          sizeBytes,
          ...(content === undefined ? {} : { content }),
          ...(chunker === undefined ? {} : { chunker }),
        })),
        ...(body.parent === undefined ? {} : { parent: body.parent }),
        ...(body.note === undefined ? {} : { note: body.note }),
        ...(body.consistency === undefined ? {} : { consistency: body.consistency }),
      },
      idempotencyKeyOf(request),
    )
    const json = await describe(session, sessions, repository.config)
    facts['session'] = json.session
    response.set('Location', `/v1/sessions/${json.session}`)
    return { status: created ? 201 : 200, json }
  },
})

const listSessions = route({
  name: 'listSessions',
  method: 'get',
  path: '/v1/sessions',
  summary: 'Sessions that are open; with the role backup, those of the token itself',
  params: noParams,
  query: noQuery,
  answers: { 200: { description: 'Oldest first', content: { 'application/json': sessionsSchema } } },
  handle: async ({ sessions }, { token }) => {
    const all = await sessions.list()
    const seen = all.filter(
      (begin) =>
        coversMachine(token?.machines ?? [], begin.machine) &&
        (token?.role !== 'backup' || begin.owner === token.id),
    )
    return {
      json: {
        sessions: seen.map(({ session, machine, createdAt, note, owner, disks }) => ({
          session,
          machine,
          createdAt,
          ...(note === undefined ? {} : { note }),
          token: owner,
          disks: disks.map(({ id, sizeBytes }) => ({ id, sizeBytes })),
        })),
      },
    }
  },
})

const getSession = route({
  name: 'getSession',
  method: 'get',
  path: '/v1/sessions/{session}',
  summary: 'What has arrived, and what is missing; once it is committed, the point',
  params: sessionParams,
  query: noQuery,
  answers: { 200: { description: 'The session', content: { 'application/json': sessionSchema } } },
  handle: async (service, call) => {
    const found = await sessionOf(service, call)
    return { json: await describe(found, service.sessions, service.repository.config) }
  },
})

const getReceived = route({
  name: 'getReceived',
  method: 'get',
  path: '/v1/sessions/{session}/disks/{disk}/received',
  summary: 'All ranges of a disk that have arrived, in a list of any length',
  params: sessionDiskParams,
  query: noQuery,
  answers: { 200: { description: 'Sorted, and apart', content: { 'application/json': rangesSchema } } },
  handle: async (service, call) => {
    const session = openOnly(await sessionOf(service, call))
    const number = session.diskNumber(call.params.disk)
    const isLarge = session.extents > LARGE_EXTENTS
    if (isLarge)
      untilClosed(
        call.response,
        longLists.take(call.token?.id ?? '', Math.ceil(LONG_LISTS_MAX * SHARE_OF_ONE)),
      )
    const arrived = arrivedOf(await service.sessions.arrived(session), number)
    await sendJsonList(rangesOf(arrived), call.pace, call.response)
    return 'sent'
  },
})

const dropSession = route({
  name: 'dropSession',
  method: 'delete',
  path: '/v1/sessions/{session}',
  summary: 'Drop a session with all that has arrived',
  params: sessionParams,
  query: noQuery,
  answers: { 200: { description: 'It is gone', content: { 'application/json': droppedSchema } } },
  handle: async (service, call) => {
    const { id } = openOnly(await sessionOf(service, call))
    await service.sessions.drop(id)
    return { json: { session: id } }
  },
})

const commitSession = route({
  name: 'commitSession',
  method: 'post',
  path: '/v1/sessions/{session}/commit',
  summary: 'Make the point, of all disks at once. Repeated, it answers with the same point',
  params: sessionParams,
  query: z.strictObject({
    retention: z.enum(['wait']).optional().meta({
      description: '`wait`: answer once the saved retention policy is applied, and say what it did',
    }),
  }),
  answers: {
    201: { description: 'The point, durable', content: { 'application/json': committedSchema } },
    200: { description: 'The point, made before', content: { 'application/json': committedSchema } },
  },
  handle: async (service, call) => {
    const found = await sessionOf(service, call)
    const { result, created } = isOpen(found)
      ? await service.sessions.commit(found)
      : { result: found.result, created: false }
    if (created) noteCommitted(service, result)
    call.facts.point = result.point
    const status = created ? 201 : 200
    if (call.query.retention === undefined) return { status, json: result }
    return { status, json: { ...result, ...(await service.afterCommit.followed(result.point)) } }
  },
})

export const sessionRoutes: readonly Route[] = [
  createSession,
  listSessions,
  getSession,
  getReceived,
  dropSession,
  commitSession,
]
