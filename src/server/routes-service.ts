import * as z from 'zod'
import { openApiDocument } from './openapi.js'
import { noParams, noQuery, type Route, route } from './route.js'

const stateSchema = z.strictObject({ status: z.enum(['ok', 'stopping']) }).meta({ id: 'State' })

const health = route({
  name: 'health',
  method: 'get',
  path: '/healthz',
  summary: 'The process is there. Needs no token',
  params: noParams,
  query: noQuery,
  answers: { 200: { description: 'It is', content: { 'application/json': stateSchema } } },
  handle: async () => ({ json: { status: 'ok' } }),
})

const ready = route({
  name: 'ready',
  method: 'get',
  path: '/readyz',
  summary: 'The repository can be read. A store that fails is answered with 503',
  params: noParams,
  query: noQuery,
  answers: { 200: { description: 'It can', content: { 'application/json': stateSchema } } },
  handle: async ({ repository, isStopping }) => {
    await repository.chains.registry.names()
    return { json: { status: isStopping() ? 'stopping' : 'ok' } }
  },
})

const metrics = route({
  name: 'metrics',
  method: 'get',
  path: '/metrics',
  summary: 'Figures for Prometheus',
  params: noParams,
  query: noQuery,
  answers: { 200: { description: 'In the text format', content: { 'text/plain': null } } },
  handle: async ({ metrics, limits }) => {
    for (const kind of ['requests', 'reads', 'uploads'] as const)
      metrics.placesTaken(kind, limits.taken(kind))
    return metrics.text()
  },
})

/** @param others  all routes but the one that is made here */
export function serviceRoutes(others: readonly Route[]): readonly Route[] {
  const before = [health, ready, metrics]
  let document: unknown
  const openapi: Route = route({
    name: 'openapi',
    method: 'get',
    path: '/openapi.json',
    summary: 'This description (OpenAPI 3.1)',
    params: noParams,
    query: noQuery,
    answers: { 200: { description: 'The document', content: { 'application/json': z.looseObject({}) } } },
    handle: async () => ({ json: (document ??= openApiDocument([...before, openapi, ...others])) }),
  })
  return [...before, openapi]
}
