import { readFile } from 'node:fs/promises'
import { createServer, type RequestListener, type Server, type ServerOptions } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { type AddressInfo, isIPv6 } from 'node:net'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { createSecureContext, type SecureContextOptions, Server as TlsServer } from 'node:tls'
import type { Logger } from 'pino'
import type { Repository } from '../chain/repository.js'
import { Sessions } from '../chain/session/sessions.js'
import { type ErrorCode, EverfoldError, messageOf, systemErrorCode } from '../errors.js'
import { AfterCommit } from './after-commit.js'
import { type App, makeApp } from './app.js'
import { Auditor } from './audit/auditor.js'
import { openAudit } from './audit/open-audit.js'
import { type ServiceConfig, STOP_ANSWERS_SECONDS } from './config/service-config.js'
import { DiskReaders } from './disk-readers.js'
import { JobQueue } from './job-queue.js'
import { keepLocked } from './keep-locked.js'
import { limitConnections } from './limits/connections.js'
import { Limits, SHARE_OF_ONE } from './limits/limits.js'
import { Quotas } from './limits/quotas.js'
import type { Listen } from './listen.js'
import { openLogs } from './log.js'
import { Metrics } from './metrics.js'
import { PROBLEM_TYPE, problemOf } from './problem.js'
import type { Service } from './service.js'
import { TokenBook } from './token-book.js'

/** Files in PEM. */
export interface TlsFiles {
  readonly certificate: string
  readonly key: string
}

export interface ServeOptions {
  readonly listen: Listen
  readonly tls?: TlsFiles
  /** Everything else that a configuration says. */
  readonly config?: ServiceConfig
}

export interface RunningService {
  readonly url: string
  /** Printed once, on the first start: the only token there is. */
  readonly adminToken: string | undefined
  /** Reads the certificate and its key again, for connections from now on. If they cannot be used, the log says so, and those before stay. */
  reloadCertificate(): Promise<void>
  /** Takes nothing new, waits for what is running until the limit, and cuts the rest. A second call cuts at once. */
  stop(): Promise<void>
}

/** Where the configuration does not say it. */
export const CONNECTIONS_MAX = 1024
/** Bytes of a request's headers together. */
export const HEADERS_BYTES_MAX = 16 * 1024
/** Milliseconds: for a request's headers, without a byte moving either way, and between requests. */
const HEADERS_TIMEOUT_MS = 10_000
const STALL_TIMEOUT_MS = 300_000
const KEEP_ALIVE_MS = 60_000
/** How often it is looked for sessions that were abandoned. */
const SWEEP_EVERY_MS = 5000

/** Loads what a service is made with, beside whatever else has to be done before it starts. */
export function loadAhead(): void {
  // Whoever needs it hears of a failure.
  for (const loading of [import('express'), import('pino'), import('prom-client')])
    loading.catch(() => undefined)
}

/**
 * Serves a repository until it is stopped. Whoever passes the repository in closes it afterwards.
 * @throws LISTEN_FAILED, STORE_FULL (the first token cannot be stored), STORE_FAILED
 */
export async function serve(repository: Repository, options: ServeOptions): Promise<RunningService> {
  const { config = {} } = options
  const { log, often, close: closeLogs } = await openLogs(config.log?.level ?? 'info')
  const { book, state } = await TokenBook.open(repository.store, repository.environment)
  if (state === 'damaged')
    log.warn('the newest list of tokens is damaged: none of the tokens made so far holds any more')
  const auditLog = await openAudit(repository, config)
  const metrics = await Metrics.create(repository, config)
  const audit = new Auditor(auditLog, repository, log, () => metrics.auditFailed())
  let stopping = false
  const readers = new DiskReaders(repository)
  const expiry = config.sessions?.expiry
  const stopLimitMs = (config.stop?.answers ?? STOP_ANSWERS_SECONDS) * 1000
  const sessions = new Sessions(repository, expiry === undefined ? {} : { expiryMs: expiry * 1000 })
  const service: Service = {
    config,
    repository,
    tokens: book,
    readers,
    metrics,
    jobs: new JobQueue(repository, log, async (job) => {
      metrics.jobEnded(job)
      await audit.jobEnded(job)
    }),
    audit,
    limits: new Limits(config, () => repository.environment.now()),
    quotas: new Quotas(config, repository, log),
    sessions,
    afterCommit: new AfterCommit(repository, log, (machine, removed) =>
      audit.event('retention', { machine, removed }),
    ),
    log,
    requestLog: often,
    isStopping: () => stopping,
  }
  const { server, cutAll } = await makeServer(await makeApp(service), options.tls, config)
  await listen(server, options.listen)
  const first = state === 'valid' ? undefined : await book.create({ name: 'first admin', role: 'admin' })
  const url = urlOf(server, options.tls !== undefined)
  await audit.event('start', { url, ...(first && { created: first.id }) })
  service.jobs.begin()
  const sweeping = sweepSessions(sessions, log)
  const locking = keepLocked(repository, log)
  service.jobs.list().then(
    (jobs) => metrics.jobsBefore(jobs),
    () => undefined,
  )
  log.info({ url, repository: repository.config.id }, 'listening')
  let stopped: Promise<void> | undefined
  return {
    url,
    adminToken: first?.token,
    reloadCertificate: async () => {
      if (options.tls === undefined || !(server instanceof TlsServer)) return
      try {
        server.setSecureContext(await secretsOf(options.tls))
        log.info('the certificate was read again')
      } catch (error) {
        log.error({ err: error }, 'the certificate could not be read again: the one before stays in use')
      }
    },
    stop: async () => {
      if (stopped !== undefined) cutAll()
      stopping = true
      sessions.park()
      stopped ??= Promise.all([service.jobs.stop(stopLimitMs), close(server, cutAll, stopLimitMs)]).then(
        async () => {
          await sweeping.stop()
          await locking.stop()
          await sessions.close()
          await service.afterCommit.stop()
          readers.close()
          await audit.event('stop', {})
          await auditLog.close()
          log.info('stopped')
          await closeLogs()
        },
      )
      await stopped
    },
  }
}

