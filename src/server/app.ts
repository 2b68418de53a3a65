import { IncomingMessage, type RequestListener, type ServerOptions, ServerResponse } from 'node:http'
import type { Express, NextFunction, Request, Response } from 'express'
import type { Logger } from 'pino'
import { EverfoldError } from '../errors.js'
import { checkName } from '../names.js'
import { ACCESS, requireMachine } from './access.js'
import { hasBody, readBody } from './body.js'
import { type DiskParams, DiskPaths } from './disk-path.js'
import type { Pace } from './limits/pace.js'
import { untilClosed } from './limits/places.js'
import { Login } from './login.js'
import { PROBLEM_TYPE, type Problem, problemOf } from './problem.js'
import type { Answer, Facts, Route } from './route.js'
import { ROUTES } from './routes.js'
import { readDisk } from './routes-disk.js'
import type { Service } from './service.js'
import type { TokenInfo } from './token-book.js'

/** Characters of an address, with its query. */
export const URL_LENGTH_MAX = 4096

/** What the log says of requests that come every few seconds. */
const QUIET: readonly string[] = ['health', 'ready', 'metrics']

/** Problems from 500 on that are no trouble of the service's: it does as it is told. */
const AS_MEANT: readonly string[] = ['SERVICE_STOPPING', 'QUOTA_EXCEEDED']

/** One request on its way. */
interface Visit {
  readonly id: string
  readonly log: Logger
  readonly facts: Facts
  route: string
  token: TokenInfo | undefined
}

/** The API on a repository, ready to be served. */
export interface App {
  readonly listener: RequestListener
  /** What a server has to make its requests and answers with. */
  readonly messages: Messages
}

export async function makeApp(service: Service): Promise<App> {
  const { default: express } = await import('express')
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  app.set('query parser', false)
  app.set('case sensitive routing', true)
  app.set('strict routing', true)
  const login = new Login(service.tokens)
  const visits = new WeakMap<Request, Visit>()
  let requests = 0
  const enter = (request: Request, response: Response): Visit => {
    const visit = begin(service, request, response, `${process.pid}-${++requests}`)
    visits.set(request, visit)
    if (request.originalUrl.length > URL_LENGTH_MAX)
      throw new EverfoldError('URL_TOO_LONG', `An address may have ${URL_LENGTH_MAX} characters at most.`)
    return visit
  }
  const admit = async (visit: Visit, request: Request, response: Response): Promise<void> => {
    const address = request.socket.remoteAddress ?? ''
    const token = await login.check(request.headers.authorization, address)
    visit.token = token
    untilClosed(response, service.limits.take('requests', token))
  }
  const fail = async (error: unknown, request: Request, response: Response): Promise<void> => {
    const visit = visits.get(request)
    const problem = failed(error, visit, request, response)
    // What was promised cannot be kept: only a cut connection says so.
    if (response.headersSent) response.destroy()
    else setHeaders(service, response)
    if (visit !== undefined) await audit(service, visit, request, problem.status)
    sendProblem(problem, request, response)
  }

  app.use((request, response, next) => {
    setHeaders(service, response)
    enter(request, response)
    next()
  })
  // The only one that needs no token; it comes before whoever asks for one.
  const open = ROUTES.filter((route) => ACCESS[route.name] === 'anyone')
  const closed = ROUTES.filter((route) => ACCESS[route.name] !== 'anyone')
  const add = (route: Route): void => {
    app[route.method](expressPath(route.path), async (request, response) => {
      const visit = visitOf(visits, request)
      visit.route = route.name
      await answer(service, route, visit, request, response)
    })
  }
  for (const route of open) add(route)
  app.use(async (request, response, next) => {
    await admit(visitOf(visits, request), request, response)
    next()
  })
  for (const route of closed) add(route)
  for (const path of new Set(ROUTES.map((route) => route.path)))
    app.all(expressPath(path), (_request, response) => {
      const allowed = methodsOf(path)
      response.set('Allow', allowed)
      throw new EverfoldError('METHOD_NOT_ALLOWED', `This takes ${allowed}.`)
    })
  app.use(() => {
    throw new EverfoldError('ROUTE_UNKNOWN', 'There is nothing at this address: see /openapi.json.')
  })
  // Express knows an error handler by its four parameters.
  app.use((error: unknown, request: Request, response: Response, _next: NextFunction) =>
    fail(error, request, response),
  )
  const disks = new DiskPaths()
  const readOne = async (params: DiskParams, request: Request, response: Response): Promise<void> => {
    const visit = enter(request, response)
    await admit(visit, request, response)
    visit.route = readDisk.name
    await answerDisk(service, params, visit, request, response)
  }
  const listener: RequestListener = (incoming, outgoing) => {
    const params = disks.paramsOf(incoming)
    if (params === undefined) {
      app(incoming, outgoing)
      return
    }
    const { request, response } = asExpress(incoming, outgoing)
    readOne(params, request, response)
      .catch((error: unknown) => fail(error, request, response))
      .catch((error: unknown) => {
        service.log.error({ err: error }, 'an answer could not be given')
        response.destroy()
      })
  }
  return { listener, messages: messagesOf(app) }
}

