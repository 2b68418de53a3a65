import { readFile } from 'node:fs/promises'
import { type Command, Option } from 'commander'
import type { RetryNotice } from '../client/everfold-client.js'
import { EverfoldError, messageOf } from '../errors.js'

/** What names a repository or a service on the command line. */
interface WhereOptions {
  readonly repo?: string
  readonly server?: string
  readonly tokenFile?: string
}

export interface ServiceAddress {
  readonly url: string
  readonly token?: string
}

/** Commands that work where the repository is, and what to do instead. */
const LOCAL: Readonly<Record<string, string>> = {
  init: 'Make a repository where it is going to be: run this there, without --server.',
  copy: 'Repositories are copied where both can be opened: run this there, without --server, while no service has them.',
  recover:
    'What happened to a bucket is undone from where the bucket can be reached: run this without --server, while no service has it.',
  serve: 'A service serves a repository of its own computer: run this there, with --repo.',
}

/** Adds to a command what names a service; one that cannot use it says so. */
export function addServiceOptions(command: Command): void {
  const advice = LOCAL[command.name()]
  if (advice === undefined) {
    command.option('--server <url>', 'a service instead of a repository (default: $EVERFOLD_SERVER)')
    command.option(
      '--token-file <file>',
      'the file that holds its token (default: the token in $EVERFOLD_TOKEN)',
    )
    return
  }
  const refuse = (): never => {
    throw new EverfoldError('ARGUMENT_INVALID', advice)
  }
  for (const flags of ['--server <url>', '--token-file <file>'])
    command.addOption(new Option(flags).hideHelp().argParser(refuse))
}

/**
 * The service that a command is to use; undefined: a repository. An option has the say over what is in the environment.
 * @throws ARGUMENT_INVALID if both are named the same way, or the token cannot be read
 */
export async function serviceOf(options: WhereOptions): Promise<ServiceAddress | undefined> {
  const url = urlOf(options)
  if (url === undefined) return undefined
  const token = await tokenOf(options)
  return { url, ...(token === undefined ? {} : { token }) }
}

function urlOf({ repo, server }: WhereOptions): string | undefined {
  if (server !== undefined && repo !== undefined)
    throw new EverfoldError('ARGUMENT_INVALID', 'Give --repo or --server, not both.')
  if (server !== undefined || repo !== undefined) return server
  const fromEnvironment = environment('EVERFOLD_SERVER')
  if (fromEnvironment !== undefined && environment('EVERFOLD_REPO') !== undefined)
    throw new EverfoldError(
      'ARGUMENT_INVALID',
      'EVERFOLD_REPO and EVERFOLD_SERVER are both set: unset one of them, or give --repo or --server.',
    )
  return fromEnvironment
}

async function tokenOf({ tokenFile }: WhereOptions): Promise<string | undefined> {
  if (tokenFile === undefined) return environment('EVERFOLD_TOKEN')
  try {
    return (await readFile(tokenFile, 'utf8')).trim()
  } catch (error) {
    throw new EverfoldError(
      'ARGUMENT_INVALID',
      `Cannot read the token from ${tokenFile}: ${messageOf(error)}`,
      {
        cause: error,
      },
    )
  }
}

function environment(name: string): string | undefined {
  const value = process.env[name]
  return value === '' ? undefined : value
}

/** How long there is no progress before somebody is told, and how often then. */
const TOLD_AFTER_MS = 2000
const TOLD_EVERY_MS = 30_000

/** Tells whoever waits that the service is being asked again. */
export function tellRetry(): (notice: RetryNotice) => void {
  let toldMs = Number.NEGATIVE_INFINITY
  return ({ error, waitedMs, patienceMs }) => {
    const now = performance.now()
    if (waitedMs < TOLD_AFTER_MS || now - toldMs < TOLD_EVERY_MS) return
    toldMs = now
    const left = Math.ceil((patienceMs - waitedMs) / 1000)
    process.stderr.write(`everfold: ${error.message} Trying again for ${left} s more. [${error.code}]\n`)
  }
}
