import * as z from 'zod'
import { noParams, noQuery, type Route, route } from './route.js'
import { createdTokenSchema, tokenRequestSchema, tokenSchema, tokensSchema } from './token-schemas.js'

const listTokens = route({
  name: 'listTokens',
  method: 'get',
  path: '/v1/tokens',
  summary: 'All tokens, expired ones included; never the tokens themselves',
  params: noParams,
  query: noQuery,
  answers: { 200: { description: 'Tokens, oldest first', content: { 'application/json': tokensSchema } } },
  handle: async ({ tokens }) => ({ json: { tokens: tokens.list() } }),
})

const createToken = route({
  name: 'createToken',
  method: 'post',
  path: '/v1/tokens',
  summary: 'Make a token; it is shown in this answer and never again',
  params: noParams,
  query: noQuery,
  body: tokenRequestSchema,
  answers: { 201: { description: 'The token', content: { 'application/json': createdTokenSchema } } },
  handle: async ({ tokens }, { body, facts }) => {
    const { name, role, machines, expiresAt } = body
    const created = await tokens.create({
      name,
      role,
      ...(machines === undefined ? {} : { machines }),
      ...(expiresAt === undefined ? {} : { expiresMs: Date.parse(expiresAt) }),
    })
    facts['created'] = created.id
    facts['createdName'] = created.name
    facts['createdRole'] = created.role
    return { status: 201, json: created }
  },
})

const revokeToken = route({
  name: 'revokeToken',
  method: 'delete',
  path: '/v1/tokens/{id}',
  summary: 'From the next request on the token no longer holds',
  params: z.strictObject({ id: z.string().min(1).max(64) }),
  query: noQuery,
  answers: { 200: { description: 'What it was', content: { 'application/json': tokenSchema } } },
  handle: async ({ tokens }, { params, facts }) => {
    facts['revoked'] = params.id
    return { json: await tokens.revoke(params.id) }
  },
})

export const tokenRoutes: readonly Route[] = [listTokens, createToken, revokeToken]