/** As Express makes them ready, before it looks for the route. */
function asExpress(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): { readonly request: Request; readonly response: Response } {
  // They are: see messagesOf.
  const request = incoming as Request
  const response = outgoing as Response
  request.res = response
  request.originalUrl = request.url
  return { request, response }
}

type Messages = Required<Pick<ServerOptions, 'IncomingMessage' | 'ServerResponse'>>

/**
 * Requests and answers that are Express's from the beginning. It would make Node's its own by another prototype, one by one, and each that had its
 * prototype changed is a stranger to all optimized code: a sixth of the main thread's time with small reads.
 */
function messagesOf(app: Express): Messages {
  class OurRequest extends IncomingMessage {}
  class OurResponse<R extends IncomingMessage = IncomingMessage> extends ServerResponse<R> {}
  Object.setPrototypeOf(OurRequest.prototype, app.request)
  Object.setPrototypeOf(OurResponse.prototype, app.response)
  // So it finds that there is nothing to change.
  app.request = OurRequest.prototype as Request
  app.response = OurResponse.prototype as Response
  return { IncomingMessage: OurRequest, ServerResponse: OurResponse }
}

function visitOf(visits: WeakMap<Request, Visit>, request: Request): Visit {
  const visit = visits.get(request)
  if (visit === undefined) throw new Error('a request that never began')
  return visit
}

/** Those of every answer: of a disk's bytes, the route writes them with its own. */
function setHeaders(service: Service, response: Response): void {
  response.setHeader('X-Content-Type-Options', 'nosniff')
  response.setHeader('Cache-Control', 'no-store')
  if (service.isStopping()) response.setHeader('Connection', 'close')
}

/** Notes a request, and writes its line in the log when it is over: who did what to which point. */
function begin(service: Service, request: Request, response: Response, id: string): Visit {
  const visit: Visit = { id, log: service.log, facts: {}, route: 'none', token: undefined }
  const startMs = performance.now()
  // Not once(): it comes no second time, and that takes longer.
  response.on('close', () => {
    const ms = Math.round(performance.now() - startMs)
    service.metrics.observe(visit.route, methodLabel(request.method), response.statusCode, ms / 1000)
    const line = {
      request: id,
      action: visit.route,
      method: request.method,
      status: response.statusCode,
      ms,
      from: request.socket.remoteAddress,
      ...(visit.token && { token: visit.token.id, tokenName: visit.token.name }),
      ...visit.facts,
      ...(response.writableFinished ? {} : { cut: true }),
    }
    if (QUIET.includes(visit.route) && response.statusCode < 400) service.requestLog.debug(line, 'request')
    else service.requestLog.info(line, 'request')
  })
  return visit
}

/** What is no method that we know is one label, so that nobody can fill the memory with labels. */
function methodLabel(method: string): string {
  return ['GET', 'HEAD', 'POST', 'PUT', 'DELETE'].includes(method) ? method : 'other'
}

async function answer(
  service: Service,
  route: Route,
  visit: Visit,
  request: Request,
  response: Response,
): Promise<void> {
  const { facts, token } = visit
  const params: Readonly<Record<string, unknown>> = { ...request.params }
  const { machine, point, disk } = params
  if (typeof machine === 'string') facts.machine = checkName('machine', machine)
  if (typeof point === 'string') facts.point = point
  if (typeof disk === 'string') facts.disk = disk
  checkAccess(route, token, facts.machine)
  const bodyMax = service.limits.bodyMax('body', token)
  const body =
    route.upload === undefined ? await readBody(request, route.body !== undefined, bodyMax) : undefined
  const query = queryOf(request)
  const pace = service.limits.pace(token, () => response.closed)
  const call = { params, query, body, token, pace, request, response, facts }
  const result = await route.run(service, call)
  await audit(service, visit, request, result === 'sent' ? response.statusCode : statusOf(result))
  await send(result, pace, response)
}

