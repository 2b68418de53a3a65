import type { Command } from 'commander'
import type { OpenOptions } from '../../chain/open-repository.js'
import { EverfoldError } from '../../errors.js'
import { readConfig } from '../../server/config/read-config.js'
import {
  type S3Config,
  type ServiceConfig,
  STOP_DEADLINE_SECONDS,
} from '../../server/config/service-config.js'
import { LISTEN_DEFAULT, type Listen, parseListen } from '../../server/listen.js'
import { loadAhead, serve, type TlsFiles } from '../../server/serve.js'
import { giveBackMemory } from '../give-back-memory.js'
import { type CommonOptions, withRepository } from '../run.js'
import { toldToStop } from '../told-to-stop.js'

interface ServeCommandOptions extends CommonOptions {
  readonly config?: string
  readonly listen?: Listen
  readonly tlsCert?: string
  readonly tlsKey?: string
}

export function addServe(program: Command): void {
  program
    .command('serve')
    .description('Serve the repository over HTTP until it is told to stop.')
    .option('--config <file>', 'everfold.yaml: limits, quotas and more; options here win over it')
    .option('--listen <address>', 'host and port (default: 127.0.0.1:7070)', listenAddress)
    .option('--tls-cert <file>', 'certificate (with its chain) in PEM: serve HTTPS')
    .option('--tls-key <file>', 'the key of the certificate, in PEM')
    .addHelpText(
      'after',
      `
The first start prints a token for everything on standard error. It is not shown again; more tokens come from
POST /v1/tokens or, while the service is down, from: everfold token create
Standard error also has the log: one JSON object a line. SIGTERM and SIGINT stop the service cleanly.
With --tls-cert, SIGHUP makes it read certificate and key again.
Without --tls-cert, tokens and data go over the network as they are: listen on 127.0.0.1, or behind a proxy.
docs/operations.md describes the configuration.

Examples:
  everfold serve
  everfold serve --config /etc/everfold/everfold.yaml
  everfold serve --listen 0.0.0.0:7443 --tls-cert cert.pem --tls-key key.pem`,
    )
    .action(async (options: ServeCommandOptions, command: Command) => {
      loadAhead()
      await giveBackMemory()
      const config = await configOf(options)
      const tls = tlsOf(options) ?? config.tls
      const listen = options.listen ?? config.listen ?? LISTEN_DEFAULT
      await withRepository(
        config.repository === undefined ? options : { repo: config.repository, ...options },
        command,
        async (repository) => {
          // Before anybody can hear that it runs: a signal that comes at once stops it cleanly, too.
          const told = toldToStop((config.stop?.deadline ?? STOP_DEADLINE_SECONDS) * 1000)
          const starting = serve(repository, { listen, config, ...(tls && { tls }) })
          // In a terminal it says that the terminal is gone; without one, that there is something to read again.
          if (tls !== undefined || !process.stdout.isTTY)
            process.on('SIGHUP', () => {
              starting.then((service) => service.reloadCertificate()).catch(() => undefined)
            })
          const service = await starting
          if (service.adminToken !== undefined) process.stderr.write(`admin token: ${service.adminToken}\n`)
          const { url, adminToken } = service
          process.stdout.write(
            options.json === true ? `${JSON.stringify({ url })}\n` : welcome(url, adminToken),
          )
          await told.first
          told.again(() => {
            service.stop().catch(() => undefined)
          })
          await service.stop()
        },
        { threads: true, lookAtBucket: true, ...bucketOptions(config.s3) },
      )
    })
}

function bucketOptions({
  cache,
  cacheSize,
  requestTimeout,
  giveUpAfter,
  ...s3
}: S3Config = {}): Pick<OpenOptions, 'cacheFolder' | 'cacheBytes' | 's3'> {
  return {
    ...(cache !== undefined && { cacheFolder: cache }),
    cacheBytes: cacheSize,
    s3: { ...s3, requestSeconds: requestTimeout, giveUpSeconds: giveUpAfter },
  }
}

function welcome(url: string, adminToken: string | undefined): string {
  const token =
    adminToken === undefined
      ? 'A token: POST /v1/tokens as an admin, or, while the service is down, everfold token create.'
      : 'The first token is on standard error, as "admin token: …". Keep it: it is not shown again.'
  return `Everfold listens on ${url}\n${token}\n`
}

function tlsOf({ tlsCert, tlsKey }: ServeCommandOptions): TlsFiles | undefined {
  if (tlsCert === undefined && tlsKey === undefined) return undefined
  if (tlsCert !== undefined && tlsKey !== undefined) return { certificate: tlsCert, key: tlsKey }
  throw new EverfoldError('ARGUMENT_INVALID', 'Give --tls-cert and --tls-key together.')
}

/** For commander. */
function listenAddress(text: string): Listen {
  const listen = parseListen(text)
  if (listen !== undefined) return listen
  throw new EverfoldError(
    'ARGUMENT_INVALID',
    `"${text}" is no address to listen on. Write HOST:PORT, such as 127.0.0.1:7070 or [::1]:7070.`,
  )
}

async function configOf({ config }: ServeCommandOptions): Promise<ServiceConfig> {
  return config === undefined ? {} : readConfig(config)
}