/** Takes up what an earlier process left of uploads, and from then on drops what is abandoned. */
function sweepSessions(sessions: Sessions, log: Logger): { stop(): Promise<void> } {
  const stopping = new AbortController()
  const { signal } = stopping
  const attempt = async (work: Promise<void>): Promise<void> => {
    await work.catch((error: unknown) => log.error({ err: error }, 'uploads could not be looked after'))
  }
  const looking = async (): Promise<void> => {
    await attempt(sessions.recover())
    for (;;) {
      await sleep(SWEEP_EVERY_MS, undefined, { signal }).catch(() => undefined)
      if (signal.aborted) return
      await attempt(sessions.sweep())
    }
  }
  const done = looking()
  return {
    stop: async () => {
      stopping.abort()
      await done
    },
  }
}

async function makeServer(
  { listener, messages }: App,
  tls: TlsFiles | undefined,
  { limits = {} }: ServiceConfig,
): Promise<{ readonly server: Server; readonly cutAll: () => void }> {
  const options: ServerOptions = {
    maxHeaderSize: HEADERS_BYTES_MAX,
    headersTimeout: HEADERS_TIMEOUT_MS,
    // Of a request as a whole there is none: an upload may take days. See body.ts and upload-body.ts.
    requestTimeout: 0,
    keepAliveTimeout: KEEP_ALIVE_MS,
    connectionsCheckingInterval: 1000,
    noDelay: true,
    ...messages,
  }
  const server = tls === undefined ? createServer(options, listener) : await tlsServer(options, listener, tls)
  const connections = limits.connections ?? CONNECTIONS_MAX
  server.maxConnections = connections
  const cutAll = limitConnections(
    server,
    limits.connectionsPerAddress ?? Math.ceil(connections * SHARE_OF_ONE),
  )
  server.setTimeout(STALL_TIMEOUT_MS)
  server.on('clientError', refuse)
  return { server, cutAll }
}

/** @throws what the system says, or that they do not belong together */
async function secretsOf({ certificate, key: keyFile }: TlsFiles): Promise<SecureContextOptions> {
  const [cert, key] = await Promise.all([readFile(certificate), readFile(keyFile)])
  const secrets = { cert, key, minVersion: 'TLSv1.2' } as const
  createSecureContext(secrets)
  return secrets
}

async function tlsServer(options: ServerOptions, listener: RequestListener, tls: TlsFiles): Promise<Server> {
  try {
    return createTlsServer({ ...options, ...(await secretsOf(tls)) }, listener)
  } catch (error) {
    throw new EverfoldError(
      'LISTEN_FAILED',
      `The certificate ${tls.certificate} with the key ${tls.key} cannot be used: ${messageOf(error)}`,
      { cause: error },
    )
  }
}

/** What is no HTTP, or takes too long, does not get as far as the API. */
function refuse(error: Error, socket: Duplex): void {
  if (!socket.writable || socket.destroyed) {
    socket.destroy()
    return
  }
  const problem = problemOf(new EverfoldError(...complaintOf(error)))
  const body = JSON.stringify(problem)
  socket.end(
    `HTTP/1.1 ${problem.status} ${problem.title}\r\nConnection: close\r\nContent-Type: ${PROBLEM_TYPE}\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}

function complaintOf(error: Error): [ErrorCode, string] {
  const code = systemErrorCode(error)
  if (code === 'HPE_HEADER_OVERFLOW')
    return ['HEADERS_TOO_LARGE', `The address and headers may have ${HEADERS_BYTES_MAX} bytes at most.`]
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return ['REQUEST_TIMEOUT', 'The request took too long to arrive.']
  return ['ARGUMENT_INVALID', 'This is no HTTP/1.1 request.']
}

async function listen(server: Server, { host, port }: Listen): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, host, () => {
        server.off('error', reject)
        resolve()
      })
    })
  } catch (error) {
    const why = systemErrorCode(error) === 'EADDRINUSE' ? 'something else listens there' : messageOf(error)
    throw new EverfoldError(
      'LISTEN_FAILED',
      `Cannot listen on ${host} port ${port}: ${why}. Give another address with --listen.`,
      { cause: error },
    )
  }
}

async function close(server: Server, cutAll: () => void, limitMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  // A connection whose last answer is out is idle from then on, and would be kept for the next request.
  const idle = setInterval(() => server.closeIdleConnections(), 50)
  const limit = setTimeout(cutAll, limitMs)
  await closed
  clearInterval(idle)
  clearTimeout(limit)
}

function urlOf(server: Server, tls: boolean): string {
  const { address, port } = server.address() as AddressInfo
  return `${tls ? 'https' : 'http'}://${isIPv6(address) ? `[${address}]` : address}:${port}`
}