/** As {@link answer}, of a disk whose address was checked already. */
async function answerDisk(
  service: Service,
  params: DiskParams,
  visit: Visit,
  request: Request,
  response: Response,
): Promise<void> {
  const { facts, token } = visit
  facts.machine = params.machine
  facts.point = params.point
  facts.disk = params.disk
  checkAccess(readDisk, token, params.machine)
  if (hasBody(request)) await readBody(request, false, 0)
  const pace = service.limits.pace(token, () => response.closed)
  await readDisk.handle(service, {
    params,
    query: {},
    body: undefined,
    token,
    pace,
    request,
    response,
    facts,
  })
  await audit(service, visit, request, response.statusCode)
}

function audit(
  service: Service,
  { route, id, token, facts }: Visit,
  { method, socket }: Request,
  status: number,
): Promise<void> {
  return service.audit.note({
    action: route,
    method,
    request: id,
    from: socket.remoteAddress,
    token,
    facts,
    status,
  })
}

function statusOf(answer: Exclude<Answer, 'sent'>): number {
  return 'json' in answer ? (answer.status ?? 200) : 200
}

/** The same answer whether or not there is such a machine: who may not see it does not learn. @throws FORBIDDEN */
function checkAccess(route: Route, token: TokenInfo | undefined, machine: string | undefined): void {
  const access = ACCESS[route.name]
  if (access === 'anyone') return
  if (token === undefined || access === undefined) throw new Error('a route behind the login has a token')
  if (access === 'any token') return
  if (!access.roles.includes(token.role))
    throw new EverfoldError(
      'FORBIDDEN',
      `This takes a token with the role ${access.roles.join(' or ')}; this one is for ${token.role}.`,
    )
  if (access.machines === 'all') requireMachine(token, undefined)
  if (machine !== undefined) requireMachine(token, machine)
}

/** Each parameter once. @throws ARGUMENT_INVALID */
function queryOf(request: Request): Readonly<Record<string, string>> {
  const [, text = ''] = /\?(.*)$/s.exec(request.originalUrl) ?? []
  const query = new Map<string, string>()
  for (const [name, value] of new URLSearchParams(text)) {
    if (query.has(name))
      throw new EverfoldError('ARGUMENT_INVALID', 'A parameter of the query is there twice.')
    query.set(name, value)
  }
  return Object.fromEntries(query)
}

async function send(answer: Answer, pace: Pace, response: Response): Promise<void> {
  if (answer === 'sent') return
  const [type, text] =
    'json' in answer
      ? ['application/json; charset=utf-8', JSON.stringify(answer.json)]
      : [answer.type, answer.text]
  await pace.out(text.length)
  response.status(statusOf(answer)).set('Content-Type', type).send(text)
}

/** Notes what went wrong. @returns what is told of it */
function failed(error: unknown, visit: Visit | undefined, request: Request, response: Response): Problem {
  const problem = problemOf(error, visit?.id)
  if (visit !== undefined) visit.facts['code'] = problem.code
  const isTrouble = problem.status >= 500 && !AS_MEANT.includes(problem.code)
  if (isTrouble && !isGone(request, response))
    visit?.log.error({ request: visit.id, err: error }, 'a request failed')
  return problem
}

function sendProblem(problem: Problem, request: Request, response: Response): void {
  if (isGone(request, response)) return
  for (const header of ['ETag', 'Last-Modified', 'Content-Length']) response.removeHeader(header)
  if (problem.status === 401)
    response.set('WWW-Authenticate', 'Bearer realm="everfold", Basic realm="everfold"')
  if (problem.status === 429) response.set('Retry-After', '1')
  response.status(problem.status).set('Content-Type', PROBLEM_TYPE)
  const text = JSON.stringify(problem)
  if (request.complete) response.send(text)
  else sendWhileReceiving(text, request, response)
}

function isGone(request: Request, response: Response): boolean {
  return request.socket.destroyed || response.destroyed
}

/** How long a client that is still sending may take to see an answer that it did not wait for. */
const LINGER_MS = 2000

/**
 * Answers a request whose body nobody wants any more. Were the connection closed at once, what is still coming would make the client's system
 * throw the answer away (RFC 9112, 9.6); so what comes is passed over for a moment.
 */
function sendWhileReceiving(text: string, request: Request, response: Response): void {
  response.set({ Connection: 'close', 'Content-Length': String(Buffer.byteLength(text)) })
  response.write(text)
  const end = (): void => {
    clearTimeout(limit)
    response.end()
  }
  const limit = setTimeout(end, LINGER_MS)
  request.once('close', end).once('end', end).resume()
}

function methodsOf(path: string): string {
  const methods = ROUTES.filter((route) => route.path === path).map((route) => route.method.toUpperCase())
  return methods.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])).join(', ')
}

/** `/v1/machines/{machine}` as Express writes it. */
function expressPath(path: string): string {
  return path.replaceAll(/\{(\w+)\}/g, ':$1')
}
