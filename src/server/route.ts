import type { Request, Response } from 'express'
import * as z from 'zod'
import { EverfoldError } from '../errors.js'
import { checkName } from '../names.js'
import type { Pace } from './limits/pace.js'
import type { Service } from './service.js'
import type { TokenInfo } from './token-book.js'

/** What one request is about, for its line in the log. */
export interface Facts {
  machine?: string
  point?: string
  disk?: string
  [fact: string]: unknown
}

/** A request whose parts were checked. */
export interface Call<P, Q, B> {
  readonly params: P
  readonly query: Q
  readonly body: B
  readonly token: TokenInfo | undefined
  /** How fast its bytes may come and go: to be waited for with every piece. */
  readonly pace: Pace
  readonly request: Request
  readonly response: Response
  /** Goes into the log. */
  readonly facts: Facts
}

/** What a route answers: a document, or `sent` if it has written the answer itself. */
export type Answer =
  | { readonly status?: 200 | 201 | 202; readonly json: unknown }
  | { readonly text: string; readonly type: string }
  | 'sent'

interface Definition<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType> {
  readonly name: string
  readonly method: 'get' | 'post' | 'put' | 'delete'
  /** As OpenAPI writes it: `/v1/machines/{machine}`. */
  readonly path: string
  readonly summary: string
  readonly params: P
  readonly query: Q
  /** Absent: a request with a body is refused. */
  readonly body?: B
  /** In place of `body`: the media type of bytes that the route reads by itself. */
  readonly upload?: string
  /** Success: by status, the media types and what they hold. */
  readonly answers: Readonly<Record<number, AnswerDocument>>
  readonly handle: (service: Service, call: Call<z.output<P>, z.output<Q>, z.output<B>>) => Promise<Answer>
}

export interface AnswerDocument {
  readonly description: string
  /** Media type → schema; null: bytes or text without one. */
  readonly content?: Readonly<Record<string, z.ZodType | null>>
  readonly headers?: Readonly<Record<string, string>>
}

/** One line of the API. */
export interface Route {
  readonly name: string
  readonly method: 'get' | 'post' | 'put' | 'delete'
  readonly path: string
  readonly summary: string
  readonly params: z.ZodType
  readonly query: z.ZodType
  readonly body: z.ZodType | undefined
  readonly upload?: string
  readonly answers: Readonly<Record<number, AnswerDocument>>
  /** Checks the parts of a request and answers it. @throws ARGUMENT_INVALID, and as the route does */
  run(service: Service, call: Call<unknown, unknown, unknown>): Promise<Answer>
}

/** A route that can also be given parts that were checked already. */
export interface TypedRoute<P, Q, B> extends Route {
  readonly handle: (service: Service, call: Call<P, Q, B>) => Promise<Answer>
}

export function route<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType>(
  definition: Definition<P, Q, B>,
): TypedRoute<z.output<P>, z.output<Q>, z.output<B>> {
  const { params, query, body, handle } = definition
  return {
    ...definition,
    body,
    run: async (service, call) =>
      handle(service, {
        ...call,
        params: parsed(params, call.params, 'The address'),
        query: parsed(query, call.query, 'The query'),
        body: parsed(body ?? (z.undefined() as unknown as B), call.body, 'The body'),
      }),
  }
}

function parsed<T extends z.ZodType>(schema: T, value: unknown, what: string): z.output<T> {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const [issue] = result.error.issues
  const where = issue === undefined || issue.path.length === 0 ? '' : ` (${issue.path.join('.')})`
  throw new EverfoldError(
    'ARGUMENT_INVALID',
    `${what} is not as it should be${where}: ${issue?.message ?? ''}`,
    {
      cause: result.error,
    },
  )
}

/** A name in an address, in its normal form. What checkName throws comes out with its own code. */
function name(kind: 'machine' | 'disk'): z.ZodType<string, string> {
  return z.string().transform((text) => checkName(kind, text))
}

const pointName = z.string().min(1).max(64)

export const noParams = z.strictObject({})
export const machineParams = z.strictObject({ machine: name('machine') })
export const pointParams = z.strictObject({ machine: name('machine'), point: pointName })
export const diskParams = z.strictObject({
  machine: name('machine'),
  point: pointName,
  disk: name('disk'),
})
export const machineDiskParams = z.strictObject({ machine: name('machine'), disk: name('disk') })
const sessionName = z.string().min(1).max(64)
export const sessionParams = z.strictObject({ session: sessionName })
export const sessionDiskParams = z.strictObject({ session: sessionName, disk: name('disk') })
export const noQuery = z.strictObject({})
export { pointName }

/** A whole number in a query. */
export function wholeNumber(min: number, max: number): z.ZodType<number, string> {
  return z
    .string()
    .regex(/^\d{1,16}$/, 'write a whole number')
    .transform(Number)
    .pipe(z.number().int().min(min).max(max))
}
