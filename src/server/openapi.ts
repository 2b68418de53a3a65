import * as z from 'zod'
import { ACCESS } from './access.js'
import { PROBLEM_TYPE, problemSchema } from './problem.js'
import type { AnswerDocument, Route } from './route.js'

type Json = Readonly<Record<string, unknown>>

/** The OpenAPI 3.1 document of routes, made of the schemas that check their requests. */
export function openApiDocument(routes: readonly Route[]): Json {
  const paths: Record<string, Record<string, unknown>> = {}
  const schemas: Record<string, unknown> = {}
  for (const route of routes) {
    const operations = (paths[route.path] ??= {})
    operations[route.method] = operation(route, schemas)
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Everfold', version: '0.1.0', description: 'Backups of disks: see docs/api.md.' },
    security: [{ bearer: [] }, { basic: [] }],
    paths,
    components: {
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer' },
        basic: { type: 'http', scheme: 'basic', description: 'The token as password, with any name' },
      },
      schemas: { ...schemas, Problem: schemaOf(problemSchema, 'output', schemas) },
    },
  }
}

function operation(route: Route, schemas: Record<string, unknown>): Json {
  const access = ACCESS[route.name]
  const roles = typeof access === 'object' ? access.roles : access === 'anyone' ? [] : ['any']
  return {
    operationId: route.name,
    summary: route.summary,
    'x-roles': roles,
    ...(access === 'anyone' && { security: [] }),
    parameters: [...parameters(route.params, 'path'), ...parameters(route.query, 'query')],
    ...(route.body && {
      requestBody: {
        required: true,
        content: { 'application/json': { schema: named(route.body, 'input', schemas) } },
      },
    }),
    ...(route.upload !== undefined && { requestBody: { required: true, content: { [route.upload]: {} } } }),
    responses: {
      ...Object.fromEntries(
        Object.entries(route.answers).map(([status, answer]) => [status, response(answer, schemas)]),
      ),
      default: {
        description: 'A problem, with one of the codes in docs/operations.md',
        content: { [PROBLEM_TYPE]: { schema: { $ref: '#/components/schemas/Problem' } } },
      },
    },
  }
}

function response({ description, content, headers }: AnswerDocument, schemas: Record<string, unknown>): Json {
  const media = Object.entries(content ?? {}).map(([type, schema]): [string, Json] => [
    type,
    schema === null ? {} : { schema: named(schema, 'output', schemas) },
  ])
  const described = Object.entries(headers ?? {}).map(([header, text]): [string, Json] => [
    header,
    { description: text, schema: { type: 'string' } },
  ])
  return {
    description,
    ...(described.length > 0 && { headers: Object.fromEntries(described) }),
    ...(media.length > 0 && { content: Object.fromEntries(media) }),
  }
}

function parameters(schema: z.ZodType, place: 'path' | 'query'): Json[] {
  const { properties = {}, required = [] } = schemaOf(schema, 'input', {}) as {
    readonly properties?: Readonly<Record<string, { readonly description?: string }>>
    readonly required?: readonly string[]
  }
  return Object.entries(properties).map(([name, { description, ...rest }]) => ({
    name,
    in: place,
    required: required.includes(name),
    ...(description !== undefined && { description }),
    schema: rest,
  }))
}

/** A reference to the schema, which is put among the named ones if it has a name. */
function named(schema: z.ZodType, io: 'input' | 'output', schemas: Record<string, unknown>): Json {
  const name = schema.meta()?.id
  const json = schemaOf(schema, io, schemas)
  if (name === undefined) return json
  schemas[name] = json
  return { $ref: `#/components/schemas/${name}` }
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output', schemas: Record<string, unknown>): Json {
  const { $schema: _dialect, $defs, id: _id, ...json } = z.toJSONSchema(schema, { io })
  for (const [name, definition] of Object.entries($defs ?? {})) schemas[name] = withoutId(definition)
  return JSON.parse(JSON.stringify(json).replaceAll('"#/$defs/', '"#/components/schemas/')) as Json
}

function withoutId({ id: _id, ...definition }: { readonly id?: unknown }): Json {
  return definition
}
